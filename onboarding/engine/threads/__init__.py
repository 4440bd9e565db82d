"""What a worker process does on threads of its own."""

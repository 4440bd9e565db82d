"""A run's way in and out: gate, owner, hold and cancellation."""

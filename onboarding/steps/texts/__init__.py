"""What steps write to people: the welcome, and the brief that sales hands over."""

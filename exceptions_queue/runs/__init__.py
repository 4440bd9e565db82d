"""What people and keys may do to runs and steps: one declaration an action."""

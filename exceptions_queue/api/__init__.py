"""REST for runs and exceptions: the top of the house puts the parts together."""

"""A SCIM server as the standard describes one, for tests and the demo."""

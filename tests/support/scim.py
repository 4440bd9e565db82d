"""What a SCIM client sends with each request."""

HEADERS = {"Authorization": "Bearer sandbox-scim-token", "Content-Type": "application/scim+json"}

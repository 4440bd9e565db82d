"""What the vendors of mail share: composing a message, sending it through an API, and reading what became of it."""

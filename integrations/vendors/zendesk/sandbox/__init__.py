"""Zendesk's stand-in; only the sandbox server imports it."""

"""Connections: the configured accounts at vendors, their breakers and their limits."""

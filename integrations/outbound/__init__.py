"""Webhooks out: what happens here, told to a company's own systems."""

"""Tickets: the catalogue of what they are about, their life, and what people may do to them."""

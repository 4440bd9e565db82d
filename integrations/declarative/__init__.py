"""Vendors without code: a mapping file says how one is asked."""

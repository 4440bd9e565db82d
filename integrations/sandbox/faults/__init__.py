"""Faults on purpose: which rule strikes a request, and what its caller gets to see then."""

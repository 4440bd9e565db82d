"""Playbooks: which steps a customer gets, in which order."""

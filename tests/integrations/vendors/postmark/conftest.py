"""Runs as the tests of onboarding make them, whose mails come back."""

from tests.onboarding.conftest import accept

__all__ = ["accept"]

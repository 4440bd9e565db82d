"""Runs as the tests of onboarding make them, for what is opened and counted because of them."""

from tests.onboarding.conftest import accept, settled

__all__ = ["accept", "settled"]

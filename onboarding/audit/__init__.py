"""The audit trail: every transition, human action and outbound write, in chains of hashes that anchors hold together.

``entries`` writes it, ``anchors`` seals what was written, ``verification`` tells whether all of it still stands, and
``archived`` the same of what ``manage.py archive`` moved into files.
"""

from onboarding.audit.entries import SYSTEM, about, batched, entry_hash, record, record_global
from onboarding.audit.verification import broken_links

__all__ = ["SYSTEM", "about", "batched", "broken_links", "entry_hash", "record", "record_global"]

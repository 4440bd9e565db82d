"""The archive: what finished runs did, moved out of the hot tables into files, by the month in which they ended.

``files`` writes and reads the files, ``archiving`` moves rows into them, ``history`` reads one run's part back. That archived audit
chains still stand is ``onboarding.audit.archived``'s to tell.
"""

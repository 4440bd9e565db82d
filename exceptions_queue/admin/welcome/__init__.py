"""The welcome sequences' mails: the list of what is scheduled, the part of a run's page, and the preview."""

"""Label what was said: every turn of a session, by a model, with the reason for what it was shown and how it ended."""

"""Where the browser is that the browser tests drive."""

import shutil

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Path of a Chromium, or None where none is installed."""

NO_BROWSER = "no Chromium is installed"
"""Why a browser test is skipped."""

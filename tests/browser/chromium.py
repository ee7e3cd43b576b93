"""Finds an installed Chromium; run as a program it prints where it is, or how to install one."""

from __future__ import annotations

import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = (
    "The browser tests need Chromium, and none is installed. On Debian and Ubuntu, as root: "
    "apt-get install chromium"
)


def find() -> str | None:
    """Return the path of the first one that is there."""
    return next(filter(None, map(shutil.which, NAMES)), None)


if __name__ == "__main__":
    found = find()
    print(found or MISSING, file=sys.stdout if found else sys.stderr)
    sys.exit(0 if found else 1)

"""Pure functions from result rows to something to read."""

"""Suites that measure speed, and the quality that it was reached at."""

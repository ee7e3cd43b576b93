"""What moves, filters and projects images."""

"""The same work in the libraries that a user would otherwise pick; each imported when asked for."""

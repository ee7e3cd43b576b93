"""The same work in the libraries that a user would otherwise pick; imported only when asked for."""

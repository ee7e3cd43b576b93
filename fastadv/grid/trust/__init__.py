"""Whether a figure is to be trusted."""

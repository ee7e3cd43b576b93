"""Papers' experiments, run again: their setting, their figures, and ours beside them."""

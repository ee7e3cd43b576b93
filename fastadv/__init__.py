"""Training-time and test-time attacks against defenses, as one grid, on small models, on a CPU."""

__version__ = "0.1.0"

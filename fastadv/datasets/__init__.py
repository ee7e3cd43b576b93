"""Data: the MNIST files that ship with the package, and readers for others."""

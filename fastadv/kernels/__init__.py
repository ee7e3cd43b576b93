"""Compiled inner loops: arrays and scalars in, buffers out. NumPy and Numba only."""

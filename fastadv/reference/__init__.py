"""Kernels again, in plain NumPy float64: slow, obvious. What benchmarks and tests compare with."""

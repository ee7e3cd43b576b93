"""The kernels again, in plain NumPy: slow, obvious. Those that benchmarks use are fastadv.reference."""

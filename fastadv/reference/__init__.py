"""The kernels again, in plain NumPy float64: slow, obvious, what the tests compare with."""

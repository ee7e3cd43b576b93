"""Products, sparse rows, neighbours, quasi-Newton steps."""

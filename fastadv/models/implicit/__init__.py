"""The derivative of a training that ends at an optimum, by the conditions which hold there."""

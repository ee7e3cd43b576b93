"""Gradient descent, and the derivative through it."""

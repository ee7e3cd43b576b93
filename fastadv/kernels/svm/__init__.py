"""The support vector machine: its dual, retraining, and the derivative through it."""

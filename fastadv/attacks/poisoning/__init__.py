"""Attacks at training time: points are added to the training set."""

"""Defenses that clean the training set."""

"""A perceptron: passes, losses, bounds, noise, votes."""

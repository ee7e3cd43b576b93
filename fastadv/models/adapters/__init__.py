"""What stands between a model and the attacks that meet it."""

"""Attacks at test time: the image is changed, the model is not."""

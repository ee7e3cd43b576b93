"""An attack, a defense, a model and a data set for fastadv."""

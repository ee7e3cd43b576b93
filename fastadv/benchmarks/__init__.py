"""What ``fastadv bench`` measures: the same work here and elsewhere, in turn, with its quality."""

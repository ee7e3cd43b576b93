"""Cells, the stages that they share, and the order in which they run."""

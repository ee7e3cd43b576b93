"""What a grid does unless it is told otherwise; ``--help`` reads it, so it imports nothing."""

DEFENSES = ("none", "adv_training", "knn_relabel", "median", "bit_depth")
SAMPLES = 1000  # test images for evasion attacks, or all if there are fewer

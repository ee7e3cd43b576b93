"""What a grid does unless it is told otherwise; ``--help`` reads it, so it imports nothing."""

ATTACKS = ("pgd", "stadv", "biggio")
# A name without brackets that stands for several attacks: a flow that bends alone, up to a budget
# that tells models apart, and one that moves the image, too, which needs far less of it.
STANDS_FOR = {"stadv": ("stadv[translation=false]", "stadv[budget=1,translation=true]")}
DEFENSES = ("none", "adv_training", "knn_relabel", "median", "bit_depth")
SAMPLES = 1000  # test images for evasion attacks, or all if there are fewer
REPEATS = 5  # runs of a cell

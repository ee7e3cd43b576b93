"""What plain loops cannot say to the compiler: intrinsics, each with its meaning in plain Python."""

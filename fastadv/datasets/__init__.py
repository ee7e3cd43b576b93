"""Data: the MNIST files that ship with the package, and readers for others."""

from fastadv.datasets.catalog import Dataset, load_dataset, open_shared, share
from fastadv.datasets.idx import FileCheck, mnist_folder, read_idx, verify_mnist

__all__ = [
    "Dataset",
    "FileCheck",
    "load_dataset",
    "mnist_folder",
    "open_shared",
    "read_idx",
    "share",
    "verify_mnist",
]

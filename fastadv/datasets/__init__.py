"""Data: the MNIST files that ship with the package, and readers for others."""

from fastadv.datasets.catalog import load_dataset
from fastadv.datasets.dataset import Dataset
from fastadv.datasets.idx import read_idx
from fastadv.datasets.shared import open_shared, share
from fastadv.datasets.shipped import FileCheck, mnist_folder, verify_mnist

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

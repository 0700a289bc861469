"""Sets of images: the built-in ones, and what the ``source`` of a Data layer may name.

>>> import pydl.data
>>> x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
>>> x_train.shape, y_train.shape
((4000, 1, 28, 28), (4000,))
"""

from pydl.data.annotated import write_annotated_lmdb
from pydl.data.arrays import batches
from pydl.data.catalog import SetInfo, list_sets, load
from pydl.data.dataset import ArrayDataset, Dataset
from pydl.data.sources import open_source
from pydl.data.standard import prepare
from pydl.data.write import write_hdf5, write_lmdb, write_npz

__all__ = [
    "ArrayDataset",
    "Dataset",
    "SetInfo",
    "batches",
    "list_sets",
    "load",
    "open_source",
    "prepare",
    "write_annotated_lmdb",
    "write_hdf5",
    "write_lmdb",
    "write_npz",
]

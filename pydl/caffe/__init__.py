"""Caffe's Python interface on pydl's core, for programs written for pycaffe.

>>> from pydl import caffe
>>> net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
>>> net.blobs["data"].data[...] = image
>>> net.forward()["prob"].argmax()
"""

from pydl.caffe.net import TEST, TRAIN, Net
from pydl.caffe.settings import layer_type_list, set_mode_cpu, set_random_seed
from pydl.caffe.solver import SGDSolver, get_solver

__all__ = [
    "TEST",
    "TRAIN",
    "Net",
    "SGDSolver",
    "get_solver",
    "layer_type_list",
    "set_mode_cpu",
    "set_random_seed",
]

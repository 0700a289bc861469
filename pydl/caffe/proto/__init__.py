"""``caffe.proto``: Caffe's message classes.

>>> from pydl.caffe.proto import caffe_pb2
>>> net = caffe_pb2.NetParameter(name="lenet")
>>> net.layer.add(name="conv1", type="Convolution").convolution_param.kernel_size.append(5)
>>> caffe_pb2.NetParameter.FromString(net.SerializeToString()) == net
True
"""

from importlib import import_module
from types import ModuleType

__all__ = ["caffe_pb2", "text_format"]


def __getattr__(name: str) -> ModuleType:  # they take a moment to load, and few programs use them
    if name in __all__:
        return import_module(f"pydl.caffe.proto.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

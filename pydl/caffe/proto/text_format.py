"""Reading and writing Caffe's messages as text: protobuf's text_format, or the same without it.

>>> from pydl.caffe.proto import caffe_pb2, text_format
>>> net = text_format.Merge('name: "lenet"', caffe_pb2.NetParameter())
>>> print(text_format.MessageToString(net), end="")
name: "lenet"
"""

from pydl.caffe.proto.caffe_pb2 import _classes

MessageToString = _classes.MessageToString
Merge = _classes.Merge
Parse = _classes.Parse
ParseError = _classes.ParseError

__all__ = ["Merge", "MessageToString", "Parse", "ParseError"]

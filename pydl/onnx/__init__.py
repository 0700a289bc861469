"""Nets as ONNX models: one small function for each layer type, in the files of this folder.

>>> import pydl
>>> from pydl.onnx import save
>>> save(pydl.Net("lenet_deploy.prototxt", "lenet.caffemodel"), "lenet.onnx")
"""

from pydl.onnx.model import LARGEST_FILE, OPSET, save, to_model

__all__ = ["LARGEST_FILE", "OPSET", "save", "to_model"]

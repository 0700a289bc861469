"""pycaffe's base class of Python layers."""

from pydl.python_layer import Layer

__all__ = ["Layer"]

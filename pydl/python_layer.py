"""Layers written in Python: the base class, and how the core runs what nets name.

A prototxt names a module and a class in it::

    layer { name: "swap" type: "Python" bottom: "data" top: "swap"
      python_param { module: "my_layers" layer: "SwapChannels" param_str: "2 1 0" } }

The module is looked for where Python finds modules. Such a net is a program: it is refused unless
it is opened with ``allow_python=True`` (pycaffe's interface, `pydl.caffe`, always allows it).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydl import _core
from pydl.errors import Error
from pydl.prototxt.names import nearest


class BlobVec(list):
    """A layer's learnable blobs: a list that makes new ones."""

    def add_blob(self, *shape: int) -> None:
        """Adds a blob of zeros.

        >>> blobs = BlobVec()
        >>> blobs.add_blob(3, 2)
        >>> blobs[0].data.shape
        (3, 2)
        """
        self.append(_core.Blob(*shape))


@dataclass(frozen=True)
class LayerInfo:
    """What a layer's class is made with; `Layer.__init__` hands it on."""

    name: str
    param_str: str
    phase: int  # 0: TRAIN, 1: TEST


class Layer:
    """The base class of layers written in Python.

    ``param_str`` is the text of the prototxt, ``phase`` is 0 (TRAIN) or 1 (TEST). Bottoms and tops
    are lists of blobs, whose ``data`` and ``diff`` are live float32 arrays.

    >>> class Double(Layer):
    ...     def reshape(self, bottom, top):
    ...         top[0].reshape(*bottom[0].shape)
    ...
    ...     def forward(self, bottom, top):
    ...         top[0].data[...] = 2 * bottom[0].data
    ...
    ...     def backward(self, top, propagate_down, bottom):
    ...         if propagate_down[0]:
    ...             bottom[0].diff[...] = 2 * top[0].diff
    """

    type = "Python"
    param_str = ""
    phase = 1

    def __init__(self, info: LayerInfo | None = None, *args: Any, **kwargs: Any) -> None:
        if info is not None:
            self.param_str, self.phase = info.param_str, info.phase

    @cached_property
    def blobs(self) -> BlobVec:
        """The learnable blobs."""
        return BlobVec()

    def setup(self, bottom: Sequence[_core.Blob], top: Sequence[_core.Blob]) -> None:
        """Once: read ``param_str``, add learnable blobs with ``self.blobs.add_blob(*shape)``."""

    def reshape(self, bottom: Sequence[_core.Blob], top: Sequence[_core.Blob]) -> None:
        """Before each forward pass: give the tops their shapes."""
        raise NotImplementedError(f"{type(self).__name__} defines no reshape(bottom, top)")

    def forward(self, bottom: Sequence[_core.Blob], top: Sequence[_core.Blob]) -> None:
        """Fill the tops' ``data``."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(bottom, top)")

    def backward(
        self,
        top: Sequence[_core.Blob],
        propagate_down: Sequence[bool],
        bottom: Sequence[_core.Blob],
    ) -> None:
        """From the tops' ``diff`` that of each bottom where `propagate_down` says so; add to the
        ``diff`` of ``blobs``."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no backward(top, propagate_down, bottom)"
        )


def install() -> None:
    """Lets Python layers of nets run."""
    _core.set_python_hook(_open)


class LayerCode:
    """Runs a `Layer` for the core. What it raises keeps its type and traceback, and names the
    layer."""

    def __init__(self, layer: Layer, label: str) -> None:
        self.layer = layer
        self._label = label

    def setup(self, bottom: list, top: list) -> None:
        self._call("setup", bottom, top)

    def reshape(self, bottom: list, top: list) -> None:
        self._call("reshape", bottom, top)

    def forward(self, bottom: list, top: list) -> None:
        self._call("forward", bottom, top)

    def backward(self, top: list, propagate_down: list[bool], bottom: list) -> None:
        self._call("backward", top, propagate_down, bottom)

    def blobs(self) -> list[_core.Blob]:
        return list(self.layer.blobs)

    def _call(self, method: str, *args: Any) -> None:
        try:
            getattr(self.layer, method)(*args)
        except BaseException as error:
            _name_place(error, f"{self._label}: {method}() of {type(self.layer).__name__}")
            raise


def _open(params: dict[str, Any], name: str, where: str, phase: int) -> LayerCode:
    label = f'{where}: layer "{name}" (Python)' if where else f'layer "{name}" (Python)'
    found = _find(params["module"], params["layer"], label)
    info = LayerInfo(name, params.get("param_str", ""), phase)
    try:
        layer = found(info)
    except BaseException as error:
        _name_place(error, f"{label}: {found.__name__}()")
        raise
    # A class with an __init__ of its own may not have handed the text on.
    layer.param_str, layer.phase = info.param_str, info.phase
    return LayerCode(layer, label)


def _find(module_name: str, class_name: str, label: str) -> type[Layer]:
    _make_caffe_importable()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            _name_place(error, f"{label}: import of {module_name}")
            raise
        raise Error(
            f'{label}: there is no module "{module_name}" where Python looks for modules; put its '
            "folder on PYTHONPATH"
        ) from None
    except BaseException as error:
        _name_place(error, f"{label}: import of {module_name}")
        raise
    found = getattr(module, class_name, None)
    if inspect.isclass(found) and issubclass(found, Layer):
        return found
    if found is not None:
        raise Error(
            f"{label}: {module_name}.{class_name} is not a layer: derive it from caffe.Layer"
        )
    close = nearest(class_name, [n for n, value in vars(module).items() if inspect.isclass(value)])
    hint = f'; did you mean "{close}"?' if close else ""
    raise Error(
        f"{label}: module {module_name} ({getattr(module, '__file__', 'built in')}) has no class "
        f'"{class_name}"{hint}'
    )


def _make_caffe_importable() -> None:
    """Modules of Python layers begin with ``import caffe``."""
    if "caffe" not in sys.modules and importlib.util.find_spec("caffe") is None:
        from pydl import caffe

        caffe.install()


def _name_place(error: BaseException, place: str) -> None:
    """Says in an error's traceback which layer raised it."""
    error.python_layer = place
    if hasattr(error, "add_note"):
        error.add_note(f"in {place}")
    elif error.__cause__ is None and not isinstance(error, KeyboardInterrupt):  # Python 3.10
        error.__cause__ = Error(f"in {place}")

"""Layers from a C++ library of the user's own."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from pydl import _core, cmake_dir
from pydl.errors import Error
from pydl.prototxt import schema

_loaded: dict[Path, list[str]] = {}


def load_layers(library: str | os.PathLike) -> list[str]:
    """Loads a shared library and returns the layer types it registers, which nets may then name.

    The library's sources say ``PYDL_REGISTER_LAYER`` for each layer, and its CMake project links it
    with ``pydl::pydl`` of this package (``examples/embed`` builds one). It runs in this process, so
    load only what you trust. Loading it again changes nothing.

    Raises Error if it cannot be loaded or registers nothing here.

    >>> pydl.load_layers("build/embed/libsoftsign.so")
    ['Softsign']
    """
    path = Path(library).resolve()
    if path not in _loaded:
        _loaded[path] = _load(path)
    return _loaded[path]


def _load(path: Path) -> list[str]:
    if not path.is_file():
        raise Error(f"{path}: no such file")
    known = set(_core.layer_declarations())
    try:
        ctypes.CDLL(os.fspath(path))
    except OSError as error:
        raise Error(f"{path}: cannot be loaded: {error}") from error
    types = sorted(set(_core.layer_declarations()) - known)
    if not types:
        raise Error(
            f"{path}: registers no layer here: it has no PYDL_REGISTER_LAYER, or was linked with "
            f"another pydl; build it with cmake -Dpydl_DIR={cmake_dir()}"
        )
    schema.refresh()
    return types

"""Making ``import caffe`` mean `pydl.caffe`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from pydl.errors import Error

_OURS = "pydl.caffe"


def install() -> None:
    """From now on ``import caffe``, and imports of its modules, give pydl's.

    Raises Error if another package named caffe was imported before.

    >>> import pydl.caffe
    >>> pydl.caffe.install()
    >>> from caffe import layers as L
    """
    imported = sys.modules.get("caffe")
    if imported is not None and imported.__name__ != _OURS:
        raise Error(
            f"another caffe is imported already, from {getattr(imported, '__file__', 'somewhere')};"
            " call pydl.caffe.install() before anything imports caffe"
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    import_module("caffe")


class _Finder(MetaPathFinder, Loader):
    """Finds ``caffe`` and ``caffe.x``: the very modules ``pydl.caffe`` and ``pydl.caffe.x``."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "caffe" and not name.startswith("caffe."):
            return None
        spec = find_spec(_real_name(name))
        if spec is None:
            return None
        is_package = spec.submodule_search_locations is not None
        return ModuleSpec(name, self, origin=spec.origin, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(_real_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # It ran when it was created; the import system has put the other name's spec into it.
        module.__spec__ = module.__spec__.loader_state


def _real_name(name: str) -> str:
    return _OURS + name.removeprefix("caffe")

"""pydl: Caffe's models brought back to life and made fast.

>>> import pydl
>>> solver = pydl.Solver("examples/mnist/lenet_solver.prototxt")
>>> solver.step(10)
>>> net = pydl.Net("lenet.prototxt", "lenet_iter_1000.caffemodel")
>>> net.forward(data=images)["prob"].argmax(axis=1)
"""

from importlib import import_module as _import
from pathlib import Path as _Path
from typing import Any as _Any

from pydl.errors import Error

__version__ = "0.1.0"

# Public names and where they live, imported at first use so that `import pydl` stays quick.
_NAMES = {
    "DBN": "pydl.dbn",
    "Layer": "pydl.python_layer",
    "Net": "pydl.net",
    "Solver": "pydl.solver",
    "check_gradients": "pydl.gradient_check",
    "load_layers": "pydl.plugins",
    "num_threads": "pydl._core",
    "set_num_threads": "pydl._core",
    "memory_limit": "pydl._core",
    "set_memory_limit": "pydl._core",
}
_MODULES = (
    *("caffe", "data", "drawing", "formats", "gan", "generate", "prototxt", "sequences", "text"),
    *("torch_weights", "zoo"),
)

__all__ = ["Error", "__version__", "cmake_dir", *_NAMES, *_MODULES]


def __getattr__(name: str) -> _Any:
    if name in _NAMES:
        _check_core()
        return getattr(_import(_NAMES[name]), name)
    if name in _MODULES:
        return _import(f"pydl.{name}")
    raise AttributeError(f"module 'pydl' has no attribute {name!r}")


def _check_core() -> None:
    """Says what to do where `import pydl` found the source tree and not an installed pydl."""
    try:
        _import("pydl._core")
    except ModuleNotFoundError as error:
        if error.name != "pydl._core":
            raise
        raise Error(
            f"{_Path(__file__).parent} has no compiled core: this is pydl's source tree. "
            "Run Python from another folder to use the installed pydl, or compile the core here "
            "with `pip install -e .`"
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)


def cmake_dir() -> str:
    """The folder that makes ``find_package(pydl)`` work in a C++ project.

    >>> # cmake -B build -Dpydl_DIR=$(python -c "import pydl; print(pydl.cmake_dir())")
    """
    from importlib.util import find_spec

    core = find_spec("pydl._core")  # not in this folder where pydl is installed with `-e`
    folder = _Path(core.origin if core and core.origin else __file__).parent
    return str(folder / "lib" / "cmake" / "pydl")

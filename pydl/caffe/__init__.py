"""pycaffe's interface on pydl's core: programs written for ``import caffe`` run unchanged.

>>> from pydl import caffe
>>> net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)
>>> net.blobs["data"].data[...] = image
>>> net.forward()["prob"].argmax()

``pydl run script.py`` runs a script whose ``import caffe`` gets this package; in a program
`install` does the same.
"""

from importlib import import_module as _import
from typing import Any as _Any

from pydl.caffe.install import install

__version__ = "1.0.0"  # of the Caffe whose interface this is

# Names and where they live, imported at first use.
_NAMES = {
    **dict.fromkeys(("Net", "TEST", "TRAIN"), "net"),
    **dict.fromkeys(
        (
            "AdaDeltaSolver",
            "AdaGradSolver",
            "AdamSolver",
            "NesterovSolver",
            "RMSPropSolver",
            "SGDSolver",
            "get_solver",
        ),
        "solver",
    ),
    **dict.fromkeys(
        (
            "layer_type_list",
            "set_device",
            "set_mode_cpu",
            "set_mode_gpu",
            "set_multiprocess",
            "set_random_seed",
            "set_solver_count",
            "set_solver_rank",
            "solver_count",
            "solver_rank",
        ),
        "settings",
    ),
    **dict.fromkeys(("init_log", "log"), "glog"),
    **dict.fromkeys(("NCCL", "has_nccl"), "nccl"),
    **dict.fromkeys(("NetSpec", "layers", "params", "to_proto"), "net_spec"),
    "Classifier": "classifier",
    "Detector": "detector",
    "Layer": "layer",
    "Timer": "timer",
}
_MODULES = (
    *("_caffe", "classifier", "coord_map", "detector", "draw", "io", "net_spec", "proto"),
    "pycaffe",
)

__all__ = ["__version__", "install", *_NAMES, *_MODULES]


def __getattr__(name: str) -> _Any:
    if name in _NAMES:
        return getattr(_import(f"pydl.caffe.{_NAMES[name]}"), name)
    if name in _MODULES:
        return _import(f"pydl.caffe.{name}")
    raise AttributeError(f"module 'caffe' (pydl.caffe) has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

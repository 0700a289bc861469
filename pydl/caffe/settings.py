"""What pycaffe sets for the whole process."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator

from pydl import _core
from pydl.errors import Error

_STEP = 0x9E3779B97F4A7C15  # far apart, so that other seeds' lines do not meet this one
_seeds: Iterator[int] | None = None
_solvers, _rank = 1, 0


def set_mode_cpu() -> None:
    """Nothing to do: the CPU is what pydl runs on."""


def set_mode_gpu() -> None:
    """Warns that this build has no CUDA, and goes on with the CPU."""
    warnings.warn(
        "set_mode_gpu: this build of pydl has no CUDA; it runs on the processor",
        RuntimeWarning,
        stacklevel=2,
    )


def set_device(device_id: int) -> None:
    """Warns as `set_mode_gpu` does: there is no GPU to choose."""
    warnings.warn(
        f"set_device({device_id}): this build of pydl has no CUDA; it runs on the processor",
        RuntimeWarning,
        stacklevel=2,
    )


def set_random_seed(seed: int) -> None:
    """Makes the nets built from now on, and solvers whose file gives no seed, the same in each run:
    each differs from the one before."""
    global _seeds
    if seed < 0:
        raise Error(f"set_random_seed: a seed is not negative, got {seed}")
    _seeds = ((seed + i * _STEP) % 2**63 for i in itertools.count())


def new_seed() -> int:
    """The seed of one more net or solver: the next in line, or if none was set a random one."""
    return next(_seeds) if _seeds is not None else int.from_bytes(os.urandom(4), "little")


def layer_type_list() -> list[str]:
    """The names of all layer types."""
    return list(_core.layer_declarations())


def solver_count() -> int:
    """How many solvers train together, as set."""
    return _solvers


def set_solver_count(count: int) -> None:
    global _solvers
    _solvers = int(count)


def solver_rank() -> int:
    """Which of them this process is, as set."""
    return _rank


def set_solver_rank(rank: int) -> None:
    global _rank
    _rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:
    """Nothing to do: solvers of one machine share it by threads."""

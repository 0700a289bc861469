"""What pycaffe sets for the whole process."""

from __future__ import annotations

import warnings

from pydl import _core
from pydl.errors import Error

_seed: int | None = None
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
    """The seed of nets built from now on, and of solvers whose file gives none."""
    global _seed
    if seed < 0:
        raise Error(f"set_random_seed: a seed is not negative, got {seed}")
    _seed = int(seed)


def random_seed() -> int | None:
    """The seed that was set, or None."""
    return _seed


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

"""What pycaffe sets for the whole process."""

from pydl import _core

_seed = 1


def set_mode_cpu() -> None:
    """Nothing to do: the CPU is what pydl runs on."""


def set_random_seed(seed: int) -> None:
    """The seed of nets built from now on."""
    global _seed
    _seed = int(seed)


def random_seed() -> int:
    return _seed


def layer_type_list() -> list[str]:
    """The names of all layer types."""
    return list(_core.layer_declarations())

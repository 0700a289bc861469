"""pycaffe's NCCL, which needs GPUs: its names, for programs that ask before they use it."""

from typing import Any, NoReturn

from pydl.errors import Error


def has_nccl() -> bool:
    """Whether several GPUs can train together: no."""
    return False


class NCCL:
    """Raises Error: there are no GPUs to train with."""

    def __init__(self, *args: Any) -> None:
        _refuse()

    @staticmethod
    def new_uid() -> NoReturn:
        _refuse()


def _refuse() -> NoReturn:
    raise Error(
        "NCCL is for training on several GPUs, which pydl does not do; run one solver on the "
        "processor: its threads share the work (caffe.has_nccl() tells)"
    )

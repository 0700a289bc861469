"""bfloat16 in numpy, which has no such type: its bits, as uint16."""

from __future__ import annotations

import numpy as np


def to_bf16(values: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even.

    >>> to_bf16(np.array([1.0, 257.0]))
    array([16256, 17280], dtype=uint16)
    """
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """float32.

    >>> from_bf16(np.array([16256, 17280], np.uint16))
    array([  1., 256.], dtype=float32)
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)

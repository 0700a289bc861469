"""The machine's limits, measured: FLOP/s from registers, and moves between memory and registers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC"]
STEPS = 1_000_000


@dataclass(frozen=True)
class Peak:
    flops: float  # float32, per second
    flops_bf16: float  # 0 where the CPU has no such instructions
    read: float  # bytes per second
    copy: float  # read and written, past the caches
    update: float  # read and written, in place
    source: str  # how the FLOP/s were measured

    @property
    def bandwidth(self) -> float:
        """Bytes per second, whatever the mix of reads and writes."""
        return max(self.read, self.copy, self.update)

    def of(self, bf16: bool) -> float:
        return self.flops_bf16 if bf16 and self.flops_bf16 else self.flops

    def __str__(self) -> str:
        bf16 = f"{self.flops_bf16 / 1e9:.0f} bf16, " if self.flops_bf16 else ""
        read, copy, update = (x / 1e9 for x in (self.read, self.copy, self.update))
        return (
            f"{self.flops / 1e9:.0f} GFLOP/s float32, {bf16}by {self.source}; "
            f"GB/s: read {read:.1f}, copy {copy:.1f}, update in place {update:.1f}"
        )


class Probe:
    """Measures the peak with `threads` threads; without a C++ compiler, by what numpy reaches.

    >>> Probe(threads=2).measure().flops > 1e9
    True
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._library = _compile()
        self._array = _aligned(64 << 20)  # 256 MiB: more than any cache

    def measure(self) -> Peak:
        if self._library is None:
            read, source = _most(self._numpy_read), "numpy's matrix product: no C++ compiler found"
            return Peak(_most(_gemm_flops), 0, read, read, read, source)
        flops, moves = self._flops, self._moves
        return Peak(
            *(_most(flops(name)) for name in ("peak_flops", "peak_flops_bf16")),
            *(_most(moves(f"{name}_bandwidth")) for name in ("read", "copy", "update")),
            "multiply-adds in registers",
        )

    def mover(self, bytes: float, in_place: bool) -> tuple[Callable[[], object], float]:
        """A function that updates an array in place or copies it, moving up to that many bytes in
        all, and how many it moves: a smaller array would leave more of it in the caches."""
        if self._library is None:
            return self._numpy_read, self._array.nbytes
        if in_place:  # each element is read and written
            count = min(self._array.size, int(bytes / 8))
            return self._moves("update_bandwidth", count), 8.0 * count
        count = min(self._array.size, int(bytes / 4))
        return self._moves("copy_bandwidth", count), 4.0 * count

    def _flops(self, function: str) -> Callable[[], float]:
        call = getattr(self._library, function)
        return lambda: call(self._threads, STEPS)

    def _moves(self, function: str, count: int | None = None) -> Callable[[], float]:
        call, array = getattr(self._library, function), self._array
        pointer = array.ctypes.data_as(ctypes.c_void_p)
        return lambda: call(self._threads, pointer, count or array.size)

    def _numpy_read(self) -> float:
        start = time.perf_counter()
        self._array.sum()
        return self._array.nbytes / (time.perf_counter() - start)


def _compile() -> ctypes.CDLL | None:
    source = Path(__file__).with_name("peak.cpp")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "peak.so"
        command = [os.environ.get("CXX", "c++"), *FLAGS, str(source), "-o", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        library = ctypes.CDLL(str(target))
    for name in ("peak_flops", "peak_flops_bf16"):
        getattr(library, name).restype = ctypes.c_double
        getattr(library, name).argtypes = [ctypes.c_int, ctypes.c_int64]
    for name in ("read_bandwidth", "copy_bandwidth", "update_bandwidth"):
        getattr(library, name).restype = ctypes.c_double
        getattr(library, name).argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int64]
    return library


def _most(sample: Callable[[], float], seconds: float = 0.5) -> float:
    """The highest of many samples: clocks and memory take their time to settle."""
    end, most = time.perf_counter() + seconds, sample()
    while time.perf_counter() < end:
        most = max(most, sample())
    return most


def _aligned(count: int) -> np.ndarray:
    memory = np.ones(count + 16, np.float32)
    skip = -memory.ctypes.data % 64 // 4
    return memory[skip : skip + count]


def _gemm_flops(size: int = 2048) -> float:
    a = np.ones((size, size), np.float32)
    start = time.perf_counter()
    a @ a
    return 2 * size**3 / (time.perf_counter() - start)

"""The machine's limits, measured: float32 FLOP/s from registers and reads from memory."""

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


@dataclass(frozen=True)
class Peak:
    flops: float  # per second
    bandwidth: float  # bytes per second
    source: str  # how the FLOP/s were measured

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:.0f} GFLOP/s float32 ({self.source}), "
            f"{self.bandwidth / 1e9:.1f} GB/s read"
        )


class Probe:
    """Measures the peak with `threads` threads; without a C++ compiler, by the best GEMM there is.

    >>> Probe(threads=2).measure().flops > 1e9
    True
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._library = _compile()
        self._array = _aligned(64 << 20)  # 256 MiB: more than any cache

    def measure(self) -> Peak:
        if self._library is None:
            source = "numpy's 2048 x 2048 product: no C++ compiler found"
            return Peak(_most(_gemm_flops), _most(self._numpy_read), source)
        return Peak(_most(self._flops), _most(self._read), "multiply-adds in registers")

    def _flops(self) -> float:
        return self._library.peak_flops(self._threads, 1_000_000)

    def _read(self) -> float:
        pointer = self._array.ctypes.data_as(ctypes.c_void_p)
        return self._library.read_bandwidth(self._threads, pointer, self._array.size)

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
    library.peak_flops.restype = library.read_bandwidth.restype = ctypes.c_double
    library.peak_flops.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.read_bandwidth.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int64]
    return library


def _most(sample: Callable[[], float], seconds: float = 1) -> float:
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

"""Matrix products: square ones, and those of LeNet's and AlexNet's InnerProduct layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from check import check_close
from table import Row, progress
from timing import best
from torch_peer import torch

from pydl import _core

SQUARE = (512, 768, 1024, 1536, 2048)
# batch, outputs, inputs
INNER_PRODUCTS = (
    (64, 500, 800),
    (64, 10, 500),
    (32, 4096, 9216),
    (32, 4096, 4096),
    (32, 1000, 4096),
)


def sides() -> list[str]:
    return ["pydl", "numpy", *(["torch"] if torch else [])]


def rows(match: str = "") -> Iterator[Row]:
    for case, *sizes in _cases():
        if match in case:
            yield product(case, *sizes)


def _cases() -> Iterator[tuple]:
    """Name, m, n, k, whether A and whether B is transposed."""
    for size in SQUARE:
        yield f"{size} x {size} x {size}", size, size, size, False, False
    for batch, outputs, inputs in INNER_PRODUCTS:
        shape = f"{batch} x {outputs} x {inputs}"
        yield f"ip {shape} forward", batch, outputs, inputs, False, True
        yield f"ip {shape} d input", batch, inputs, outputs, False, False
        yield f"ip {shape} d weights", outputs, inputs, batch, True, False


def product(case: str, m: int, n: int, k: int, trans_a: bool, trans_b: bool) -> Row:
    """Times C = op(A) op(B); A and B lie in memory as the layers hold them."""
    progress(case)
    random = np.random.default_rng(0)
    a = random.standard_normal((k, m) if trans_a else (m, k), np.float32)
    b = random.standard_normal((n, k) if trans_b else (k, n), np.float32)
    op_a, op_b = a.T if trans_a else a, b.T if trans_b else b
    out = {side: np.empty((m, n), np.float32) for side in sides()}
    calls = {
        "pydl": lambda: _core.kernels.gemm(a, b, out["pydl"], trans_a, trans_b),
        "numpy": lambda: np.matmul(op_a, op_b, out=out["numpy"]),
    }
    if torch:
        ta, tb, tc = (torch.from_numpy(x) for x in (op_a, op_b, out["torch"]))
        calls["torch"] = lambda: torch.matmul(ta, tb, out=tc)
    for call in calls.values():
        call()
    check_close(case, out["pydl"], out["numpy"], 1e-5)
    return Row(case, best(calls), flops=2.0 * m * n * k)

"""Matrix products: square ones, and those of LeNet's and AlexNet's InnerProduct layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from peers import torch
from table import Row, progress
from timing import best

from pydl import _core

TITLE = "GEMM (M x N x K)"
SQUARE = (256, 512, 1024, 2048)
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


def rows(quick: bool) -> Iterator[Row]:
    for size in SQUARE[:2] if quick else SQUARE:
        yield product(f"{size} x {size} x {size}", size, size, size)
    for batch, outputs, inputs in INNER_PRODUCTS[:2] if quick else INNER_PRODUCTS:
        shape = f"{batch} x {outputs} x {inputs}"
        yield product(f"ip {shape} forward", batch, outputs, inputs, trans_b=True)
        yield product(f"ip {shape} d input", batch, inputs, outputs)
        yield product(f"ip {shape} d weights", outputs, inputs, batch, trans_a=True)


def product(case: str, m: int, n: int, k: int, trans_a: bool = False, trans_b: bool = False) -> Row:
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
    check_close(case, out["pydl"], out["numpy"])
    return Row(case, best(calls), flops=2.0 * m * n * k)


def check_close(what: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-3) -> None:
    """Both sides must compute the same before their times mean anything."""
    scale = float(np.abs(theirs).max()) or 1.0
    error = float(np.abs(ours - theirs).max()) / scale
    if not error <= tolerance:
        raise SystemExit(f"{what}: pydl and its peer differ by {error:.2g} of the largest value")

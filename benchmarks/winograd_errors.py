"""Errors of convolution kernels against float64: the table of docs/winograd.md.

    python benchmarks/winograd_errors.py

Inputs are as in a net: activations after a ReLU, He-initialised weights, normal gradients. Errors
are relative to the root mean square of the result.
"""

import numpy as np
from bf16 import from_bf16, to_bf16

from pydl import _core

kernels = _core.kernels

LAYERS = (  # n, size, ic, oc
    (1, 112, 64, 128), (1, 56, 256, 256), (1, 28, 512, 512),
    (2, 56, 64, 64), (2, 28, 128, 128), (4, 14, 256, 256), (8, 7, 512, 512),
    (4, 14, 96, 208), (4, 7, 192, 384),
)  # fmt: skip
LAYERS_5X5 = ((4, 27, 48, 128), (4, 28, 32, 96), (4, 14, 32, 128), (4, 7, 48, 128))
KERNELS = {3: ("implicit_gemm", "winograd_2x2", "winograd_4x4"),
           5: ("implicit_gemm", "winograd_2x2_5x5")}  # fmt: skip


def shape_of(n, size, ic, oc, k=3, **choice):
    """Stride 1; pad (k - 1) / 2, so that the output is as large as the input."""
    image, kernel, pad, one = (size, size), (k, k), (k // 2, k // 2), (1, 1)
    return kernels.ConvShape(n, ic, oc, 1, image, kernel, one, pad, one, **choice)


def patches(x, k):
    """(n, h, w, c) -> (n h w, c, k, k): what a k x k window sees, in float64."""
    sides = (k // 2, k // 2)
    padded = np.pad(x.astype(np.float64), ((0, 0), sides, sides, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
    return windows.reshape(-1, x.shape[3], k, k)


def correlate(x, w):
    """In float64; w: (oc, ic, k, k)."""
    return np.tensordot(patches(x, w.shape[2]), w.astype(np.float64), ([1, 2, 3], [1, 2, 3]))


class Problem:
    """The arrays of a layer, and what its passes give in float64. With `bf16`, activations and
    their gradients are bfloat16, on both sides of the kernel."""

    def __init__(self, n, size, ic, oc, k=3, bf16=False):
        rng = np.random.default_rng(ic)
        self.store = to_bf16 if bf16 else np.float32
        self.read = from_bf16 if bf16 else np.float32
        image, result = (n, size, size, ic), (n, size, size, oc)
        self.x = self.store(np.maximum(rng.standard_normal(image), 0))
        self.dy = self.store(rng.standard_normal(result))
        w = rng.standard_normal((oc, ic, k, k)) * np.sqrt(2 / (k * k * ic))
        self.w = w.astype(np.float32)
        x, dy = self.read(self.x), self.read(self.dy)
        turned = self.w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        self.want = {
            "forward": correlate(x, self.w).reshape(result),
            "backward_data": correlate(dy, turned).reshape(image),
            "backward_weights": np.tensordot(
                dy.reshape(-1, oc).astype(np.float64), patches(x, k), ([0], [0])
            ),
        }

    def run(self, conv):
        """For each pass what the kernel gives, as float32."""
        y, dx, dw = np.empty_like(self.dy), np.empty_like(self.x), np.zeros_like(self.w)
        conv.forward(self.x, self.w, None, y)
        conv.backward_data(self.dy, self.w, None, dx)
        conv.backward_weights(self.x, self.dy, dw, None)
        return {"forward": self.read(y), "backward_data": self.read(dx), "backward_weights": dw}

    def errors(self, conv):
        """For each pass the root mean square error and the largest one."""
        out = {}
        for which, got in self.run(conv).items():
            error, scale = np.abs(got - self.want[which]), np.sqrt(np.mean(self.want[which] ** 2))
            out[which] = np.sqrt(np.mean(error**2)) / scale, error.max() / scale
        return out


def rows(layers, k):
    names = KERNELS[k]
    for layer in layers:
        n, size, ic, oc = layer
        columns = []
        for bf16, which in ((False, names), (True, (names[0], names[-1]))):
            problem = Problem(*layer, k, bf16)
            columns += [problem.errors(kernels.Conv(shape_of(*layer, k), name)) for name in which]
        for which in columns[0]:
            cells = [f"{rms:.1e} / {largest:.1e}" for rms, largest in (c[which] for c in columns)]
            name = f"{ic} → {oc}, {size}x{size}, batch {n}" if which == "forward" else ""
            yield [name, which.replace("_", " "), *cells]


def table(heads, rows):
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main():
    of_3x3 = ("3x3 layer", "pass", "direct", "F(2x2)", "F(4x4)", "bf16: direct", "bf16: F(4x4)")
    of_5x5 = ("5x5 layer", "pass", "direct", "F(2x2)", "bf16: direct", "bf16: F(2x2)")
    table(of_3x3, rows(LAYERS, 3))
    table(of_5x5, rows(LAYERS_5X5, 5))


if __name__ == "__main__":
    main()

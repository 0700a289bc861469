"""DeepDream (Mordvintsev, Olah & Tyka 2015): a picture climbs towards what excites a layer."""

import nets
import numpy as np
from photographs import HIGH, LOW, fitted

SCALES = (0.5, 0.7, 1)  # first coarse patterns, then fine ones upon them
RATE, JITTER = 0.025, 8  # of a step's mean size; most pixels of a shift


def dream(photograph, height, width, layer, steps):
    """(1, 3, height, width): after so many steps at each scale."""

    def add_losses(net):
        # Minus the squares' sum: to minimise it is to excite the layer.
        net.layer("Reduction", "excitement", layer, loss_weight=[-1],
                  reduction_param={"operation": "SUMSQ"})  # fmt: skip

    random, dreamt = np.random.default_rng(1), 0
    for scale in SCALES:
        size = round(height * scale), round(width * scale)
        net, base = nets.objective(*size, add_losses), fitted(photograph, *size)
        picture = base + (resized(dreamt, size) if scale != SCALES[0] else 0)
        for _ in range(steps):
            shift = random.integers(-JITTER, JITTER + 1, 2)
            _, gradient = nets.loss_and_gradient(net, np.roll(picture, shift, (2, 3)))
            gradient = np.roll(gradient, -shift, (2, 3))
            gradient = gradient.mean(axis=1, keepdims=True)  # patterns, no tints
            picture -= RATE * gradient / np.abs(gradient).mean()
            picture = np.clip(picture, LOW, HIGH)
        dreamt = picture - base
    return picture


def resized(picture, size):
    """By repeating and leaving out pixels: (1, 3, *size)."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, picture.shape[2:], strict=True))
    return picture[:, :, rows][..., columns]

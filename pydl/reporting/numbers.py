"""Numbers and scores as Caffe writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

# More values of one output than anybody reads: a net's raw predictions, not scores.
MOST_VALUES = 1000


def number(value: float) -> str:
    """As a C++ stream prints it: six significant digits.

    >>> number(0.00992565417), number(1e-7), number(100.0)
    ('0.00992565', '1e-07', '100')
    """
    return f"{value:.6g}"


def output_lines(
    outputs: Mapping[str, np.ndarray], loss_weights: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """For each value of each output its name and its text, with the share in the loss.

    >>> list(output_lines({"loss": np.float32(0.25)}, {"loss": 2.0}))
    [('loss', '0.25 (* 2 = 0.5 loss)')]
    """
    for name, values in outputs.items():
        weight = loss_weights.get(name, 0.0)
        flat = np.ravel(values).tolist()
        for value in flat[:MOST_VALUES]:
            share = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
            yield name, number(value) + share


def scalars(outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The outputs that are one number."""
    return {name: float(np.ravel(v)[0]) for name, v in outputs.items() if np.size(v) == 1}


def brief(outputs: Mapping[str, np.ndarray]) -> str:
    """The scalar outputs on one line.

    >>> brief({"accuracy": np.float32(0.975), "loss": np.float32(0.0711)})
    'accuracy = 0.9750, loss = 0.0711'
    """
    return ", ".join(f"{name} = {_short(value)}" for name, value in scalars(outputs).items())


def _short(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"

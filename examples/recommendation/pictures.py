"""Errors, and films on a map (with matplotlib)."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def draw(path, errors, vectors, titles):
    """RMSE of each way to predict, and the films by the first two principal components."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 6), width_ratios=(1, 3))
    names = [name.replace(" ", "\n", 1) for name in errors]
    bars = left.barh(names, errors.values(), color=["#999999"] * 2 + ["#0072b2"] * 2)
    left.bar_label(bars, fmt="%.3f", padding=3)
    left.invert_yaxis()
    left.set_xlim(0, 1.4)
    left.set_xlabel("RMSE on ratings not seen, in stars")
    centred = vectors - vectors.mean(axis=0)
    x, y = (centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T).T
    for i in with_room(x / np.ptp(x), y / np.ptp(y)):
        right.plot(x[i], y[i], ".", color="#d55e00")
        right.annotate(short(titles[i]), (x[i], y[i]), (3, 3), textcoords="offset points",
                       fontsize=7)  # fmt: skip
    right.set_xlim(right=x.max() + 0.2 * np.ptp(x))
    right.set_xticks([])
    right.set_yticks([])
    right.set_title("the films' vectors, as two principal components show them")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def with_room(x, y):
    """The first, and each other that leaves its name and those before it room."""
    shown = []
    for i in range(len(x)):
        if all(abs(x[i] - x[j]) > 0.16 or abs(y[i] - y[j]) > 0.02 for j in shown):
            shown.append(i)
    return shown


def short(title):
    """``Lord of the Rings: The Two Towers, The`` to ``Lord of the Rings: The Two Towers``."""
    return re.sub(r", (The|A|An)$| \(.*\)", "", title)

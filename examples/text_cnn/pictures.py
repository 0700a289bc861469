"""Accuracy by the size of the training set (with matplotlib)."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = ("#999999", "#0072b2", "#d55e00")  # told apart by the colour-blind too


def draw_accuracies(path, sizes, accuracies):
    """The mean over the folds, and the range from the worst to the best."""
    figure, ax = plt.subplots(figsize=(6, 3.6))
    for (variant, folds), colour in zip(accuracies.items(), COLOURS, strict=True):
        percent = 100 * np.array(folds)
        ax.plot(sizes, percent.mean(axis=1), "o-", color=colour, label=f"{variant} vectors")
        ax.fill_between(sizes, percent.min(axis=1), percent.max(axis=1), color=colour, alpha=0.2)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel("sentences to learn from")
    ax.set_ylabel("accuracy on others, %")
    ax.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

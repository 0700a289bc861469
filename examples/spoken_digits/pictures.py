"""Spectrograms and confusion matrices (with matplotlib)."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def draw_spectrograms(path, words, recordings, digits, log_mel):
    """Two voices for each word."""
    figure, axes = plt.subplots(4, 5, figsize=(10, 5.6), sharex=True, sharey=True)
    for digit, word in enumerate(words):
        for row, recording in enumerate(recordings[digits == digit][:2]):
            ax = axes[2 * (digit // 5) + row, digit % 5]
            bands = log_mel(recording)
            ax.imshow(bands, origin="lower", aspect="auto", cmap="magma",
                      extent=(0, 1, 0, len(bands)), vmin=bands.max() - 9)  # fmt: skip
            ax.set_title(f"“{word}”", fontsize=9)
    figure.supxlabel("seconds", fontsize=9)
    figure.supylabel("mel bands, 60 to 8000 Hz", fontsize=9)
    save(figure, path)


def draw_confusion(path, words, digits, guesses):
    """For each net: how often a digit (rows) is taken for another (columns), in %."""
    figure, axes = plt.subplots(1, len(guesses), figsize=(10, 4.9), sharey=True)
    for ax, (name, found) in zip(axes, guesses.items(), strict=True):
        counts = np.zeros((len(words), len(words)))
        np.add.at(counts, (digits, found), 1)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 50 else "black"
                ax.text(column, row, f"{share:.0f}", ha="center", va="center", color=colour,
                        fontsize=8)  # fmt: skip
        ax.set_xticks(range(len(words)), words, rotation=60)
        ax.set_yticks(range(len(words)), words)
        ax.set_xlabel("found")
        ax.set_title(f"{name}: {np.mean(found == digits):.1%} right")
    axes[0].set_ylabel("said")
    save(figure, path)


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

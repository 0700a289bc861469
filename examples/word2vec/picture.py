"""Words in a plane (needs matplotlib)."""

import numpy as np
from matplotlib.figure import Figure

# Colours that differ in brightness too (Okabe & Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#B8860B")
MARKS = ("o", "s", "^", "D", "v", "P")
LETTER = np.array([4.9, 8.0])  # width and height, in points


def principal_plane(vectors):
    """(N, 2): the first two principal components."""
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T


def free_corners(marks, words):
    """Where each word is written, in points from its mark: the first corner that is free, or the
    one where it covers least."""
    taken = [(mark - 4, mark + 4) for mark in marks]
    chosen = []
    for mark, word in zip(marks, words, strict=True):
        size = LETTER * (len(word), 1)
        corners = [np.array([x, y]) for x in (5, -5 - size[0]) for y in (2, -10)]
        covered = [
            sum(np.prod(np.clip(np.minimum(high, mark + at + size) - np.maximum(low, mark + at),
                                0, None)) for low, high in taken)
            for at in corners
        ]  # fmt: skip
        chosen.append(corners[int(np.argmin(covered))])
        taken.append((mark + chosen[-1], mark + chosen[-1] + size))
    return chosen


def draw(vectors, vocabulary, groups, path):
    words = [word for line in groups.values() for word in line.split()]
    kinds = [i for i, line in enumerate(groups.values()) for _ in line.split()]
    places = principal_plane(vectors[[vocabulary.number(word) for word in words]])
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots()
    for kind, name in enumerate(groups):
        of_kind = places[np.array(kinds) == kind]
        axes.scatter(*of_kind.T, color=COLOURS[kind], marker=MARKS[kind], s=22, label=name)
    axes.legend(loc="best", frameon=False)
    axes.margins(0.08)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.draw_without_rendering()  # where the marks lie depends on the layout
    marks = axes.transData.transform(places) * 72 / figure.dpi
    for word, place, kind, at in zip(words, places, kinds, free_corners(marks, words), strict=True):
        axes.annotate(word, place, xytext=at, textcoords="offset points", fontsize=8,
                      color=COLOURS[kind])  # fmt: skip
    figure.savefig(path, dpi=110)

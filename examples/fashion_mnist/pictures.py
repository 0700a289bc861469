"""The pictures of family.py."""

import numpy as np
from matplotlib.figure import Figure

# Colours that every kind of eye tells apart (Okabe and Ito), and markers for those printed grey.
STYLES = (
    {"color": "#000000", "marker": "x"},
    {"color": "#56B4E9", "marker": "v"},
    {"color": "#D55E00", "marker": "^"},
    {"color": "#0072B2", "marker": "o"},
    {"color": "#009E73", "marker": "s"},
    {"color": "#CC79A7", "marker": "D"},
)
TICKS = (50_000, 100_000, 200_000, 500_000, 1_000_000)
PAIRS, EXAMPLES = 5, 8


def draw_family(path, runs):
    """Accuracy against time, accuracy against size, and test accuracy and loss as each learns."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    (time, size), (learning, loss) = figure.subplots(2, 2)
    for style, (name, run) in zip(STYLES, runs.items(), strict=False):
        for axis, x in ((time, run.seconds), (size, run.params)):
            axis.plot(x, 100 * run.accuracy, markersize=9, **style)
            axis.annotate(name, (x, 100 * run.accuracy), (8, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
        learning.plot(run.passes, 100 * run.accuracies, label=name, **style)
        loss.plot(*smooth(run.losses, run.passes[-1]), color=style["color"], label=name)
    for axis in (time, size):
        axis.set_ylabel("test accuracy, %")
        axis.margins(x=0.2, y=0.15)
    time.set_xlabel("CPU seconds")
    size.set(xlabel="weights", xscale="log")
    size.set_xticks(TICKS, [f"{count:,}" for count in TICKS])
    size.minorticks_off()
    learning.set(xlabel="passes through the training set", ylabel="test accuracy, %")
    loss.set(xlabel="passes through the training set", ylabel="training loss (smoothed labels)")
    learning.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=80)


def smooth(losses, passes, window=100):
    """Where, in passes, and the mean loss of the iterations around."""
    window = min(window, len(losses))
    means = np.convolve(losses, np.full(window, 1 / window), "valid")
    at = np.arange(len(means)) + (window + 1) / 2
    return at * passes / len(losses), means


def draw_confusions(path, pictures, found):
    """The counts of each class taken for each other, and pictures of the most frequent pairs."""
    true, classes = pictures.y_test, pictures.classes
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (true, found), 1)
    wrong = counts - np.diag(np.diag(counts))
    figure = Figure(figsize=(15, 5.5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axis = left.subplots()
    axis.imshow(wrong, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if wrong[row, column] > wrong.max() / 2 else "black"
        axis.text(column, row, count or "", ha="center", va="center", color=color, fontsize=9)
    axis.set(xlabel="found", ylabel="true", yticks=range(len(classes)), yticklabels=classes)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    rows = right.subplots(PAIRS, EXAMPLES)
    worst = np.argsort(-wrong, axis=None)[:PAIRS]
    for row, a, b in zip(rows, *np.unravel_index(worst, wrong.shape), strict=True):
        images = pictures.x_test[(true == a) & (found == b)][:EXAMPLES, 0]
        for axis in row:
            axis.axis("off")
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image, cmap="gray_r")
        row[0].set_title(f"{classes[a]}, found to be {classes[b]}: {wrong[a, b]}",
                         loc="left", fontsize=10)  # fmt: skip
    figure.savefig(path, dpi=80)

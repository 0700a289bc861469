"""The picture of transfer.py."""

from matplotlib.figure import Figure

# Colours that every kind of eye tells apart (Okabe and Ito): what knows only the few labels is
# dashed.
STYLES = {
    "pixels": {"color": "#E69F00", "linestyle": "--"},
    "net from scratch": {"color": "#000000", "linestyle": "--", "marker": "^"},
    "convolutions of clothes": {"color": "#009E73"},
    "convolutions of 0 to 4": {"color": "#0072B2"},
    "hidden layer of 0 to 4": {"color": "#CC79A7"},
    "net of 0 to 4": {"color": "#D55E00", "marker": "^"},
}


TICKS = (2, 3, 5, 10, 20, 30, 50)


def draw(path, counts, accuracies):
    """A line for each method: the test error, the mean over the draws."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axis = figure.subplots()
    for name, found in accuracies.items():
        source, _, classifier = name.partition(", ")
        style = {"marker": "s" if classifier == "nearest neighbour" else "o"} | STYLES[source]
        axis.plot(counts, 100 - 100 * found.mean(axis=1), label=name, **style)
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(counts, counts)
    axis.set_yticks(TICKS, TICKS)
    axis.minorticks_off()
    axis.set(xlabel="labelled digits of each class", ylabel="test error, %")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=80)

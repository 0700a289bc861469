"""The picture of shakespeare.py."""

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

STYLES = {
    "RNN": ("#D55E00", "s--"),
    "GRU": ("#009E73", "^-"),
    "LSTM": ("#0072B2", "o-"),
    "Transformer": ("#CC79A7", "D-"),
}


def draw(path, progress):
    """Bits per character of the held out works, by what was read and by the time it took."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_text, by_time = figure.subplots(1, 2, sharey=True)
    for name, rows in progress.items():
        read, seconds, bits = zip(*rows, strict=True)
        colour, style = STYLES[name]
        by_text.plot([n / 1e6 for n in read], bits, style, color=colour, label=name, markersize=4)
        by_time.plot(seconds, bits, style, color=colour, label=name, markersize=4)
    by_text.set(xlabel="million characters read", ylabel="bits per character")
    by_time.set(xlabel="seconds on one core")
    by_text.set_yscale("log")
    by_text.yaxis.set_major_formatter(ScalarFormatter())
    by_text.yaxis.set_minor_formatter(ScalarFormatter())
    for axis in (by_text, by_time):
        axis.grid(axis="y", color="0.9", which="both")
    by_text.legend(frameon=False)
    figure.savefig(path, dpi=100)

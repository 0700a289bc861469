"""The picture of translate.py."""

from matplotlib.figure import Figure

STYLES = {"attention": ("#0072B2", "o-"), "no attention": ("#D55E00", "s--")}


def draw(path, progress, maps):
    """The share of right answers as the nets learn; for each pair, where each character of the
    answer looks."""
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.4])
    axis = left.subplots()
    for name, rows in progress.items():
        colour, style = STYLES[name]
        axis.plot(*zip(*rows, strict=True), style, color=colour, label=name, markersize=4)
    axis.set(xlabel="iterations", ylabel="share of intervals that are right", ylim=(-0.02, 1.02))
    axis.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    axes = right.subplots(len(maps), 1)
    for axis, ((written, said), weights) in zip(axes, maps.items(), strict=True):
        axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(written)), written, family="monospace")
        axis.set_yticks(range(len(said)), said, family="monospace", fontsize=8)
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
    figure.savefig(path, dpi=100)

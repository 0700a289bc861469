"""The picture of study.py."""

from matplotlib.figure import Figure


def draw(path, found):
    """A bar for each method's mean test error, best at the top, and a point for each run."""
    names = sorted(found, key=lambda name: -found[name][:, 1].mean())
    figure = Figure(figsize=(10, 0.4 * len(names) + 1), layout="constrained")
    axis = figure.subplots()
    for row, name in enumerate(names):
        errors = found[name][:, 1]
        axis.barh(row, errors.mean(), color="#D55E00" if name == "none" else "#56B4E9")
        axis.plot(errors, [row] * len(errors), "k|", markersize=9)
        axis.annotate(f"{errors.mean():.1f}", (0, row), (4, 0), textcoords="offset points",
                      va="center")  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("test error, %: mean, and each run")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    figure.savefig(path, dpi=80)

"""Error curves, and pairs of faces (with matplotlib)."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = ("#999999", "#e69f00", "#0072b2")  # told apart by the colour-blind too


def draw_roc(path, curves):
    """`curves`: of each way, the shares of people mistaken and recognised at all thresholds."""
    figure, ax = plt.subplots(figsize=(6, 4))
    for (way, (false, true)), colour in zip(curves.items(), COLOURS, strict=True):
        ax.plot(100 * false, 100 * true, color=colour, label=way)
    errors = np.geomspace(0.1, 100, 200)
    ax.plot(errors, 100 - errors, ":", color="black", linewidth=1, label="equal error rate")
    ax.set_xscale("log")
    ax.set_xlim(0.1, 100)
    ax.set_ylim(0, 100)
    ax.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    ax.set_xlabel("pairs of two people taken for one, %")
    ax.set_ylabel("pairs of one person recognised, %")
    ax.legend(loc="lower right")
    save(figure, path)


def draw_pairs(path, pictures, whose, distance, most=6):
    """`pictures`: (pairs, 2, rows, columns); `whose`: (pairs, 2)."""
    nearest = np.argsort(distance, kind="stable")
    same = whose[:, 0] == whose[:, 1]
    of_one, of_two = nearest[same[nearest]], nearest[~same[nearest]]
    rows = {
        "one person,\nnearest": of_one,
        "one person,\nfarthest": of_one[::-1],
        "two people,\nnearest": of_two,
        "two people,\nfarthest": of_two[::-1],
    }
    rows = {name: of_others(order, whose)[:most] for name, order in rows.items()}
    count = min(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), count, figsize=(10, 5.6))
    for (name, chosen), line in zip(rows.items(), axes, strict=True):
        for pair, ax in zip(chosen[:count], line, strict=True):
            ax.imshow(np.hstack(pictures[pair]), cmap="gray")
            ax.set_title(f"{distance[pair]:.2f}", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(name)
    save(figure, path)


def of_others(order, whose):
    """The first pair, and each other whose people are in none before."""
    chosen, seen = [], set()
    for pair in order:
        if seen.isdisjoint(whose[pair]):
            chosen.append(pair)
            seen.update(whose[pair])
    return chosen


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

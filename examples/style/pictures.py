"""The pictures of style.py."""

from matplotlib.figure import Figure


def draw_styles(path, content, styled):
    """Above, the photograph and the styles; below, the photograph in each of them."""
    figure = Figure(figsize=(3 * (1 + len(styled)), 4.2), layout="constrained")
    above, below = figure.subplots(2, 1 + len(styled))
    show(above[0], content, "content")
    below[0].set_axis_off()
    for i, (name, (style, result)) in enumerate(styled.items(), 1):
        show(above[i], style, name.replace("_", " "))
        show(below[i], result, "")
    figure.savefig(path, dpi=100)


def draw_dreams(path, dreams):
    """The photograph, and what each layer makes of it."""
    figure = Figure(figsize=(3 * len(dreams), 2.2), layout="constrained")
    for axis, (name, picture) in zip(figure.subplots(1, len(dreams)), dreams.items(), strict=True):
        show(axis, picture, name)
    figure.savefig(path, dpi=100)


def show(axis, picture, title):
    axis.imshow(picture)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()

"""Pictures with the boxes of what was detected (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def draw(
    pictures: Sequence, found: Sequence, class_names: Sequence[str], path: str, columns: int = 4
) -> None:
    """Writes a sheet of pictures: what there is in thin white, what was found in colour."""
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(3 * columns, 3 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, detections in zip(axes, pictures, found, strict=False):
        axis.imshow(picture.image[0], cmap="gray", vmin=0, vmax=1)
        for box in picture.boxes:
            axis.add_patch(_rectangle(box, color="white", linewidth=0.8, linestyle=":"))
        for box, label, score in zip(
            detections.boxes, detections.labels, detections.scores, strict=True
        ):
            color = f"C{label % 10}"
            axis.add_patch(_rectangle(box, color=color, linewidth=2))
            axis.text(box[0], box[1] - 2, f"{class_names[label]} {score:.2f}", color=color, size=8)
    figure.savefig(path, dpi=80, bbox_inches="tight")


def _rectangle(box, **style):
    x1, y1, x2, y2 = box
    return Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1 + 1, y2 - y1 + 1, fill=False, **style)

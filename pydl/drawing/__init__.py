"""Pictures of nets: boxes for layers, from top to bottom, as SVG, PNG, PDF or Graphviz text.

>>> from pydl import drawing, prototxt
>>> net = prototxt.load_net("examples/mnist/lenet_train_test.prototxt")
>>> drawing.save(net, "lenet.svg", phase="TRAIN")
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from pydl.drawing.dot import dot_text
from pydl.drawing.graph import net_graph
from pydl.drawing.layout import DIRECTIONS
from pydl.drawing.svg import svg_text
from pydl.errors import Error
from pydl.formats import atomic_write

FORMATS = ("svg", "png", "pdf", "dot")

__all__ = ["DIRECTIONS", "FORMATS", "render", "save"]


def render(
    net: Any,
    format: str = "svg",
    *,
    rankdir: str = "TB",
    phase: str | int | None = None,
    lr_mult: bool = False,
    edge_labels: bool = True,
) -> bytes:
    """The picture of a net as the content of a file.

    Args:
        net: a NetParameter, of `pydl.prototxt` or of `pydl.caffe.proto.caffe_pb2`.
        format: one of `FORMATS`. PNG and PDF need the package cairosvg, or Graphviz's ``dot``.
        rankdir: where the net runs to: "TB" (top to bottom), "BT", "LR" or "RL".
        phase: "TRAIN" or "TEST": only the layers of that phase; None: all.
        lr_mult: show the learning-rate multipliers.
        edge_labels: name the blobs that are not named like the layer they come from.

    Raises:
        Error: an unknown format or direction, a net without layers, or nothing to make a PNG with.

    >>> render(prototxt.parse('layer { name: "x" type: "Input" top: "x" }'))[:4]
    b'<svg'
    """
    if format not in FORMATS:
        raise Error(f'a picture of format "{format}"; there are {", ".join(FORMATS)}')
    if rankdir not in DIRECTIONS:
        raise Error(f'rankdir "{rankdir}" is not one of {", ".join(DIRECTIONS)}')
    graph = net_graph(net, phase=phase, lr_mult=lr_mult)
    if format == "dot":
        return dot_text(graph, rankdir, edge_labels).encode()
    svg = svg_text(graph, rankdir, edge_labels).encode()
    if format == "svg":
        return svg
    try:
        import cairosvg
    except (ImportError, OSError):  # OSError: cairosvg without the library cairo
        return _with_graphviz(dot_text(graph, rankdir, edge_labels), format)
    convert = cairosvg.svg2png if format == "png" else cairosvg.svg2pdf
    return convert(bytestring=svg, **({"scale": 2} if format == "png" else {}))


def save(net: Any, path: str | os.PathLike, **options: Any) -> None:
    """Writes the picture of a net; the suffix says the format, the options are `render`'s."""
    content = render(net, Path(path).suffix[1:].lower(), **options)
    with atomic_write(path) as file:
        file.write(content)


def _with_graphviz(text: str, format: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise Error(
            f"a {format.upper()} needs the package cairosvg or the program dot: "
            'pip install "pydl[draw]", or install Graphviz, or ask for svg'
        )
    done = subprocess.run([program, f"-T{format}"], input=text.encode(), capture_output=True)
    if done.returncode:
        raise Error(f"{program}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout

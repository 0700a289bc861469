"""``pydl segment``: draws the class of each pixel of an image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """examples:
  pydl zoo write fcn8s_released -o fcn8s.prototxt
  pydl segment -model fcn8s.prototxt -weights fcn8s-heavy-pascal.caffemodel \\
      -mean 104,117,123 street.jpg
  pydl segment -model segnet.safetensors -labels names.txt scene.png -o masks.png

The image is resized to the net's input (values 0 to 255, BGR) and goes in as
(x * raw_scale - mean) * scale. The class of a pixel is the greatest of the net's scores there.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``segment`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "segment", "Draws the class of each pixel over an image.", _EPILOG
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("image", metavar="IMAGE", help="the image to segment")
    add("-o", "--output", metavar="PICTURE", help="the picture to write (IMAGE_masks.png)")
    add("--model", required=True, metavar="FILE", help="a deploy prototxt, or a .safetensors")
    flags.add_net_flags(parser)
    add("--labels", metavar="FILE", help="names of the classes, one a line")
    add("--scale", type=float, default=1.0, help="factor after the mean (1)")
    add("--raw_scale", type=float, default=1.0, help="factor before the mean (1)")
    add("--mean", metavar="M", help="values with commas, a .binaryproto or a .npy")
    add("--channels", choices=("bgr", "rgb"), default="bgr", help="colour order (bgr)")
    add("--opacity", type=float, default=0.6, help="of the masks, 0 to 1 (0.6)")
    flags.add_run_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl segment``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net
    from pydl.cli.records import Scaling, load_image, read_mean, read_names

    flags.apply_run_flags(args)
    if not 0 <= args.opacity <= 1:
        raise Error(f"-opacity {args.opacity:g}: expected a number from 0 to 1")
    names = read_names(args.labels) if args.labels else ()
    net = open_net(args, phase="TEST", keep="outputs", need_weights=True)
    shape = _input_shape(net, args.model)
    scaling = Scaling(args.raw_scale, read_mean(args.mean) if args.mean else None, args.scale)
    pixels = load_image(Path(args.image), shape[1:], args.channels == "rgb")
    classes = _class_map(net.forward(**{net.inputs[0]: scaling(pixels[None])}), args.model)
    output = Path(args.output or Path(args.image).with_suffix("").name + "_masks.png")
    _draw(Path(args.image), classes, args.opacity, output)
    _report(classes, names)
    print(f"{output}: the image with its masks")
    return 0


def _input_shape(net, where: str) -> tuple[int, ...]:
    shapes = [tuple(net.blobs[name].shape) for name in net.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (1, 3):
        shown = ", ".join("x".join(map(str, shape)) for shape in shapes) or "none"
        raise Error(
            f"{where}: expected one input of images (N, 1 or 3, rows, columns), got {shown}"
        )
    return shapes[0]


def _class_map(outputs: dict[str, np.ndarray], where: str) -> np.ndarray:
    """(rows, columns): the best class of each pixel, by the first output that has such scores."""
    for values in outputs.values():
        if values.ndim == 4 and values.shape[1] > 1 and values.shape[2] * values.shape[3] > 1:
            return values[0].argmax(axis=0)
    shown = ", ".join(f"{name} {values.shape}" for name, values in outputs.items())
    raise Error(f"{where}: no output has scores of classes at places (1, classes, rows, columns), "
                f"but {shown}")  # fmt: skip


def palette(count: int) -> np.ndarray:
    """(count, 3): Pascal VOC's colours, which are far apart from one another.

    >>> palette(2).tolist()
    [[0, 0, 0], [128, 0, 0]]
    """
    numbers, colours = np.arange(count), np.zeros((count, 3), int)
    for bit in range(8):  # of a number's bits the lowest three are the highest of red, green, blue
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def _draw(image: Path, classes: np.ndarray, opacity: float, output: Path) -> None:
    """The background, class 0, stays as it is."""
    from PIL import Image

    from pydl.cli.records import open_image
    from pydl.formats import atomic_write

    picture = open_image(image)
    masks = Image.fromarray(palette(int(classes.max()) + 1)[classes])
    masks = masks.resize(picture.size, Image.Resampling.NEAREST)
    objects = Image.fromarray(np.where(classes > 0, np.uint8(255 * opacity), np.uint8(0)))
    objects = objects.resize(picture.size, Image.Resampling.NEAREST)
    picture.paste(masks, mask=objects)
    with atomic_write(output) as file:
        picture.save(file, format=_format_of(output))


def _format_of(path: Path) -> str:
    from PIL import Image

    formats = Image.registered_extensions()
    if path.suffix.lower() not in formats:
        raise Error(f"{path}: no image format has this suffix; use .png or .jpg")
    return formats[path.suffix.lower()]


def _report(classes: np.ndarray, names: Sequence[str]) -> None:
    """What share of the image each class has, the largest first."""
    counts = np.bincount(classes.ravel())
    for k in np.argsort(-counts, kind="stable"):
        if counts[k]:
            name = names[k] if k < len(names) else f"class {k}"
            print(f"{name}: {100 * counts[k] / classes.size:.1f}%")

"""``pydl detect``: objects in an image; or class scores of windows, as pycaffe's detect.py."""

from __future__ import annotations

import argparse
import csv
import io
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pydl.cli import flags
from pydl.cli.classify import add_model_flags, model_options, read_lines
from pydl.cli.records import read_mean
from pydl.errors import Error

if TYPE_CHECKING:
    from PIL.Image import Image

_EPILOG = """examples:
  pydl detect -model ssd_deploy.prototxt -weights ssd.caffemodel -mean 104,117,123 \\
      -label_map labelmap_voc.prototxt photo.jpg found.png
  pydl detect -model_def rcnn.prototxt -pretrained_model rcnn.caffemodel -crop_mode list \\
      windows.csv scores.csv

With -model, a detector (SSD, YOLOv2, Faster R-CNN or R-FCN): what it finds in an image is printed,
and drawn into the picture OUTPUT, or written to it as .csv. Values go in as (x - mean) * scale, x
from 0 to 255, BGR.

With -model_def (R-CNN) the input is a CSV with the columns filename, ymin, xmin, ymax, xmax. The
output, .csv or .h5, has these and the scores of the classes.
"""
_COORDINATES = ("ymin", "xmin", "ymax", "xmax")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``detect`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "detect", "Finds objects in an image, or scores windows of images.", _EPILOG
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("input", metavar="INPUT", help="an image; or a .csv of windows: see below")
    add("output", metavar="OUTPUT", help="a picture or .csv to write; of windows .csv or .h5")
    add("--model", metavar="FILE", help="a deploy prototxt, or a .safetensors, that finds objects")
    flags.add_net_flags(parser, python=False)  # add_model_flags has it
    add("--label_map", metavar="FILE", help="a label map: names of the classes")
    add("--threshold", type=float, default=0.5, metavar="P", help="least score to show (0.5)")
    add("--mean", metavar="M", help="values with commas, a .binaryproto or a .npy")
    add("--scale", type=float, default=1.0, metavar="S", help="factor after the mean (1)")
    add_model_flags(parser)
    add(
        "--crop_mode",
        choices=("list", "selective_search"),
        default="list",
        help="list: the windows of the input; selective_search: the input lists images, and the "
        "windows come from a Python module that runs MATLAB (list)",
    )
    add("--context_pad", type=flags.count, default=16, metavar="N", help="context, in pixels (16)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl detect``; returns the exit status, raises pydl.Error for bad input."""
    flags.apply_run_flags(args)
    return _find_objects(args) if args.model else _score_windows(args)


# ---- objects ----
def _find_objects(args: argparse.Namespace) -> int:
    from pydl.cli.nets import open_net
    from pydl.formats.annotated import load_label_map
    from pydl.tools.detections import detect, draw, name_of
    from pydl.tools.imageset import read_image

    names = load_label_map(args.label_map) if args.label_map else None
    net = open_net(args, phase="TEST", need_weights=True)
    data = next((name for name in net.inputs if len(net.blobs[name].shape) == 4), None)
    if data is None:
        raise Error(f"{args.model}: has no input of images (N, C, H, W)")
    channels = net.blobs[data].shape[1]
    image = read_image(args.input, gray=channels == 1)
    mean = _fitting_mean(args.mean, net.blobs[data].shape) if args.mean else 0.0
    found = detect(net, image, mean, args.scale, args.threshold)
    for item in found:
        corners = " ".join(f"{x:.1f}" for x in item.box)
        print(f"{name_of(item.label, names)} {item.score:.4f} {corners}")
    if not found:
        print(f"Nothing found with a score of {args.threshold:g} or more; see -threshold.")
    if args.output.endswith(".csv"):
        rows = [[args.input, name_of(d.label, names), d.score, *d.box] for d in found]
        columns = ("filename", "class", "score", "xmin", "ymin", "xmax", "ymax")
        _write_csv(args.output, columns, rows)
    else:
        _save_picture(draw(image, found, names), args.output)
    print(f"Saved to {args.output}")
    return 0


def _fitting_mean(text: str, shape: tuple[int, ...]) -> np.ndarray:
    mean = read_mean(text)
    values = mean.reshape(-1, 1, 1) if mean.ndim == 1 else mean
    try:
        np.broadcast_shapes(values.shape, tuple(shape[1:]))
    except ValueError:
        raise Error(f"-mean {text}: of shape {mean.shape}, the net's input is {shape}") from None
    return values


def _save_picture(picture: Image, path: str) -> None:
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise Error(
            f"{path}: the picture cannot be written: {error}; OUTPUT ends in .png, .jpg or .csv"
        ) from error


# ---- windows ----
def _score_windows(args: argparse.Namespace) -> int:
    from pydl import caffe

    if not args.output.endswith((".csv", ".h5")):
        raise Error(f"{args.output}: detections are written as .csv or .h5")
    options = model_options(args)
    windows = _read_windows(args.input) if args.crop_mode == "list" else None
    print("Loading input...")
    detector = caffe.Detector(
        args.model_def, args.pretrained_model, context_pad=args.context_pad, **options
    )
    start = time.perf_counter()
    if windows is None:
        detections = detector.detect_selective_search(read_lines(args.input))
    else:
        detections = detector.detect_windows(windows)
    print(f"Processed {len(detections)} windows in {time.perf_counter() - start:.3f} s.")
    (_save_hdf5 if args.output.endswith(".h5") else _save_csv)(args.output, detections)
    print(f"Saved to {args.output}")
    return 0


def _read_windows(path: str) -> list[tuple[str, np.ndarray]]:
    """(image, its windows (n, 4)) in the order of the file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Error(f"{path}: cannot be read: {error}") from error
    windows: dict[str, list] = {}
    for line, row in enumerate(rows, 2):
        try:
            box = [float(row[name]) for name in _COORDINATES]
            windows.setdefault(row["filename"], []).append(box)
        except (KeyError, TypeError, ValueError):
            raise Error(
                f"{path}:{line}: expected the columns filename, {', '.join(_COORDINATES)}"
            ) from None
    if not windows:
        raise Error(f"{path}: no windows")
    return [(name, np.array(boxes)) for name, boxes in windows.items()]


def _save_csv(path: str, detections: list[dict]) -> None:
    classes = [f"class{k}" for k in range(len(detections[0]["prediction"]))]
    rows = [
        [d["filename"], *np.ravel(d["window"]).tolist(), *np.ravel(d["prediction"]).tolist()]
        for d in detections
    ]
    _write_csv(path, ["filename", *_COORDINATES, *classes], rows)


def _write_csv(path: str, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    from pydl.formats import atomic_write

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _save_hdf5(path: str, detections: list[dict]) -> None:
    try:
        import h5py
    except ImportError as error:
        raise Error(f'{path}: HDF5 files need h5py: pip install "pydl[hdf5]"') from error
    try:
        with h5py.File(path, "w") as file:
            names = [found["filename"] for found in detections]
            file.create_dataset("filename", data=names, dtype=h5py.string_dtype())
            file["window"] = np.stack([found["window"] for found in detections])
            file["prediction"] = np.stack([found["prediction"] for found in detections])
    except OSError as error:
        raise Error(f"{path}: cannot write: {error}") from error

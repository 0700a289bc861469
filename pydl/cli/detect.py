"""``pydl detect``: class scores of windows in images, as pycaffe's detect.py."""

from __future__ import annotations

import argparse
import csv
import io
import time

import numpy as np

from pydl.cli import flags
from pydl.cli.classify import add_model_flags, model_options, read_lines
from pydl.errors import Error

_EPILOG = """example:
  pydl detect -model_def rcnn.prototxt -pretrained_model rcnn.caffemodel -crop_mode list \\
      windows.csv scores.csv

The input is a CSV with the columns filename, ymin, xmin, ymax, xmax. The output, .csv or .h5, has
these and the scores of the classes.
"""
_COORDINATES = ("ymin", "xmin", "ymax", "xmax")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``detect`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(subparsers, "detect", "Scores windows of images.", _EPILOG)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("input", metavar="WINDOWS", help="a .csv of windows; see below")
    add("output", metavar="OUTPUT", help="the .csv or .h5 to write")
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
    from pydl import caffe

    flags.apply_run_flags(args)
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
    from pydl.formats import atomic_write

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    classes = [f"class{k}" for k in range(len(detections[0]["prediction"]))]
    writer.writerow(["filename", *_COORDINATES, *classes])
    for found in detections:
        scores = np.ravel(found["prediction"]).tolist()
        writer.writerow([found["filename"], *np.ravel(found["window"]).tolist(), *scores])
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

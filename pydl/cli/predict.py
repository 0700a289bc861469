"""``pydl predict``: runs a net on images, arrays or a data set, and shows what it says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pydl.cli import flags
from pydl.cli.records import Records, Scaling, open_records, read_mean, read_names
from pydl.errors import Error

_EPILOG = """examples:
  pydl predict -model lenet_deploy.prototxt -weights lenet_iter_2000.caffemodel \\
      -input mnist_sample/test -scale 0.00390625 -top 3
  pydl predict -model deploy.prototxt -weights caffenet.caffemodel -input cat.jpg dog.jpg \\
      -mean 104,117,123 -labels synset_words.txt
  pydl predict -model net.safetensors -input features.npz -o scores.npz

-input is image files or a folder of them (resized to the net's input, values 0 to 255, BGR), a .npy
or .npz of arrays (labels under "labels"), or a source as in a Data layer. Values go in as
(x * raw_scale - mean) * scale.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``predict`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "predict", "Runs a net on images, arrays or a data set.", _EPILOG
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="a deploy prototxt, or a .safetensors")
    flags.add_net_flags(parser)
    add("--input", required=True, nargs="+", metavar="FILE", help="what to predict; see below")
    add("--labels", metavar="FILE", help="names of the classes, one a line")
    add("--top", type=flags.positive, default=5, metavar="K", help="classes to show (5)")
    add("-o", "--output", metavar="FILE.npz", help="write all outputs here")
    add("--scale", type=float, default=1.0, help="factor after the mean (1)")
    add("--raw_scale", type=float, default=1.0, help="factor before the mean (1)")
    add("--mean", metavar="M", help="values with commas, a .binaryproto or a .npy")
    add("--channels", choices=("bgr", "rgb"), default="bgr", help="colour order of images (bgr)")
    add("--batch", type=flags.positive, metavar="N", help="records at a time (the net's own)")
    flags.add_run_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl predict``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net

    flags.apply_run_flags(args)
    if args.output and not args.output.endswith(".npz"):
        raise Error(f"{args.output}: outputs are written as .npz")
    names = read_names(args.labels) if args.labels else ()
    net = open_net(args, phase="TEST", keep="outputs", need_weights=True)
    if not net.inputs:
        raise Error(
            f"{args.model}: it has no Input layer to fill; predict needs a deploy prototxt, for a "
            "net that reads its own data there is pydl test"
        )
    shapes = {name: tuple(net.blobs[name].shape) for name in net.inputs}
    scaling = Scaling(args.raw_scale, read_mean(args.mean) if args.mean else None, args.scale)
    records = open_records(args.input, shapes, scaling, args.channels == "rgb")
    outputs = _predict(net, records, args.batch or next(iter(shapes.values()))[0])
    _report(outputs, records, names or records.class_names, args.top)
    if args.output:
        _save(Path(args.output), outputs, records.labels)
        print(f"{args.output}: {', '.join(f'{k} {v.shape}' for k, v in outputs.items())}")
    return 0


def _predict(net, records: Records, batch: int) -> dict[str, np.ndarray]:
    parts = [
        net.forward(**records.read(start, min(batch, records.count - start)))
        for start in range(0, records.count, batch)
    ]
    return {
        name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]
    }


def _report(
    outputs: dict[str, np.ndarray], records: Records, names: Sequence[str], top: int
) -> None:
    scores = _class_scores(outputs, records.count)
    if scores is None:
        for name, values in outputs.items():
            print(
                f"{name}: shape {values.shape}, {values.min():.6g} to {values.max():.6g}, mean "
                f"{values.mean():.6g}"
            )
        return
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    for line in _lines(scores, order, records, names):
        print(line)
    if records.labels is not None:
        _print_accuracy(order, records.labels)


def _class_scores(outputs: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    """(N, classes): the first output with several values for each record, and no places."""
    for values in outputs.values():
        if (
            len(values) == count
            and values.ndim > 1
            and values.size == count * values.shape[1] > count
        ):
            return values.reshape(count, -1)
    return None


def _lines(
    scores: np.ndarray, order: np.ndarray, records: Records, names: Sequence[str]
) -> Iterator[str]:
    def name(k: int) -> str:
        return names[k] if k < len(names) else str(k)

    for i, best in enumerate(order):
        ranking = "  ".join(f"{name(k)} {scores[i, k]:.4f}" for k in best)
        label = None if records.labels is None else int(records.labels[i])
        wrong = f"  (is {name(label)})" if label is not None and label != best[0] else ""
        yield f"{records.title(i)}: {ranking}{wrong}"


def _print_accuracy(order: np.ndarray, labels: np.ndarray) -> None:
    hits = order == labels[:, None]
    right, total = int(hits[:, 0].sum()), len(labels)
    more = f", top-{order.shape[1]} {hits.any(axis=1).mean():.4f}" if order.shape[1] > 1 else ""
    print(f"Accuracy: {right / total:.4f} ({right} of {total}){more}")


def _save(path: Path, outputs: dict[str, np.ndarray], labels: np.ndarray | None) -> None:
    from pydl.formats import atomic_write

    extra = {} if labels is None or "labels" in outputs else {"labels": labels}
    with atomic_write(path) as file:
        np.savez(file, **outputs, **extra)

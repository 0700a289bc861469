"""``pydl classify``: class scores of images, in the forms of Caffe's two programs for it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydl.cli import flags
from pydl.cli.records import read_mean
from pydl.errors import Error

_EPILOG = """examples:
  pydl classify -model_def deploy.prototxt -pretrained_model caffenet.caffemodel \\
      -mean_file ilsvrc_2012_mean.npy cat.jpg scores.npy
  pydl classify deploy.prototxt caffenet.caffemodel mean.binaryproto synset_words.txt cat.jpg

With two words, INPUT and OUTPUT, it works as classify.py does: INPUT is an image, a folder of them
or a .npy; their scores go to OUTPUT, means over ten crops unless -center_only. With five words it
works as the C++ classification does and prints the five best classes of one image.
"""
_BEST = 5


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``classify`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(subparsers, "classify", "Classifies images.", _EPILOG)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="INPUT OUTPUT, or NET WEIGHTS MEAN LABELS IMAGE")
    add_model_flags(parser)
    parser.add_switch("center_only", "the centre crop alone, not the mean over ten crops")
    add("--images_dim", default="256,256", metavar="H,W", help="images are resized so (256,256)")
    add("--ext", default="jpg", help="suffix of the images in a folder (jpg)")
    return parser


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that classify.py and detect.py share."""
    add = parser.add_argument
    add("--model_def", metavar="FILE", help="the net's deploy prototxt")
    add("--pretrained_model", metavar="FILE", help="its weights")
    add("--mean_file", default="", metavar="FILE", help="mean to subtract: .npy or .binaryproto")
    add("--input_scale", type=float, metavar="S", help="factor after the mean")
    add("--raw_scale", type=float, default=255.0, metavar="S", help="factor before the mean (255)")
    add("--channel_swap", default="2,1,0", metavar="C", help="order of the channels (2,1,0: BGR)")
    flags.add_python_flag(parser)
    flags.add_run_flags(parser)


def model_options(args: argparse.Namespace) -> dict:
    """What the flags say, as arguments of pycaffe's Classifier and Detector. Raises Error."""
    if not (args.model_def and args.pretrained_model):
        raise Error(
            "-model_def and -pretrained_model are needed: a deploy prototxt and its weights"
        )
    mean = read_mean(args.mean_file) if args.mean_file else None
    if mean is not None and mean.shape[1:] == (1, 1):
        mean = mean.ravel()  # one value per channel
    return {
        "mean": mean,
        "input_scale": args.input_scale,
        "raw_scale": args.raw_scale,
        "channel_swap": integers("channel_swap", args.channel_swap) if args.channel_swap else None,
        "allow_python": flags.allow_python(args),
    }


def integers(flag: str, text: str) -> list[int]:
    """Whole numbers with commas. Raises Error."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise Error(f'-{flag} "{text}": expected whole numbers with commas') from None


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl classify``; returns the exit status, raises pydl.Error for bad input."""
    flags.apply_run_flags(args)
    if len(args.files) == 5:
        _print_best(*args.files)
    elif len(args.files) == 2:
        _save_scores(args, *args.files)
    else:
        raise Error(
            f"classify: {len(args.files)} files; give INPUT OUTPUT, or NET WEIGHTS MEAN LABELS "
            "IMAGE; see pydl classify -help"
        )
    return 0


# ---- classify.py ----
def _save_scores(args: argparse.Namespace, source: str, output: str) -> None:
    from pydl import caffe
    from pydl.formats import atomic_write

    dims = integers("images_dim", args.images_dim)
    options = model_options(args)
    classifier = caffe.Classifier(args.model_def, args.pretrained_model, image_dims=dims, **options)
    inputs = _load_inputs(source, args.ext)
    print(f"Classifying {len(inputs)} inputs.")
    start = time.perf_counter()
    scores = classifier.predict(inputs, not args.center_only)
    print(f"Done in {time.perf_counter() - start:.2f} s.")
    print(f"Saving results into {output}")
    with atomic_write(output if output.endswith(".npy") else f"{output}.npy") as file:
        np.save(file, scores)


def _load_inputs(source: str, suffix: str) -> Sequence[np.ndarray]:
    from pydl import caffe

    if source.endswith(".npy"):
        print(f"Loading file: {source}")
        try:
            return np.load(source, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise Error(f"{source}: not a readable .npy file: {error}") from error
    if not Path(source).is_dir():
        print(f"Loading file: {source}")
        return [caffe.io.load_image(source)]
    print(f"Loading folder: {source}")
    files = sorted(Path(source).glob(f"*.{suffix}"))
    if not files:
        raise Error(f"{source}: no files with the suffix .{suffix}; see -ext")
    return [caffe.io.load_image(str(file)) for file in files]


# ---- the C++ classification ----
def _print_best(model: str, weights: str, mean: str, labels: str, image: str) -> None:
    from pydl.net import Net
    from pydl.tools.imageset import read_image

    net = Net(model, weights, keep="outputs")
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise Error(f"{model}: classify needs a net with one input and one output")
    name = net.inputs[0]
    _, channels, *size = net.blobs[name].shape
    planes = read_image(image, channels == 1, tuple(size)).astype(np.float32)
    average = read_mean(mean)
    average = average.mean(axis=(1, 2), keepdims=True)  # Caffe subtracts one value per channel
    if len(average) != channels:
        raise Error(f"{mean}: {len(average)} channels, the net's input has {channels}")
    scores = net.forward(**{name: (planes - average)[np.newaxis]})[net.outputs[0]].ravel()
    names = _read_labels(labels, len(scores))
    print(f"---------- Prediction for {image} ----------")
    for k in np.argsort(-scores, kind="stable")[:_BEST]:
        print(f'{scores[k]:.4f} - "{names[k]}"')


def _read_labels(path: str, classes: int) -> list[str]:
    names = read_lines(path)
    if len(names) != classes:
        raise Error(f"{path}: {len(names)} labels, but the net's output has {classes} classes")
    return names


def read_lines(path: str) -> list[str]:
    """The lines of a text file. Raises Error."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error

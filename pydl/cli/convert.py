"""``pydl convert``: a weight file in another format."""

from __future__ import annotations

import argparse

from pydl.cli import flags

_EPILOG = """examples:
  pydl convert caffenet.caffemodel caffenet.safetensors
  pydl convert lenet_iter_2000.caffemodel.h5 lenet_iter_2000.caffemodel

Weights only; pydl export writes the net with them.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``convert`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "convert", "Writes a weight file in another format.", _EPILOG
    )
    parser.set_defaults(run=run)
    kinds = ".caffemodel, .caffemodel.h5 or .safetensors"
    parser.add_argument("input", metavar="IN", help=f"weights: {kinds}, told by content")
    parser.add_argument("output", metavar="OUT", help=f"the file to write: {kinds}")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl convert``; returns the exit status, raises pydl.Error for bad input."""
    from pydl import formats

    weights = formats.load_weights(args.input)
    formats.save_weights(args.output, weights.name, weights.layers)
    blobs = [blob for layer in weights.layers for blob in layer.blobs if blob is not None]
    layers = len(weights.blobs())
    print(f"{args.output}: {layers} layers, {sum(blob.size for blob in blobs):,} parameters")
    return 0

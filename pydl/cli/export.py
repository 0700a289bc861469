"""``pydl export``: a net and its weights in another file format."""

from __future__ import annotations

import argparse

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """examples:
  pydl export lenet_deploy.prototxt lenet_iter_2000.caffemodel -o lenet.safetensors
  pydl export lenet_deploy.prototxt lenet_iter_2000.caffemodel -o lenet.onnx
  pydl export lenet.safetensors -o lenet.caffemodel

A .safetensors file holds the net and its weights: pydl.Net("lenet.safetensors") in Python,
pydl::Net::OpenBundle("lenet.safetensors") in C++. .caffemodel and .caffemodel.h5 hold the weights.
An .onnx file holds the net for other programs; tops of data layers are inputs of it. Its batch size
is free if the net is the same for all, and else, or with -batch, fixed.
"""
_SUFFIXES = (".safetensors", ".onnx", ".caffemodel", ".h5")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``export`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "export", "Writes a net and its weights in another file format.", _EPILOG
    )
    parser.set_defaults(run=run)
    flags.add_model(parser)
    parser.add_argument("more_weights", nargs="*", metavar="WEIGHTS", help="its weights")
    flags.add_net_flags(parser)
    flags.add_phase_flag(parser, "TEST")
    parser.add_argument("--batch", type=flags.positive, metavar="N", help="batch size of .onnx")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=f"one of {', '.join(_SUFFIXES)}"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl export``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net

    if not args.output.endswith(_SUFFIXES):
        raise Error(f"{args.output}: unknown suffix; export writes {', '.join(_SUFFIXES)}")
    if args.model:  # then every word without a flag is a weight file
        args.more_weights = [name for name in (args.model_file, *args.more_weights) if name]
        args.model_file = None
    args.model = flags.given_model(args, "export")
    args.weights = [*args.weights, *args.more_weights]
    net = open_net(args, phase=args.phase, need_weights=True)
    _save(net, args)
    count = sum(blob.count for blobs in net.params.values() for blob in blobs)
    print(f"{args.output}: {net.name or 'net'}, {count:,} parameters")
    return 0


def _save(net, args: argparse.Namespace) -> None:
    if not args.output.endswith(".onnx"):
        if args.batch:
            raise Error("export: -batch is for .onnx files")
        net.save(args.output)
        return
    from pydl import onnx

    onnx.save(net, args.output, args.batch)

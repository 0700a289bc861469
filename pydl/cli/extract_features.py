"""``pydl extract_features``: what a net computes for its data, to LMDBs."""

from __future__ import annotations

import argparse
import sys

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """example:
  pydl extract_features caffenet.caffemodel imagenet_val.prototxt fc7,prob \\
      fc7_lmdb,prob_lmdb 10 lmdb

The net reads its data itself (a Data layer). Each record of a blob becomes a Datum of floats.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``extract_features`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "extract_features", "Writes blobs of a net, for its data, to LMDBs.", _EPILOG
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("pretrained", metavar="WEIGHTS", help="the net's weights")
    add("net", metavar="NET", help="its prototxt")
    add("blobs", type=flags.split, metavar="BLOB[,B2]", help="the blobs to write")
    add("databases", type=flags.split, metavar="DB[,D2]", help="a new LMDB folder for each")
    add("batches", type=flags.positive, metavar="BATCHES", help="how many batches to run")
    add("backend", nargs="?", default="lmdb", metavar="TYPE", help="lmdb")
    add("mode", nargs="?", default="CPU", help="CPU")
    add("device", nargs="?", help=argparse.SUPPRESS)
    flags.add_net_flags(parser, weights=False)
    flags.add_run_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl extract_features``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net
    from pydl.reporting import log_to_stream
    from pydl.reporting.glog import LOGGER
    from pydl.tools.features import extract_features

    if args.mode.upper() == "GPU":
        args.gpu = args.device or "0"
    flags.apply_run_flags(args)
    flags.check_backend(args.backend)
    if len(args.blobs) != len(args.databases):
        raise Error(
            f"extract_features: {len(args.blobs)} blobs but {len(args.databases)} databases; give "
            "one database for each blob"
        )
    args.model, args.weights = args.net, flags.split(args.pretrained)
    with log_to_stream(sys.stderr):
        LOGGER.error("Using CPU")
        net = open_net(args, phase="TEST")
        extract_features(net, dict(zip(args.blobs, args.databases, strict=True)), args.batches)
    return 0

"""``pydl compute_image_mean``: the mean image of a data set."""

from __future__ import annotations

import argparse
import sys

from pydl.cli import flags

_EPILOG = """examples:
  pydl compute_image_mean train_lmdb mean.binaryproto
  pydl compute_image_mean mnist_sample/train
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``compute_image_mean`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "compute_image_mean", "Computes the mean image of a data set.", _EPILOG
    )
    parser.set_defaults(run=run)
    parser.add_argument("database", metavar="DB", help="an LMDB, or another source of a Data layer")
    parser.add_argument("output", nargs="?", metavar="FILE", help="the .binaryproto to write")
    flags.add_backend(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl compute_image_mean``; returns the exit status, raises pydl.Error."""
    from pydl.reporting import log_to_stream
    from pydl.tools.image_mean import compute_image_mean

    flags.check_backend(args.backend)
    with log_to_stream(sys.stderr):
        compute_image_mean(args.database, args.output)
    return 0

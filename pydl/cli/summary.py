"""``pydl summary``: a net's layers, shapes, parameters and FLOPs."""

from __future__ import annotations

import argparse

from pydl.cli import flags

_EPILOG = """examples:
  pydl summary examples/mnist/lenet_deploy.prototxt
  pydl summary train_val.prototxt -phase TRAIN -stage finetune
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``summary`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "summary", "Shows a net's layers, shapes, parameters and FLOPs.", _EPILOG
    )
    parser.set_defaults(run=run)
    flags.add_model(parser)
    flags.add_net_flags(parser)
    flags.add_phase_flag(parser, "TEST")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl summary``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net

    args.model = flags.given_model(args, "summary")
    print(open_net(args, phase=args.phase).summary())
    return 0

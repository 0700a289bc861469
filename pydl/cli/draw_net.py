"""``pydl draw_net``: a picture of a net."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydl.cli import flags

_EPILOG = """examples:
  pydl draw_net deploy.prototxt net.svg
  pydl draw_net train_val.prototxt net.png --rankdir TB --phase TRAIN --display_lrm
"""
_PHASES = ("ALL", "TRAIN", "TEST")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``draw_net`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(subparsers, "draw_net", "Draws a net.", _EPILOG)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("input_net_proto_file", metavar="NET", help="the net's prototxt")
    add("output_image_file", metavar="PICTURE", help="the file: .svg, .png, .pdf or .dot")
    add("--rankdir", default="LR", metavar="DIR", help="where it runs to: LR, RL, TB or BT (LR)")
    add("--phase", choices=_PHASES, default="ALL", help="the layers of this phase (ALL)")
    parser.add_switch("display_lrm", "show the learning-rate multipliers")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl draw_net``; returns the exit status, raises pydl.Error for bad input."""
    from pydl import drawing, prototxt

    net = prototxt.load_net(args.input_net_proto_file)
    print(f"Drawing net to {args.output_image_file}")
    drawing.save(
        net,
        Path(args.output_image_file),
        rankdir=args.rankdir,
        phase=None if args.phase == "ALL" else args.phase,
        lr_mult=args.display_lrm,
    )
    return 0

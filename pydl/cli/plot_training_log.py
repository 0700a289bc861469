"""``pydl plot_training_log``: a chart of one or several training logs."""

from __future__ import annotations

import argparse

from pydl.cli import flags

_EPILOG = """example:
  pydl plot_training_log 6 loss.png lenet.log lenet_adam.log

charts:
  0: Test accuracy vs. Iters         1: Test accuracy vs. Seconds
  2: Test loss vs. Iters             3: Test loss vs. Seconds
  4: Train learning rate vs. Iters   5: Train learning rate vs. Seconds
  6: Train loss vs. Iters            7: Train loss vs. Seconds
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``plot_training_log`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "plot_training_log", "Draws a chart of training logs.", _EPILOG
    )
    parser.set_defaults(run=run)
    parser.add_argument("chart", type=int, metavar="CHART", help="its number; see below")
    parser.add_argument("picture", metavar="PICTURE", help="the file to write: .png, .svg or .pdf")
    parser.add_argument("logs", nargs="+", metavar="LOG", help="Caffe's logs or pydl's")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl plot_training_log``; returns the exit status, raises pydl.Error."""
    from pydl.tools.caffe_log import plot_logs

    plot_logs(args.chart, args.picture, args.logs)
    print(args.picture)
    return 0

"""``pydl run``: runs a program written for pycaffe."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """example:
  pydl run train_net.py --weights caffenet.caffemodel --iters 1000

The program is run as `python SCRIPT ARGS` would, except that its `import caffe` gets pydl.caffe.
All that follows SCRIPT is the program's.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``run`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(subparsers, "run", "Runs a program written for pycaffe.", _EPILOG)
    parser.set_defaults(run=run)
    parser.add_argument("script", metavar="SCRIPT", help="the program")
    parser.add_argument(
        "args", nargs=argparse.REMAINDER, metavar="ARGS", help="its arguments and flags"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl run``; returns the program's exit status, raises pydl.Error without a program."""
    from pydl import caffe

    script = args.script
    if not Path(script).is_file():
        raise Error(f"{script}: no such program; give the path of a Python file")
    caffe.install()
    sys.argv = [script, *args.args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as done:
        return _status(done.code)
    except Exception as error:  # shown as Python would
        traceback.print_exception(error.with_traceback(_from(script, error.__traceback__)))
        return 1
    return 0


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0)
    print(code, file=sys.stderr)
    return 1


def _from(script: str, trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's own lines on."""
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    return trace

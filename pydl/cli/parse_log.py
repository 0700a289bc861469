"""``pydl parse_log``: the tables in a training log, as CSV."""

from __future__ import annotations

import argparse

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """example:
  pydl parse_log lenet.log .

writes lenet.log.train and lenet.log.test. Logs are Caffe's or those that pydl train leaves.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``parse_log`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "parse_log", "Writes the tables in a training log as CSV.", _EPILOG
    )
    parser.set_defaults(run=run)
    parser.add_argument("logfile_path", metavar="LOG", help="the log")
    parser.add_argument("output_dir", metavar="FOLDER", help="where LOG.train and LOG.test go")
    parser.add_argument("--delimiter", default=",", metavar="C", help="between columns (,)")
    parser.add_switch("verbose", "show the first and last row of each table")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl parse_log``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.tools.caffe_log import parse_log, save_tables

    if len(args.delimiter) != 1:
        raise Error(f'parse_log: -delimiter "{args.delimiter}": expected one character')
    tables = parse_log(args.logfile_path)
    paths = save_tables(tables, args.logfile_path, args.output_dir, args.delimiter)
    for path, rows in zip(paths, tables, strict=True):
        print(f"{path}: {len(rows)} rows")
        for row in (rows[:1] + rows[1:][-1:]) if args.verbose else []:
            print("  " + ", ".join(f"{name} = {value:g}" for name, value in row.items()))
    return 0

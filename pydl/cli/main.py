"""``pydl``: finds the sub-command, runs it, and turns what goes wrong into one clear message."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import pydl
from pydl.cli.flags import Parser, nearest_hint, normalise
from pydl.errors import Error

# Only the module of the command that is run gets imported.
COMMANDS = {
    "train": "train or fine-tune a net, or go on from a snapshot",
    "test": "score a net on its test data",
    "time": "time a net's layers",
    "run": "run a program written for pycaffe",
    "predict": "run a net on images, arrays or a data set",
    "segment": "draw the class of each pixel over an image",
    "summary": "show a net's layers, shapes, parameters and FLOPs",
    "data": "list, prepare and show data sets",
    "zoo": "list, show and write well-known nets",
    "convert_imageset": "write images and their labels to an LMDB",
    "convert_annoset": "write images and the boxes in them to an LMDB",
    "compute_image_mean": "compute the mean image of a data set",
    "extract_features": "write blobs of a net, for its data, to LMDBs",
    "classify": "classify images",
    "detect": "find objects in images, or score windows of them",
    "draw_net": "draw a net",
    "parse_log": "write the tables in a training log as CSV",
    "plot_training_log": "draw a chart of training logs",
    "device_query": "show the processor and what pydl uses of it",
    "export": "convert a net and its weights to another file format, such as ONNX",
    "convert": "convert a weight file to another format",
    "upgrade_net_proto_text": "bring a net's old prototxt up to date",
    "upgrade_net_proto_binary": "bring an old .caffemodel up to date",
    "upgrade_solver_proto_text": "bring a solver's old prototxt up to date",
}
_ALIASES = {"summarize": "summary"}  # names of Caffe's
# Commands that have no file of their own.
_MODULES = {name: "upgrade" for name in COMMANDS if name.startswith("upgrade_")}

_EPILOG = """\
examples:
  pydl train -solver examples/mnist/lenet_solver.prototxt
  pydl test -model lenet_train_test.prototxt -weights lenet_iter_2000.caffemodel -iterations 10
  pydl COMMAND -help

Flags are written -flag value, --flag value or --flag=value. PYDL_TRACEBACK=1 shows where an error
comes from.
"""
_INTERRUPTED, _BROKEN_PIPE = 130, 141  # as shells report SIGINT and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the ``pydl`` command; returns its exit status: 0, 1 for an error, 130 for Ctrl-C.

    >>> main(["--version"])
    pydl 0.1.0
    0
    """
    try:
        status = _run(normalise(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        _drop_output()
        return _BROKEN_PIPE
    except Exception as error:
        if hasattr(error, "python_layer"):  # the user's own code
            traceback.print_exc()
            return _fail(f"{error.python_layer} raised {type(error).__name__}: {error}", 1)
        return _fail(_text(error), 1)


def _run(argv: list[str]) -> int:
    try:
        return _dispatch(argv)
    except SystemExit as done:  # argparse after printing help
        return int(done.code or 0)


def _dispatch(argv: list[str]) -> int:
    if not argv:
        _parser().print_help()
        return 0
    command = argv[0].replace("-", "_") if not argv[0].startswith("-") else None
    if command is None:
        return _global_flags(argv)
    command = _ALIASES.get(command, command)
    if command not in COMMANDS:
        hint = nearest_hint(command, COMMANDS)
        raise Error(f'unknown command "{argv[0]}"{hint}; there are {", ".join(COMMANDS)}')
    parser = Parser(prog="pydl")
    module = import_module(f"pydl.cli.{_MODULES.get(command, command)}")
    module.add_parser(parser.add_subparsers(metavar="command"))
    args = parser.parse_args([command, *argv[1:]])
    return args.run(args)


def _global_flags(argv: list[str]) -> int:
    parser = _parser()
    flags = [*parser.flags(), "-h"]
    if argv[0] not in flags:
        raise Error(
            f"unknown flag {argv[0].partition('=')[0]}{nearest_hint(argv[0], flags)}; a command "
            f"comes first: {', '.join(COMMANDS)}"
        )
    args = parser.parse_args(argv)
    print(pydl.cmake_dir() if args.cmakedir else f"pydl {pydl.__version__}")
    return 0


def _parser() -> Parser:
    listing = "\n".join(f"  {name:<27}{text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="pydl",
        usage="pydl COMMAND [flags]",
        description=f"{pydl.__doc__.splitlines()[0]}\n\ncommands:\n{listing}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show the version")
    parser.add_argument(
        "--cmakedir",
        action="store_true",
        help="show the folder for find_package(pydl): cmake -Dpydl_DIR=$(pydl --cmakedir)",
    )
    return parser


def _text(error: Exception) -> str:
    if isinstance(error, Error):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}; try a smaller batch_size"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return (
        f"internal error: {type(error).__name__}: {error}; PYDL_TRACEBACK=1 shows where, "
        "please report it"
    )


def _fail(message: str, status: int) -> int:
    if os.environ.get("PYDL_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exc()
    _drop_output()
    try:
        print(f"pydl: error: {message}", file=sys.stderr, flush=True)
    except OSError:  # nobody is there to read it; the status tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return status


def _drop_output() -> None:
    """Flushes standard output; if it cannot be written, lets Python's exit pass over it too."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError):
            return

"""``pydl upgrade_*``: files of older Caffe versions in today's form."""

from __future__ import annotations

import argparse

from pydl.cli import flags

# command -> what it rewrites, an example of it, how Caffe's log names it, the function
_KINDS = {
    "upgrade_net_proto_text": (
        "a net's prototxt",
        "train_val.prototxt",
        "NetParameter text proto",
        "upgrade_net_text",
    ),
    "upgrade_net_proto_binary": (
        "a .caffemodel",
        "net.caffemodel",
        "NetParameter binary proto",
        "upgrade_net_binary",
    ),
    "upgrade_solver_proto_text": (
        "a solver's prototxt",
        "solver.prototxt",
        "SolverParameter text proto",
        "upgrade_solver_text",
    ),
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the three sub-commands; parsed arguments go to ``run``."""
    for name, (what, example, _, _) in _KINDS.items():
        epilog = f"example:\n  pydl {name} old_{example} {example}\n"
        parser = flags.add_command(
            subparsers, name, f"Rewrites {what} of any age in today's form.", epilog
        )
        parser.set_defaults(run=run, kind=name)
        parser.add_argument("input", metavar="IN", help="the file to read")
        parser.add_argument("output", metavar="OUT", help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Runs one of them; returns the exit status, raises pydl.Error for bad input."""
    from pydl.formats import upgrade

    _, _, what, function = _KINDS[args.kind]
    if not getattr(upgrade, function)(args.input, args.output):
        print(f"File already in latest proto format: {args.input}")
    print(f"Wrote upgraded {what} to {args.output}")
    return 0

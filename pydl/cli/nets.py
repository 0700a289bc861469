"""Opening the net that the flags of a command name."""

from __future__ import annotations

import argparse
import sys

from pydl import formats
from pydl.cli import flags
from pydl.errors import Error
from pydl.net import Net


def open_net(
    args: argparse.Namespace, *, phase: str, keep: str = "all", need_weights: bool = False
) -> Net:
    """The net of -model with -weights, -level and -stage. Raises Error as `pydl.Net`."""
    bundle = args.model.endswith(".safetensors")
    net = Net(
        args.model,
        args.weights,
        phase=phase,
        level=args.level,
        stages=args.stage,
        keep=keep,
        allow_python=flags.allow_python(args),
    )
    if need_weights and not args.weights and not bundle and net.params:
        raise Error(f"{args.model}: its weights are needed: -weights FILE")
    if args.weights and not bundle:
        _warn_of_missing(net, args.weights)
    return net


def _warn_of_missing(net: Net, weights: list[str]) -> None:
    """A layer that no file has keeps its random start; nobody who scores a net wants that."""
    found = {name for path in weights for name in formats.load_weights(path).blobs()}
    missing = [name for name in net.params if name not in found]
    if missing:
        print(
            f"pydl: warning: {', '.join(weights)}: nothing for layers {', '.join(missing)}; they "
            "keep their initial values",
            file=sys.stderr,
        )

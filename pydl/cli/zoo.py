"""``pydl zoo``: well-known nets, to look at and to write as prototxts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydl.cli import flags

_EPILOG = """examples:
  pydl zoo list
  pydl zoo show resnet50 -o resnet50.png
  pydl zoo write mobilenet_v2 -o deploy.prototxt
  pydl zoo write googlenet -train -batch 32 -classes 10 -o train.prototxt
  pydl predict -model deploy.prototxt -weights mobilenet_v2.caffemodel -input cat.jpg

"ResNet-50" and "resnet_50" name a net as well as "resnet50".
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``zoo`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "zoo", "Lists, shows and writes well-known nets.", _EPILOG
    )
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", metavar="{list,show,write}", required=True)
    flags.add_command(
        actions, "list", "Shows each net's input, size and paper.", "example:\n  pydl zoo list\n"
    )
    show = flags.add_command(
        actions,
        "show",
        "Shows a net's layers, shapes, parameters and FLOPs, and draws it.",
        "examples:\n  pydl zoo show vgg16\n  pydl zoo show inception_v4 -train -o net.png\n",
    )
    show.add_argument("-o", "--output", metavar="PICTURE", help="the picture (NAME.svg)")
    write = flags.add_command(
        actions,
        "write",
        "Writes a net as a prototxt.",
        "examples:\n  pydl zoo write vgg16 > deploy.prototxt\n"
        "  pydl zoo write vgg16 -train -batch 32 -classes 10 -o train.prototxt\n"
        "  pydl zoo write resnet50 -train -batch 32 -data train_lmdb,test_lmdb -o net.prototxt\n",
    )
    write.add_argument("-o", "--output", metavar="FILE", help="the file (standard output)")
    write.add_argument(
        "--data",
        type=flags.split,
        default=[],
        metavar="TRAIN[,TEST]",
        help="with -train: sources of images, for Data layers in the place of the inputs",
    )
    for action in (show, write):
        action.add_argument("name", help="one of those that `pydl zoo list` shows")
        action.add_argument("--batch", type=flags.positive, default=1, help="items in a pass (1)")
        action.add_argument("--classes", type=flags.positive, help="how many (as published)")
        action.add_switch("train", "with labels, losses and auxiliary classifiers")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl zoo``; returns the exit status, raises pydl.Error for bad input."""
    return {"list": _list, "show": _show, "write": _write}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from pydl import zoo

    print(f"{'name':<23}{'input':<13}{'parameters':>12}{'M mult-adds':>13}  paper")
    for name in zoo.names():
        net = zoo.entry(name)
        shape = "x".join(map(str, net.input))
        print(f"{name:<23}{shape:<13}{net.parameters:>12,}{net.macs / 1e6:>13,.1f}  {net.paper}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from pydl import Net, drawing

    message = _message(args)
    print(Net(message, phase="TRAIN" if args.train else "TEST").summary())
    picture = args.output or f"{_name(args)}.svg"
    drawing.save(message, picture)
    print(f"{picture}: the net's picture")
    return 0


def _write(args: argparse.Namespace) -> int:
    from pydl import prototxt
    from pydl.formats import atomic_write

    text = prototxt.dumps(_message(args))
    if args.output is None:
        sys.stdout.write(text)
        return 0
    with atomic_write(Path(args.output)) as file:
        file.write(text.encode())
    return 0


def _message(args: argparse.Namespace):
    from pydl import zoo

    return zoo.load(
        args.name,
        batch=args.batch,
        classes=args.classes,
        train=args.train,
        sources=getattr(args, "data", ()),
    )


def _name(args: argparse.Namespace) -> str:
    from pydl import zoo

    return zoo.entry(args.name).name

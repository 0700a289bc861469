"""``pydl convert_annoset``: images and the boxes around their objects to an LMDB."""

from __future__ import annotations

import argparse
import sys

from pydl.cli import flags
from pydl.cli.convert_imageset import add_image_flags, image_options

_EPILOG = """examples:
  pydl convert_annoset -label_map_file labelmap_voc.prototxt -encoded \\
      VOCdevkit/ test.txt test_lmdb
  pydl convert_annoset -label_type txt -resize_height 300 -resize_width 300 \\
      data/ train.txt train_lmdb

ROOT is put in front of each file name as it is. LIST has lines `image annotations`, two files.
Annotations are PASCAL VOC's XML; COCO's JSON, a file for each image; or text with a line
`label xmin ymin xmax ymax` for each box, in pixels.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``convert_annoset`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers,
        "convert_annoset",
        "Writes images and the boxes around their objects to an LMDB for AnnotatedData layers.",
        _EPILOG,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--label_type", default="xml", metavar="KIND", help="xml, json or txt (xml)")
    add("--label_map_file", metavar="FILE", help="numbers of the classes' names; XML needs it")
    add_image_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl convert_annoset``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.reporting import log_to_stream
    from pydl.tools.annoset import convert_annoset

    flags.check_backend(args.backend)
    with log_to_stream(sys.stderr):
        convert_annoset(
            args.root,
            args.list,
            args.database,
            image_options(args),
            label_type=args.label_type,
            label_map=args.label_map_file,
            shuffle=args.shuffle,
            seed=args.seed,
        )
    return 0

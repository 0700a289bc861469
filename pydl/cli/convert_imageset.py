"""``pydl convert_imageset``: image files and their labels to an LMDB."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pydl.cli import flags

if TYPE_CHECKING:
    from pydl.tools.imageset import ImageOptions

_EPILOG = """examples:
  pydl convert_imageset -resize_height 256 -resize_width 256 images/ train.txt train_lmdb
  pydl convert_imageset --encoded --encode_type=png --shuffle images/ train.txt train_lmdb

ROOT is put in front of each file name as it is. LIST has lines `file label`.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``convert_imageset`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "convert_imageset", "Writes images and their labels to an LMDB.", _EPILOG
    )
    parser.set_defaults(run=run)
    add_image_flags(parser)
    return parser


def add_image_flags(parser: flags.Parser) -> None:
    """The files of a conversion, and what becomes of its images."""
    add = parser.add_argument
    add("root", metavar="ROOT/", help="folder of the images")
    add("list", metavar="LIST", help="the images and what is known of each")
    add("database", metavar="DB", help="the folder to make")
    parser.add_switch("gray", "one channel in place of three")
    parser.add_switch("shuffle", "in random order")
    parser.add_switch("check_size", "all images must have the same size")
    parser.add_switch("encoded", "store image files in place of pixels")
    add("--encode_type", default="", metavar="KIND", help="their kind: png, jpg, ... (as they are)")
    add("--resize_height", type=flags.count, default=0, metavar="N", help="rows (as they are)")
    add("--resize_width", type=flags.count, default=0, metavar="N", help="columns (as they are)")
    add("--seed", type=int, metavar="N", help="of -shuffle (a new one each time)")
    flags.add_backend(parser)


def image_options(args: argparse.Namespace) -> ImageOptions:
    """What `add_image_flags` were given."""
    from pydl.tools.imageset import ImageOptions

    return ImageOptions(
        gray=args.gray,
        resize_height=args.resize_height,
        resize_width=args.resize_width,
        encoded=args.encoded,
        encode_type=args.encode_type,
        check_size=args.check_size,
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl convert_imageset``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.reporting import log_to_stream
    from pydl.tools.imageset import convert_imageset

    flags.check_backend(args.backend)
    with log_to_stream(sys.stderr):
        convert_imageset(
            args.root, args.list, args.database, image_options(args), args.shuffle, args.seed
        )
    return 0

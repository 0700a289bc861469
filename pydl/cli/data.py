"""``pydl data``: which sets there are, getting the standard ones, looking at one, and at what a net
sees of one."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from pydl.cli import flags

_EPILOG = """examples:
  pydl data list
  pydl data prepare fashion_mnist
  pydl data prepare mnist --from ~/downloads/mnist
  pydl data show mnist_sample/train -o sheet.png
  pydl data preview train_val.prototxt -o preview.png
  pydl data preview mnist_sample/train -transform "augment { rotation: 15 noise: 20 }"

Prepared sets live in $PYDL_DATA, or in pydl/data in the user's cache folder. A Data layer
uses them by name: data_param { source: "mnist/train" batch_size: 64 }
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``data`` sub-command; parsed arguments go to ``run``."""
    parser = subparsers.add_parser(
        "data",
        help="list, prepare and show data sets",
        description="Lists, prepares and shows data sets, and what a net sees of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    actions.add_parser("list", help="the built-in sets, and which of them are on this machine")
    _add_prepare(actions)
    _add_show(actions)
    _add_preview(actions)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl data``; returns the exit status, raises pydl.Error for bad input."""
    actions = {"list": _list, "prepare": _prepare, "show": _show, "preview": _preview}
    return actions[args.action](args)


def _add_prepare(actions: argparse._SubParsersAction) -> None:
    prepare = actions.add_parser(
        "prepare",
        help="download or unpack a standard set, and check it",
        description="Puts a standard set where Data layers find it by name, checked by MD5. It is "
        "taken from --from, else from --url, else from the system's folder for it, else from its "
        "usual addresses.",
    )
    prepare.add_argument("name", help="mnist or fashion_mnist")
    prepare.add_argument("--from", dest="source", metavar="DIR", help="folder with the IDX files")
    prepare.add_argument("--to", metavar="DIR", help="folder to prepare sets in ($PYDL_DATA)")
    prepare.add_argument("--url", help="address to download from, in place of the usual ones")


def _add_show(actions: argparse._SubParsersAction) -> None:
    show = actions.add_parser("show", help="draw the first images of a set with their labels")
    show.add_argument("source", help="a built-in set, an IDX or .npz file, an LMDB or LevelDB")
    show.add_argument("-o", "--output", default="sheet.png", help="picture file (sheet.png)")
    show.add_argument("--count", type=int, default=50, help="how many images (50)")


def _add_preview(actions: argparse._SubParsersAction) -> None:
    show = actions.add_parser(
        "preview",
        help="draw what a net sees of its data in training: originals, and varied at random",
        description="Draws a sheet: in its first row pictures as they are, below them the same "
        "pictures as the net sees them in training, varied at random anew in each row.",
    )
    show.add_argument("model", help="a net's .prototxt; or a source, as for pydl data show")
    show.add_argument("-o", "--output", default="preview.png", help="picture file (preview.png)")
    show.add_argument("--count", type=int, default=8, help="how many pictures (8)")
    show.add_argument("--rows", type=int, default=5, help="how often each is varied (5)")
    show.add_argument(
        "--transform",
        metavar="FIELDS",
        help="a transform_param to try in the place of the net's; needed for a source",
    )
    flags.add_net_flags(show, weights=False, python=False)


def _list(args: argparse.Namespace) -> int:
    from pydl.data import list_sets

    print(f"{'name':<21}{'images':>7}  {'shape':<11}where")
    for info in list_sets():
        shape = "x".join(map(str, info.shape))
        where = info.where or f"not here: pydl data prepare {info.name.split('/')[0]}"
        print(f"{info.name:<21}{info.images:>7}  {shape:<11}{where}")
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from pydl.data import prepare
    from pydl.data.standard import data_home

    folder = prepare(
        args.name, source=args.source, to=args.to, url=args.url, progress=_progress_bar()
    )
    print(f"{args.name} is ready in {folder}")
    if folder.parent.resolve() != data_home().resolve():
        print(f"to use it by name, set PYDL_DATA={folder.parent}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from pydl.data import open_source
    from pydl.data.sheet import save_sheet

    dataset = open_source(args.source)
    save_sheet(dataset, Path(args.output), count=args.count)
    shown = min(args.count, len(dataset))
    print(f"{args.output}: the first {shown} of {len(dataset)} images of {dataset.name}")
    return 0


def _preview(args: argparse.Namespace) -> int:
    from pydl.data.preview import preview
    from pydl.data.sheet import save_rows

    seen = preview(
        args.model,
        transform=args.transform,
        count=args.count,
        rows=args.rows,
        level=args.level,
        stages=args.stage,
    )
    titles = [] if seen.labels is None else [f"{label:g}" for label in seen.labels]
    save_rows([seen.originals, *seen.samples], args.output, titles=titles, name=args.model)
    print(
        f"{args.output}: {args.count} pictures of layer {seen.layer}, and below each {args.rows} "
        "of what the net sees of it in training"
    )
    return 0


def _progress_bar():
    """A ``progress(file, done, total)`` that draws on a terminal, and None elsewhere."""
    if not sys.stderr.isatty():
        return None

    def draw(file: str, done: int, total: int) -> None:
        width = max(10, min(40, shutil.get_terminal_size().columns - 50))
        filled = width * done // total
        bar = "#" * filled + "." * (width - filled)
        sys.stderr.write(f"\r{file:<24} [{bar}] {done / 1e6:6.2f}/{total / 1e6:.2f} MB")
        sys.stderr.write("\n" if done == total else "")
        sys.stderr.flush()

    return draw

"""The standard sets: MNIST and Fashion-MNIST, where they lie and how they get there.

A set is four IDX files in one folder. ``prepare`` puts them, unpacked so that they can be mapped,
under ``data_home()``; a file is right when the MD5 of what it holds unpacked is right, whoever
packed it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydl.data.dataset import ArrayDataset
from pydl.data.idx import find_file, open_idx
from pydl.errors import Error

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class StandardSet:
    """A set of four IDX files; ``md5`` maps the name of each to the checksum of its content."""

    name: str
    class_names: tuple[str, ...]
    md5: dict[str, str]
    urls: tuple[str, ...]
    system_folders: tuple[str, ...] = ()
    package_hint: str = ""


COUNTS = {"train": 60000, "test": 10000}
SHAPE = (1, 28, 28)
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_FILE_SIZES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}

SETS = {
    "mnist": StandardSet(
        name="mnist",
        class_names=tuple("0123456789"),
        md5={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion_mnist": StandardSet(
        name="fashion_mnist",
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        md5={
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        system_folders=("/usr/share/datasets/fashion-mnist",),
        package_hint="apt install dataset-fashion-mnist",
    ),
}


def data_home() -> Path:
    """Where prepared sets live: ``$PYDL_DATA``, else ``pydl/data`` in the user's cache folder."""
    if home := os.environ.get("PYDL_DATA"):
        return Path(home).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pydl" / "data"


def locate(name: str) -> Path | None:
    """The first folder that has all four files of a set: the prepared one, then the system's."""
    return next((folder for folder in _folders(SETS[name]) if _is_complete(folder)), None)


def open_standard(name: str, part: str) -> ArrayDataset:
    """A standard set's "train" or "test" part; Error, with what to do, if it is not here."""
    chosen = SETS[name]
    folder = locate(name)
    if folder is None:
        raise Error(_missing_message(chosen))
    images, labels = (find_file(folder / file) for file in _FILES[part])
    dataset = open_idx(images, labels, name=f"{name}/{part}")
    dataset.class_names = chosen.class_names
    return dataset


def prepare(
    name: str,
    *,
    source: str | Path | None = None,
    to: str | Path | None = None,
    url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Puts the four files of a standard set, checked and unpacked, where they are found by name.

    They come from the folder ``source`` if given, else from ``url`` if given, else from the
    system's folder for the set if there, else from the usual addresses. Files that are already
    right are left alone.

    Args:
        name: "mnist" or "fashion_mnist".
        source: a folder with the four IDX files, gzipped or not.
        to: the folder to use in place of ``data_home()``; the set gets a folder of its own in it.
        url: an address to download from in place of the usual ones.
        progress: called as ``progress(file, bytes_done, bytes_in_all)``.

    Returns:
        The set's folder.

    Raises:
        Error: a file is missing, damaged or not the published one, or no address answers; no file
            that was right before is changed.

    >>> import pydl.data
    >>> pydl.data.prepare("fashion_mnist", source="downloads/fashion")  # doctest: +SKIP
    PosixPath('/home/me/.cache/pydl/data/fashion_mnist')
    """
    if name not in SETS:
        raise Error(f'no standard set "{name}"; there are {", ".join(SETS)}')
    from pydl.data import install

    chosen = SETS[name]
    folder = (Path(to).expanduser() if to else data_home()) / name
    origins = _origins(chosen, source, url)
    for file, md5 in chosen.md5.items():
        expected = install.Content(_FILE_SIZES[file], md5)
        report = (lambda done, total, file=file: progress(file, done, total)) if progress else None
        if install.is_installed(folder / file, expected):
            continue
        try:
            install.from_first(origins, folder / file, expected, report)
        except Error as error:
            raise Error(f"{error}\n{_other_ways(chosen, source)}") from error
    return folder


def _other_ways(chosen: StandardSet, source: str | Path | None) -> str:
    way = "" if source else " --from DIR"
    what = "without --from it is downloaded" if source else "takes the four IDX files from DIR"
    return f"pydl data prepare {chosen.name}{way}: {what}"


def _origins(chosen: StandardSet, source: str | Path | None, url: str | None) -> list[str | Path]:
    if source is not None:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise Error(f"{folder}: no such folder")
        return [folder]
    if url is not None:
        return [url]
    system = [Path(f) for f in chosen.system_folders if _is_complete(Path(f))]
    return [*system, *chosen.urls]


def _folders(chosen: StandardSet) -> list[Path]:
    return [data_home() / chosen.name, *map(Path, chosen.system_folders)]


def _is_complete(folder: Path) -> bool:
    return all(find_file(folder / file) for file in _FILE_SIZES)


def _missing_message(chosen: StandardSet) -> str:
    looked = " and ".join(map(str, _folders(chosen)))
    ways = [
        f"pydl data prepare {chosen.name}    (downloads it)",
        f"pydl data prepare {chosen.name} --from DIR    (the four IDX files are in DIR)",
    ]
    if chosen.package_hint:
        ways.append(f"{chosen.package_hint}    (on Debian and Ubuntu)")
    return f"{chosen.name} is not on this machine (looked in {looked}); get it with one of\n" + (
        "\n".join(f"  {way}" for way in ways)
    )

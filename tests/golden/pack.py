"""Takes from a full folder of golden data the part that the tests here replay.

    python tests/golden/pack.py FOLDER

writes all folders beside this file but ``formats/``; README.md says what they hold.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

COPIED = ("layers_derived", "net_spec", "nets", "nets_full", "proto", "solvers_long", "tools", "v1")
KEPT = ("type", "case", "phase", "nfwd", "loss", "forward_only")


def pack_layers(source: Path, target: Path) -> None:
    """One ``arrays.npz`` per type, its arrays named ``<case>/<key>``, and each case's prototxt."""
    entries = json.loads((source / "index.json").read_text())
    for name in sorted({e["type"] for e in entries}):
        folder, arrays = target / name, {}
        folder.mkdir(parents=True)
        for case in (e["case"] for e in entries if e["type"] == name):
            with np.load(source / name / f"{case}.npz") as data:
                arrays |= {f"{case}/{key}": data[key] for key in data.files}
            for path in (source / name).glob(f"{case}.*"):
                if path.is_dir():
                    shutil.copytree(path, folder / path.name, ignore=lambda *_: ["lock.mdb"])
                elif path.suffix != ".npz":
                    shutil.copyfile(path, folder / path.name)
        np.savez_compressed(folder / "arrays.npz", **arrays)
    lines = [json.dumps({key: e[key] for key in KEPT}) for e in entries]
    (target / "index.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def pack_solvers(source: Path, target: Path) -> None:
    for folder in sorted(source.iterdir()):
        (target / folder.name).mkdir(parents=True)
        for path in folder.iterdir():
            if not path.name.startswith("snap_iter_8") and path.name != "data.npz":
                shutil.copyfile(path, target / folder.name / path.name)
        with np.load(folder / "data.npz") as data:
            np.savez_compressed(target / folder.name / "data.npz", **data)


def pack_rejects(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    verdicts = json.loads((source / "index.json").read_text())
    kept = {n: {key: v.get(key) for key in ("accepted", "stage")} for n, v in verdicts.items()}
    for name in verdicts:
        shutil.copyfile(source / f"{name}.prototxt", target / f"{name}.prototxt")
    (target / "index.json").write_text(json.dumps(kept, indent=1) + "\n")


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=lambda *_: ["lock.mdb"], copy_function=shutil.copyfile)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    source, target = parser.parse_args().folder, Path(__file__).parent
    for name, pack in (
        ("layers", pack_layers),
        ("solvers", pack_solvers),
        ("rejects", pack_rejects),
        *((name, copy) for name in COPIED),
    ):
        shutil.rmtree(target / name, ignore_errors=True)
        pack(source / name, target / name)
    shutil.copyfile(source / "stats.json", target / "stats.json")


if __name__ == "__main__":
    main()

"""Takes from a full folder of golden data the part that the tests here replay.

    python tests/golden/pack.py FOLDER

writes ``layers/``, ``solvers/`` and ``rejects/`` beside this file; README.md says what they hold.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np

TYPES = (
    *("Accuracy", "BatchNorm", "Bias", "Concat", "Convolution", "Data", "Dropout", "DummyData"),
    *("ELU", "Eltwise", "Embed", "Flatten", "InnerProduct", "Input", "LRN", "LSTM"),
    *("MemoryData", "PReLU", "Pooling", "ReLU", "Reshape", "Scale", "Sigmoid", "Silence"),
    *("Softmax", "SoftmaxWithLoss", "Split", "TanH"),
)
# Solver cases that need other layers, and Data cases that need LevelDB.
LEFT_OUT = {"sgd_euclid", "leveldb_mnist"}
KEPT = ("type", "case", "phase", "nfwd", "loss", "forward_only")


def pack_layers(source: Path, target: Path) -> None:
    """One ``arrays.npz`` per type, its arrays named ``<case>/<key>``, and each case's prototxt."""
    entries = json.loads((source / "index.json").read_text())
    entries = [e for e in entries if e["type"] in TYPES and e["case"] not in LEFT_OUT]
    for name in TYPES:
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
    for folder in sorted(source.glob("sgd_*")):
        if folder.name in LEFT_OUT:
            continue
        (target / folder.name).mkdir(parents=True)
        for path in folder.iterdir():
            if not path.name.startswith("snap_iter_8") and path.name != "data.npz":
                shutil.copyfile(path, target / folder.name / path.name)
        with np.load(folder / "data.npz") as data:
            np.savez_compressed(target / folder.name / "data.npz", **data)


def pack_rejects(source: Path, target: Path) -> None:
    """The nets that use only these layers (and the one with a type that no net can have)."""
    target.mkdir(parents=True)
    verdicts = json.loads((source / "index.json").read_text())
    kept = {}
    for name, verdict in verdicts.items():
        path = source / f"{name}.prototxt"
        used = set(re.findall(r'\btype:\s*"(\w+)"', path.read_text()))
        if used <= {*TYPES, "Nonsense"}:
            kept[name] = {key: verdict.get(key) for key in ("accepted", "stage")}
            shutil.copyfile(path, target / path.name)
    (target / "index.json").write_text(json.dumps(kept, indent=1) + "\n")


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
    ):
        shutil.rmtree(target / name, ignore_errors=True)
        pack(source / name, target / name)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes docs/zoo.md from the zoo's table; --check only says whether it is current."""

import argparse
import sys
from itertools import groupby
from pathlib import Path

from pydl import zoo

PAGE = Path(__file__).parent.parent / "docs" / "zoo.md"
HEAD = """# The zoo

Well-known nets, each made by short Python in `pydl/zoo`:

```bash
pydl zoo list
pydl zoo show resnet50 -o resnet50.png          # layers, shapes, parameters, FLOPs; a picture
pydl zoo write resnet50 -o deploy.prototxt
pydl zoo write googlenet -train -batch 32 -classes 10 -o train.prototxt
```

```python
net = pydl.Net(pydl.zoo.load("resnet50"), "ResNet-50-model.caffemodel")
train = pydl.zoo.load("resnet50", batch=32, classes=10, train=True)
```

Layers are named as in the best-known prototxt of each net, so that published weights load by name;
where those have a shape of their own, there is a net `..._released`. With another number of
classes, the layers that depend on it get another name, and published weights load without them: the
start of a fine-tuning run. The training form (`-train`) has the labels as inputs, losses,
accuracies and auxiliary classifiers.

Parameters are those that learn: without BatchNorm's running statistics and YOLO's anchors.
Multiply-adds are those of convolutions and fully connected layers for one item (papers often call
them FLOPs; they are half the floating-point operations). Both are counted on the nets, and by a
test. "Published" is what the paper or the best-known implementation says. Written by
`tools/make_zoo_docs.py` from `pydl/zoo/table.py`.

"""


def shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def row(net: zoo.Entry) -> str:
    outputs = ", ".join(f"`{blob}` {shape_text(shape)}" for blob, shape in net.outputs.items())
    cells = (
        f"`{net.name}`",
        net.title,
        shape_text(net.input),
        outputs,
        f"{net.parameters:,}",
        f"{net.macs / 1e6:,.1f} M",
        net.published,
        net.paper,
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    lines = []
    entries = [zoo.entry(name) for name in zoo.names()]
    for task, nets in groupby(entries, key=lambda net: net.task):
        lines += [
            f"## {task}",
            "",
            "| name | net | input | output | parameters | multiply-adds | published | paper |",
            "|---|---|---|---|--:|--:|---|---|",
            *(row(net) for net in nets),
            "",
        ]
    return HEAD + "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = page()
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_text() == text
        print("docs/zoo.md is current" if current else "docs/zoo.md is not current: run me")
        return 0 if current else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Reading the weights of a VGG-16, from the page cache."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nets import FOLDER

import pydl

TIMES = 5


def rows() -> Iterator[dict[str, Any]]:
    net = pydl.Net(FOLDER / "vgg16.prototxt", keep="outputs")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".caffemodel", ".safetensors"):
            file = Path(folder) / f"vgg16{suffix}"
            net.save(file)
            yield {
                "case": f"load {suffix}",
                "seconds": min(_load(net, file) for _ in range(TIMES)),
                "bytes": file.stat().st_size,
            }


def _load(net: pydl.Net, file: Path) -> float:
    start = time.perf_counter()
    net.load(file)
    return time.perf_counter() - start

"""What pydl wants to reach, beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peak import Peak
from results import Results
from table import Row

Rows = Iterable[Mapping[str, Any]]

# A net's big batch is what trains and serves; batch 1 is judged apart.
TRAIN_F32 = {
    "vgg16": 2.8, "alexnet": 2.8, "googlenet": 2.8, "resnet50": 2, "lenet": 2, "lstm": 1.3,
    "transformer": 1.3,
}  # fmt: skip
LATER = ("transformer",)  # not in the means
SERVED = ("mobilenet_v1", "mobilenet_v2", "ssd300")  # each has a goal of its own
CONVOLUTIONAL = ("alexnet", "vgg16", "googlenet", "resnet50")
BANDWIDTH_PERCENT = 85
MEMORY_RATIO = 0.6
SPEEDUP_OF_2 = 1.85
GEMM_RATIO = 0.97


@dataclass(frozen=True)
class Goal:
    """`measured` is None where the measurement is missing."""

    text: str
    measured: float | None
    limit: float
    at_most: bool = False
    unit: str = "x"

    def text_of(self, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.0f} %" if self.unit == "%" else f"{value:.2f}{self.unit}"

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


def goals(results: Results) -> list[Goal]:
    nets = results.table("nets")
    return [
        *_train_f32(ratios(nets, "training step f32", "torch")),
        *_train_bf16(ratios(nets, "training step bf16", "torch")),
        *_inference(nets, "f32", 1.4),
        Goal("inference f32, VGG-16", ratios(nets, "inference f32", SERVING).get("vgg16"), 2),
        *_inference(nets, "bf16", 1.3),
        *_others(results),
    ]


SERVING = ("onnxruntime", "openvino")


def ratios(
    rows: Rows, kind: str, peers: str | tuple[str, ...], batch_1: bool = False
) -> dict[str, float]:
    """By net, the time of the fastest side whose name starts like that, over pydl's."""
    found = {}
    for row in rows:
        theirs = [ms for side, ms in row["ms"].items() if side.startswith(peers)]
        if (
            row["kind"] == kind
            and (row["batch"] == 1) == batch_1
            and "pydl" in row["ms"]
            and theirs
        ):
            found[row["net"]] = min(theirs) / row["ms"]["pydl"]
    return found


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of nothing.

    >>> geometric_mean([1, 4])
    2.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _mean(found: dict[str, float]) -> float | None:
    """Of the nets that the goals were set for."""
    return geometric_mean(value for net, value in found.items() if net not in LATER)


def _train_f32(found: dict[str, float]) -> Iterator[Goal]:
    what = "training step f32"
    yield Goal(f"{what}, geometric mean of the nets", _mean(found), 2.5)
    for net, limit in TRAIN_F32.items():
        yield Goal(f"{what}, {net}", found.get(net), limit)


def _train_bf16(found: dict[str, float]) -> Iterator[Goal]:
    what = "training step bf16"
    images = [found[net] for net in CONVOLUTIONAL if net in found]
    yield Goal(f"{what}, geometric mean of {', '.join(CONVOLUTIONAL)}", geometric_mean(images), 5)
    yield Goal(f"{what}, lstm", found.get("lstm"), 1.8)


def _inference(rows: Rows, precision: str, mean: float) -> Iterator[Goal]:
    kind = f"inference {precision}"
    found = ratios(rows, kind, SERVING)
    ones = ratios(rows, kind, SERVING, batch_1=True)
    served = {net: found.pop(net, None) for net in SERVED}
    for net in SERVED:
        ones.pop(net, None)
    yield Goal(f"{kind}, geometric mean of the nets", _mean(found), mean)
    yield _worst(f"{kind}, the net that does worst", found, 1)
    for net, ratio in served.items():
        yield Goal(f"{kind}, {net}", ratio, 1)
    if precision == "f32":
        yield _worst(f"{kind} of one, the net that does worst", ones, 1)


def _others(results: Results) -> Iterator[Goal]:
    squares = {
        row["case"]: row["ms"]["torch"] / row["ms"]["pydl"]
        for row in results.table("gemm")
        if not row["case"].startswith("ip") and "torch" in row["ms"]
    }
    yield _worst("GEMM against MKL, the size that does worst", squares, GEMM_RATIO)
    moves = {
        row["case"]: Row.from_plain(row).percent(Peak(**results.machine["peak"]))
        for row in results.table("bandwidth")
    }
    yield _worst("share of the memory's bandwidth, the worst", moves, BANDWIDTH_PERCENT, "%")
    for row in results.table("memory"):
        text = f"peak memory of a training step against PyTorch, {row['case']}"
        yield Goal(text, row["ratio"], MEMORY_RATIO, at_most=True)
    speedups = {
        row["case"]: row["speedup"] for row in results.table("scaling") if row["net"] != "lenet"
    }
    yield _worst("2 threads against 1, the net but LeNet that does worst", speedups, SPEEDUP_OF_2)


def _worst(text: str, found: Mapping[str, float], limit: float, unit: str = "x") -> Goal:
    if not found:
        return Goal(text, None, limit, unit=unit)
    name = min(found, key=found.__getitem__)
    return Goal(f"{text} ({name})", found[name], limit, unit=unit)

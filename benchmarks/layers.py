"""Single layers, as they run inside a net: forward, and forward with backward.

Each layer stands between two that change nothing (for images 1x1 poolings, which keep the blobs in
the layout that a net would choose); only the layer itself is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import peers
from gemm import check_close
from peers import torch
from table import Row, progress
from timing import best

import pydl

TITLE = "Layers (batch x shape)"


@dataclass(frozen=True)
class Case:
    name: str
    shape: tuple[int, ...]  # of the input, batch first
    layer: str  # type and parameters in prototxt
    first: bool = False  # of a net: no gradient for its input


def conv(*, out: int, kernel: int, stride: int = 1, pad: int = 0, group: int = 1) -> str:
    return (
        f'type: "Convolution" convolution_param {{ num_output: {out} kernel_size: {kernel} '
        f"stride: {stride} pad: {pad} group: {group} "
        f'weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 0.1 }} }}'
    )


def inner_product(out: int) -> str:
    return (
        f'type: "InnerProduct" inner_product_param {{ num_output: {out} '
        'weight_filler { type: "xavier" } }'
    )


def pool(kind: str, kernel: int, stride: int) -> str:
    return (
        f'type: "Pooling" pooling_param {{ pool: {kind} kernel_size: {kernel} stride: {stride} }}'
    )


IDENTITY = 'type: "ReLU" relu_param { negative_slope: 1 }'
LRN = 'type: "LRN" lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }'
CASES = (
    Case("LeNet conv1 5x5", (64, 1, 28, 28), conv(out=20, kernel=5), first=True),
    Case("LeNet conv2 5x5", (64, 20, 12, 12), conv(out=50, kernel=5)),
    Case("LeNet pool1 max 2x2/2", (64, 20, 24, 24), pool("MAX", 2, 2)),
    Case("LeNet ip1", (64, 800), inner_product(500)),
    Case("softmax 10", (64, 10), 'type: "Softmax"'),
    Case("AlexNet conv1 11x11/4", (32, 3, 227, 227), conv(out=96, kernel=11, stride=4), first=True),
    Case("AlexNet conv2 5x5 g2", (32, 96, 27, 27), conv(out=256, kernel=5, pad=2, group=2)),
    Case("AlexNet conv3 3x3", (32, 256, 13, 13), conv(out=384, kernel=3, pad=1)),
    Case("AlexNet conv4 3x3 g2", (32, 384, 13, 13), conv(out=384, kernel=3, pad=1, group=2)),
    Case("AlexNet conv5 3x3 g2", (32, 384, 13, 13), conv(out=256, kernel=3, pad=1, group=2)),
    Case("AlexNet relu1", (32, 96, 55, 55), 'type: "ReLU"'),
    Case("AlexNet norm1 LRN 5", (32, 96, 55, 55), LRN),
    Case("AlexNet pool1 max 3x3/2", (32, 96, 55, 55), pool("MAX", 3, 2)),
    Case("AlexNet ip6", (32, 9216), inner_product(4096)),
    Case("softmax 1000", (32, 1000), 'type: "Softmax"'),
    Case("ResNet 3x3 64 @56", (8, 64, 56, 56), conv(out=64, kernel=3, pad=1)),
    Case("ResNet 1x1 256-64 @56", (8, 256, 56, 56), conv(out=64, kernel=1)),
    Case("ResNet 3x3 512 @7", (8, 512, 7, 7), conv(out=512, kernel=3, pad=1)),
    Case("ResNet BatchNorm 256 @56", (8, 256, 56, 56), 'type: "BatchNorm"'),
    Case("ResNet average 7x7", (8, 2048, 7, 7), pool("AVE", 7, 1)),
)
QUICK = ("LeNet conv2 5x5", "LeNet pool1 max 2x2/2", "ResNet 3x3 512 @7")


def sides() -> list[str]:
    return ["pydl", *peers.variants((1, 1, 1, 1))]


def rows(quick: bool) -> Iterator[Row]:
    for case in CASES:
        if quick and case.name not in QUICK:
            continue
        progress(case.name)
        if torch:
            verify(case)
        ours, theirs = Ours(case), Theirs.all(case)
        size = "x".join(map(str, case.shape))
        for backward in (False, True):
            calls = {"pydl": ours.call(backward)}
            calls |= {name: side.call(backward) for name, side in theirs.items()}
            passes = (2 if case.first else 3) if backward else 1
            yield Row(
                f"{case.name}, {'f+b' if backward else size}",
                best(calls),
                flops=ours.flops * passes,
                bytes=4.0 * (ours.bottom_count + ours.top_count) * (1 + backward),
                note=ours.implementation if not backward else "",
            )


# ---- pydl ----
def net_of(case: Case, source: str) -> pydl.Net:
    """x -> same -> layer -> same, where a layer of type `source` makes x."""
    shape = " ".join(f"dim: {d}" for d in case.shape)
    filler = 'data_filler { type: "gaussian" }' if source == "DummyData" else ""
    param = "dummy_data_param" if source == "DummyData" else "input_param"
    keep = pool("AVE", 1, 1) if len(case.shape) == 4 else IDENTITY
    down = "false" if case.first else "true"
    text = f"""
        name: "{case.name}"
        layer {{ name: "x" type: "{source}" top: "x"
                 {param} {{ shape {{ {shape} }} {filler} }} }}
        layer {{ name: "before" bottom: "x" top: "before" {keep} }}
        layer {{ name: "layer" bottom: "before" top: "y" propagate_down: {down} {case.layer} }}
        layer {{ name: "after" bottom: "y" top: "z" loss_weight: 1 propagate_down: true {keep} }}
    """
    return pydl.Net(pydl.prototxt.parse(text), phase="TRAIN")


class Ours:
    """The layer in pydl, its blobs filled and in place."""

    LAYER, AFTER = 2, 3

    def __init__(self, case: Case) -> None:
        self.core = net_of(case, "DummyData")._core
        self.core.forward()
        z = self.core.blob("z")
        z.diff[...] = np.random.default_rng(1).standard_normal(z.shape, np.float32)
        self.core.backward(self.AFTER, self.AFTER)
        row = self.core.layer_rows()[self.LAYER]
        self.flops, self.implementation = row["flops"], row["implementation"]
        self.bottom_count = self.core.blob("before").count
        self.top_count = self.core.blob("y").count

    def call(self, backward: bool) -> Callable[[], object]:
        return self.forward_backward if backward else self.forward

    def forward(self) -> None:
        self.core.forward(self.LAYER, self.LAYER)

    def forward_backward(self) -> None:
        self.core.clear_param_diffs()
        self.core.forward(self.LAYER, self.LAYER)
        self.core.backward(self.LAYER, self.LAYER)


# ---- PyTorch ----
class Theirs:
    """The layer in PyTorch, its tensors filled and in `memory_format`."""

    def __init__(self, case: Case, memory_format: object) -> None:
        net = net_of(case, "Input")
        layers = [layer for layer in net._core.spec["layers"] if layer["name"] == "layer"]
        self.model = peers.build(layers, case.shape).to(memory_format=memory_format)
        peers.copy_weights(net, self.model)
        self.x = torch.randn(case.shape).to(memory_format=memory_format)
        self.x.requires_grad_(not case.first)
        with torch.no_grad():
            self.dy = torch.randn_like(self.model(self.x))

    @classmethod
    def all(cls, case: Case) -> dict[str, Theirs]:
        return {name: cls(case, form) for name, form in peers.variants(case.shape).items()}

    def call(self, backward: bool) -> Callable[[], object]:
        return self.forward_backward if backward else self.forward

    def forward(self) -> None:
        with torch.inference_mode():
            self.model(self.x)

    def forward_backward(self) -> None:
        self.model.zero_grad(set_to_none=True)
        self.x.grad = None
        self.model(self.x).backward(self.dy)


def verify(case: Case) -> None:
    """The same input and gradient through both sides."""
    net = net_of(case, "Input")
    theirs = Theirs(case, torch.contiguous_format)
    peers.copy_weights(net, theirs.model)
    net.blobs["x"].data[...] = theirs.x.detach().numpy()
    net._core.forward()
    y = theirs.model(theirs.x)
    check_close(f"{case.name}, y", net.blobs["y"].data, y.detach().numpy())
    if case.first and not net.params:
        return
    net.blobs["z"].diff[...] = theirs.dy.numpy()
    net._core.backward()
    theirs.forward_backward()
    if not case.first:
        dx = theirs.x.grad.numpy()
        check_close(f"{case.name}, dx", net.blobs["before"].diff, dx)
    for blob, target in zip(net.params.get("layer", []), theirs.model.parameters(), strict=False):
        check_close(f"{case.name}, dw", blob.diff, target.grad.numpy())

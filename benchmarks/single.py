"""One layer by itself, in pydl and in PyTorch: the same values in, forward and backward.

In pydl it stands in a net between layers that change nothing, as neighbours set the layout that a
layer works in; only the layer itself runs when it is timed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch_peer
from torch_peer import torch

import pydl

IDENTITY = 'type: "ReLU" relu_param { negative_slope: 1 }'


def image_identity(channels: int) -> str:
    """A convolution with weights 1: what stands beside it works in channels-last, as in nets."""
    return (
        f'type: "Convolution" param {{ lr_mult: 0 }} convolution_param {{ num_output: {channels} '
        f"group: {channels} kernel_size: 1 bias_term: false weight_filler {{ value: 1 }} }}"
    )


@dataclass(frozen=True)
class Single:
    """A layer: type and parameters in prototxt, and the shapes of its bottoms.

    `fixed` are shapes and fillers of the bottoms behind those that get no gradient: labels, or
    where an LSTM's sequences begin. `given` are names and values of those that `layer` names itself
    as further bottoms.
    """

    layer: str
    shapes: tuple[tuple[int, ...], ...]
    in_place: bool = False
    bf16: bool = False
    fixed: tuple[tuple[tuple[int, ...], str], ...] = ()
    given: tuple[tuple[str, np.ndarray], ...] = ()

    def net(self) -> pydl.Net:
        """x0 -> before0 -> layer -> after, with as many x as there are bottoms."""
        images = bool(self.shapes) and len(self.shapes[0]) >= 4
        top = "before0" if self.in_place else "y"
        text = bottoms = down = ""
        moving = len(self.shapes)
        for i, (shape, filler) in enumerate(
            (*((shape, 'type: "gaussian"') for shape in self.shapes), *self.fixed)
        ):
            dims = " ".join(f"dim: {d}" for d in shape)
            text += f"""
                layer {{ name: "x{i}" type: "DummyData" top: "x{i}" dummy_data_param {{
                    shape {{ {dims} }} data_filler {{ {filler} }} }} }}
                layer {{ name: "before{i}" bottom: "x{i}" top: "before{i}" {
                image_identity(shape[1]) if images and i < moving else IDENTITY
            } }}"""
            bottoms += f'bottom: "before{i}" '
            down += f"propagate_down: {'true' if i < moving else 'false'} "
        for name, values in self.given:
            dims = " ".join(f"dim: {d}" for d in values.shape)
            text += f"""
                layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{
                    shape {{ {dims} }} }} }}"""
        text += f"""
            layer {{ name: "layer" {bottoms} top: "{top}" {down} {self.layer} }}
            layer {{ name: "after" bottom: "{top}" top: "z" loss_weight: 1 propagate_down: true
                     {IDENTITY} }}"""
        precision = "BF16" if self.bf16 else "FLOAT32"
        net = pydl.Net(pydl.prototxt.parse(text), phase="TRAIN", precision=precision)
        for name, values in self.given:
            net.blobs[name].data[...] = values
        return net


class Ours:
    """The layer in pydl, its blobs filled and in place, at the instruction set of this moment."""

    def __init__(self, single: Single) -> None:
        self._single = single
        self.core = single.net()._core
        self._layer, after = (self.core.layer_index(name) for name in ("layer", "after"))
        self.core.forward()
        z = self.core.blob("z")
        z.diff[...] = np.random.default_rng(1).standard_normal(z.shape, np.float32)
        self.core.backward(after, after)
        row = self.core.layer_rows()[self._layer]
        self.implementation, self.flops = row["implementation"], row["flops"]

    def forward(self) -> None:
        self.core.forward(self._layer, self._layer)

    def backward(self) -> None:
        self.core.backward(self._layer, self._layer)

    def results(self) -> dict[str, np.ndarray]:
        """The top, then the gradients of bottoms ("dx0", ...) and blobs ("dw0", ...)."""
        self.backward()
        found = {"y": self.core.blob("z").data}
        moving = range(len(self._single.shapes))
        found |= {f"dx{i}": self.core.blob(f"before{i}").diff for i in moving}
        blobs = self.core.layer(self._layer).blobs if self._learns() else []
        return found | {f"dw{i}": blob.diff for i, blob in enumerate(blobs)}

    def given(self) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Bottoms, those that get a gradient first; blobs; and the gradient of the top."""
        count = len(self._single.shapes) + len(self._single.fixed)
        bottoms = [np.array(self.core.blob(f"x{i}").data) for i in range(count)]
        blobs = [np.array(blob.data) for blob in self.core.layer(self._layer).blobs]
        return bottoms, blobs, np.array(self.core.blob("z").diff)

    def spec(self) -> dict:
        return next(layer for layer in self.core.spec["layers"] if layer["name"] == "layer")

    def _learns(self) -> bool:
        return self.spec()["type"] != "BatchNorm"  # its blobs are statistics


class Theirs:
    """The layer in PyTorch, with the values of `ours`, in `memory_format`.

    Args:
        backward: the layer will run backward too, so that it may not work in place.
    """

    def __init__(self, single: Single, ours: Ours, memory_format: object, backward: bool) -> None:
        bottoms, blobs, dy = ours.given()
        spec = ours.spec()
        if spec["type"] == "BatchNorm":
            blobs[2][...] = 1  # of the statistics so far; a training pass does not use them
        in_place = single.in_place and not backward
        make = torch_peer.MAKERS[spec["type"]]
        self.part = make(torch_peer.params_of(spec), blobs, in_place).train()
        self._format = memory_format
        self._dtype = torch.bfloat16 if single.bf16 else torch.float32
        self.part.to(self._dtype)
        moving = len(single.shapes)
        self.bottoms = [self._tensor(b).requires_grad_(backward) for b in bottoms[:moving]]
        # A layer's marks of where sequences begin have no place in torch's.
        labelled = getattr(self.part, "labelled", False)
        self._labels = [torch.from_numpy(b) for b in bottoms[moving:]] if labelled else []
        self._dy = self._tensor(dy)
        if backward:
            self._y = self.part(*self.bottoms, *self._labels)
            learned = [p for p in self.part.parameters() if p.requires_grad]
            self._wanted = [*self.bottoms, *learned]

    def forward(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.part(*self.bottoms, *self._labels)

    def backward(self) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(self._y, self._wanted, self._dy, retain_graph=True)

    def results(self) -> dict[str, np.ndarray]:
        """As of `Ours`, but for the gradients of blobs. For a layer made with `backward`."""
        gradients = self.backward()
        found = {f"dx{i}": gradients[i].numpy() for i in range(len(self.bottoms))}
        return {"y": self._y.detach().numpy(), **found}

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(self._dtype)
        if tensor.ndim == 5 and self._format == torch.channels_last:
            return tensor.to(memory_format=torch.channels_last_3d)
        return tensor.to(memory_format=self._format) if tensor.ndim >= 4 else tensor


def peers(single: Single, ours: Ours, backward: bool) -> dict[str, Theirs]:
    """PyTorch's default memory format and, for images, channels-last."""
    if torch is None:
        return {}
    formats = {"torch": torch.contiguous_format}
    if len(single.shapes[0]) >= 4:
        formats["torch channels_last"] = torch.channels_last
    return {name: Theirs(single, ours, form, backward) for name, form in formats.items()}

"""Whole nets: a forward pass, and a training step (forward, backward, SGD with momentum)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import peers
from gemm import check_close
from peers import torch
from table import Row, progress
from timing import best

import pydl
from pydl import _core

TITLE = "Nets (batch)"
FOLDER = Path(__file__).parent / "nets"
CASES = (("lenet", 64), ("alexnet", 32), ("alexnet", 1))
MOMENTUM, DECAY = 0.9, 0.0005


def sides() -> list[str]:
    return ["pydl", *peers.variants((1, 1, 1, 1))]


def rows(quick: bool) -> Iterator[Row]:
    for name, batch in CASES[:1] if quick else CASES:
        for train in (False, True):
            what = f"{name} ({batch}) {'training step' if train else 'forward'}"
            progress(what)
            if torch:
                verify(name, batch, train)
            ours, theirs = Ours(name, batch, train), Theirs.all(Ours(name, batch, train))
            calls = {"pydl": ours.call()}
            calls |= {side: their.call() for side, their in theirs.items()}
            yield Row(what, best(calls, seconds=3), flops=ours.flops())


def message_of(name: str, batch: int, dropout: bool) -> pydl.prototxt.Message:
    message = pydl.prototxt.load_net(FOLDER / f"{name}.prototxt")
    for layer in message.layer:
        if layer.type == "Input":
            for shape in layer.input_param.shape:
                shape.dim[0] = batch
    if not dropout:
        kept = [layer for layer in message.layer if layer.type != "Dropout"]
        del message.layer[:]
        message.layer.extend(kept)
    return message


class Ours:
    """A net in pydl with its inputs filled; for training, with a solver."""

    def __init__(
        self, name: str, batch: int, train: bool, rate: float = 0.001, dropout: bool = True
    ) -> None:
        message = message_of(name, batch, dropout)
        self.train, self.rate = train, rate
        if train:
            self.net = pydl.Net(message, phase="TRAIN")
            spec = {"base_lr": rate, "momentum": MOMENTUM, "weight_decay": DECAY}
            self.solver = _core.Solver(spec, self.net._core)
        else:
            self.net = pydl.Net(message, keep="outputs")
        random = np.random.default_rng(0)
        self.shape = self.net.blobs["data"].shape
        self.net.blobs["data"].data[...] = random.standard_normal(self.shape, np.float32)
        self.labels = random.integers(0, 10, batch)
        if train:
            self.net.blobs["label"].data[...] = self.labels

    def call(self) -> Callable[[], object]:
        return self.solver.step if self.train else self.net._core.forward

    def layers(self) -> list[dict]:
        """The layers of this phase, as plain data."""
        used = {row["name"] for row in self.net._core.layer_rows()}
        return [layer for layer in self.net._core.spec["layers"] if layer["name"] in used]

    def flops(self) -> float:
        """Backward costs twice a forward pass, but the first layer's input needs no gradient."""
        counts = [row["flops"] for row in self.net._core.layer_rows() if row["flops"]]
        return 3 * sum(counts) - counts[0] if self.train else sum(counts)


class Theirs:
    """The same net in PyTorch, with the weights and inputs of `ours`.

    Do not time `ours` itself: once its weights were handed out as arrays, it packs them anew before
    each use, as somebody might have written to them.
    """

    def __init__(self, ours: Ours, memory_format: object) -> None:
        self.model = peers.build(ours.layers(), ours.shape).to(memory_format=memory_format)
        peers.copy_weights(ours.net, self.model)
        data = torch.from_numpy(np.array(ours.net.blobs["data"].data))
        self.data = data.to(memory_format=memory_format)
        self.labels = torch.from_numpy(ours.labels)
        self.train = ours.train
        self.model.train(self.train)
        self.optimizer = self._sgd(ours.rate)

    @classmethod
    def all(cls, ours: Ours) -> dict[str, Theirs]:
        return {name: cls(ours, form) for name, form in peers.variants(ours.shape).items()}

    def call(self) -> Callable[[], object]:
        return self.step if self.train else self.forward

    def forward(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(self.data)

    def step(self) -> float:
        self.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(self.model(self.data), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _sgd(self, rate: float) -> torch.optim.Optimizer:
        """Biases learn twice as fast and do not decay, as in the prototxt."""
        parameters = [*self.model.parameters()]
        weights = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY}
        biases = {"params": [p for p in parameters if p.ndim == 1], "lr": 2 * rate}
        return torch.optim.SGD([weights, biases], lr=rate, momentum=MOMENTUM)


def verify(name: str, batch: int, train: bool) -> None:
    """The same outputs or, after a step without dropout, the same change of the weights.

    At a rate of 1 the change is as large as the gradient, far above the weights' rounding.
    PyTorch's own two memory formats differ by up to 0.006 here: rounding decides which way a value
    near a ReLU's corner, or one of two nearly equal maxima of a pooling, sends its gradient.
    """
    ours = Ours(name, batch, train, rate=1, dropout=False)
    theirs = Theirs(ours, torch.contiguous_format)
    what = f"{name} ({batch})"
    if not train:
        ours.net._core.forward()
        output = ours.net.blobs[ours.net.outputs[0]].data
        check_close(f"{what} output", output, theirs.forward().numpy())
        return
    before = {key: [np.array(b.data) for b in blobs] for key, blobs in ours.net.params.items()}
    loss = ours.call()()
    check_close(f"{what} loss", np.array([loss]), np.array([theirs.step()]))
    modules = dict(theirs.model.named_children())
    for key, blobs in ours.net.params.items():
        for blob, old, peer in zip(blobs, before[key], modules[key].parameters(), strict=True):
            change = np.array(blob.data) - old
            check_close(f"{what} update of {key}", change, peer.detach().numpy() - old, 1e-2)

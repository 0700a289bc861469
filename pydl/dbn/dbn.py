"""`DBN`: trains a stack of RBMs, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pydl import prototxt
from pydl.dbn import stack, unroll
from pydl.errors import Error
from pydl.run import Listener
from pydl.solver import Solver
from pydl.solver_setup import find, seed_of, where

_UNITS = ("BINARY", "GAUSSIAN")


class DBN:
    """A deep belief network: each RBM learns the hidden probabilities of the one below.

    Args:
        layer_sizes: how many units each layer has, the visible ones first.
        visible, code: units of the first and the last layer: "BINARY", of values from 0 to 1, or
            "GAUSSIAN", of deviation 1. Those between are binary.
        epochs: passes over the data for each RBM.
        learning_rate: a number, or one for each RBM. By default 0.05, but 0.001 where units are
            Gaussian, which take no more (Hinton 2010).
        momentum, weight_decay, batch_size: of the training.
        rbm_param: further fields of the RBM layers, such as ``cd_steps=5`` or ``persistent=True``.
        random_state: the seed.

    `load` makes one from a prototxt instead. Listeners in ``listeners`` are told of each RBM's
    `Solver` in turn; ``solvers`` are those so far.

    Raises:
        Error: for sizes, units or data that do not fit, and all that a `Solver` raises.

    >>> x = np.random.default_rng(0).random((200, 36))
    >>> DBN([36, 16, 4], epochs=1, random_state=0).fit(x).transform(x).shape
    (200, 4)
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        visible: str = "BINARY",
        code: str = "BINARY",
        epochs: int = 10,
        learning_rate: float | Sequence[float] | None = None,
        momentum: float = 0.9,
        weight_decay: float = 0.0002,
        batch_size: int = 100,
        random_state: int = 0,
        **rbm_param: Any,
    ) -> None:
        sizes = _sizes(layer_sizes)
        units = [visible, *["BINARY"] * (len(sizes) - 2), code]
        for kind in units:
            if kind not in _UNITS:
                raise Error(f'DBN: units are {" or ".join(_UNITS)}, not "{kind}"')
        message = prototxt.new("DbnSolverParameter", random_seed=random_state)
        message.net_param.CopyFrom(stack.of_sizes(sizes, batch_size, units, **rbm_param))
        for rate in _rates(learning_rate, units):
            message.solver.add(base_lr=rate, lr_policy="fixed", momentum=momentum,
                               weight_decay=weight_decay, snapshot_after_train=False)  # fmt: skip
        self._set_up(message)
        self.epochs, self.batch_size = epochs, batch_size

    @classmethod
    def load(cls, model: str | os.PathLike | prototxt.Message, **overrides: Any) -> DBN:
        """From a DBN's solver prototxt (a DbnSolverParameter): a net with data and RBM layers, and
        a solver for each RBM or one for all. `overrides` are fields to set on it.

        >>> DBN.load("dbn_solver.prototxt").solve()
        """
        message = prototxt.new("DbnSolverParameter")
        given = isinstance(model, prototxt.Message)
        message.CopyFrom(model if given else prototxt.load_dbn_solver(model))
        location = message.Where()
        for name, value in overrides.items():
            setattr(message, name, value)
        dbn = cls.__new__(cls)
        dbn._set_up(message, Path(location.file) if location else None)
        return dbn

    def _set_up(self, message: prototxt.Message, file: Path | None = None) -> None:
        self.param, self._file = message, file
        self.epochs: int | None = None  # a prototxt's solvers and data say
        self._net_message = self._read_net()
        self._rbms = stack.rbm_layers(self._net_message, where(message))
        if len(message.solver) not in (1, len(self._rbms)):
            raise Error(
                f"{where(message)}give one solver for all, or one for each of the "
                f"{len(self._rbms)} RBM layers; there are {len(message.solver)}"
            )
        self.seed = seed_of(message)
        self.listeners: list[Listener] = []
        self.solvers: list[Solver] = []
        self._weights: dict[str, list[np.ndarray]] = {}

    def _read_net(self) -> prototxt.Message:
        given = self.param.HasField("net_param")
        if bool(self.param.net) == given:
            what = "both" if given else "neither"
            raise Error(f"{where(self.param)}give net, a file, or net_param; it has {what}")
        return (
            self.param.net_param if given else prototxt.load_net(find(self.param.net, self._file))
        )

    # ---- training ----
    def fit(self, x: np.ndarray, y: object = None) -> DBN:
        """Trains on (N, ...) values, in one random order; `y` is not used.

        Raises Error for a DBN from a prototxt, whose net has data of its own: `solve` trains that.
        """
        if self.epochs is None:
            raise Error(
                "DBN.fit is for a DBN of layer sizes; this one has data of its own: solve()"
            )
        data = self._checked(x)
        order = np.random.default_rng(self.seed).permutation(len(data))
        order = np.resize(order, -(-len(order) // self.batch_size) * self.batch_size)
        iterations = self.epochs * len(order) // self.batch_size
        for solver in self.param.solver:
            solver.max_iter = iterations
        for solver in self._stages(data[order]):
            solver.solve()
        return self

    def fit_transform(self, x: np.ndarray, y: object = None) -> np.ndarray:
        """`fit`, then `transform`."""
        return self.fit(x).transform(x)

    def solve(self, resume: str | os.PathLike | None = None) -> DBN:
        """Trains on the net's own data, from an RBM's ``.solverstate`` if `resume` names one:
        those below it are in its weights."""
        for solver in self.stages(resume):
            solver.solve()
        return self

    def stages(self, resume: str | os.PathLike | None = None) -> Iterator[Solver]:
        """The solver of each RBM in turn, to be run before the next is asked for: `solve`, step by
        step. Ends after one that did not reach its ``max_iter``."""
        if self.epochs is not None:
            raise Error("DBN.solve is for a DBN with data of its own; give the data to fit(x)")
        return self._stages(None, resume)

    def request(self, what: str) -> None:
        """Asks a running training to end or to snapshot, as `Solver.request`."""
        if self.solvers:
            self.solvers[-1].request(what)

    def _stages(
        self, data: np.ndarray | None, resume: str | os.PathLike | None = None
    ) -> Iterator[Solver]:
        first = self._stage_of(resume) if resume is not None else 0
        self.solvers, self._weights = [], {}
        for index in range(first, len(self._rbms)):
            solver = self._solver(index, data)
            if resume is not None and index == first:
                solver.restore(resume)
            yield solver
            for name, blobs in solver.net.params.items():
                self._weights[name] = [np.array(blob.data) for blob in blobs]
            if solver.iter < solver.max_iter:
                break

    def _solver(self, index: int, data: np.ndarray | None) -> Solver:
        """Of one RBM, with those below it as they are."""
        solvers = self.param.solver
        message = prototxt.new("SolverParameter")
        message.CopyFrom(solvers[index] if len(solvers) > 1 else solvers[0])
        message.net_param.CopyFrom(stack.stage_net(self._net_message, index))
        message.random_seed = self.seed + index
        message.snapshot_prefix = self._prefix(index)
        solver = Solver(message)
        solver.listeners = [*self.listeners]
        self.solvers.append(solver)
        unroll.put_weights(solver.net, self._weights)
        if data is not None:
            shaped = data.reshape(len(data), -1, 1, 1)
            solver.net._core.layer(0).set_arrays(shaped, np.zeros(len(data), np.float32))
        return solver

    def _prefix(self, index: int) -> str:
        own = str(self._file.with_suffix("")) if self._file else "dbn"
        return f"{self.param.snapshot_prefix or own}_{self._rbms[index].name}"

    def _stage_of(self, state: str | os.PathLike) -> int:
        """The RBM whose snapshot this is."""
        name = Path(state).name
        for index in range(len(self._rbms)):
            if name.startswith(f"{Path(self._prefix(index)).name}_iter_"):
                return index
        known = ", ".join(f"{Path(self._prefix(i)).name}_iter_*" for i in range(len(self._rbms)))
        raise Error(f"{state}: no snapshot of this DBN's; theirs are named {known}")

    # ---- what was learned ----
    @property
    def weights_(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each RBM: W (hidden, visible), the visible biases, the hidden biases."""
        self._check_trained()
        return [tuple(self._weights[layer.name]) for layer in self._rbms]

    @property
    def errors_(self) -> list[list[float]]:
        """The reconstruction errors of each RBM trained so far, iteration by iteration."""
        return [solver.history["loss"] for solver in self.solvers]

    def transform(self, x: np.ndarray) -> np.ndarray:
        """(N, ...) values to the probabilities (means, of Gaussian units) of the last layer's
        units: (N, units)."""
        h = self._checked(x)
        for layer, (w, _, bias) in zip(self._rbms, self.weights_, strict=True):
            h = _means(h @ w.T + bias, layer.rbm_param.hidden)
        return h

    def inverse_transform(self, h: np.ndarray) -> np.ndarray:
        """(N, units) of the last layer back to the means of the visible units: (N, visible)."""
        v = np.asarray(h, np.float32)
        pairs = list(zip(self._rbms, self.weights_, strict=True))
        for layer, (w, bias, _) in reversed(pairs):
            v = _means(v @ w + bias, layer.rbm_param.visible)
        return v

    # ---- unrolling ----
    def classifier(
        self, classes: int, data: str | prototxt.Message | None = None, label: str = "label"
    ) -> unroll.Unrolled:
        """A net of InnerProduct and Sigmoid layers with the RBMs' weights, and a softmax over
        `classes` above them.

        `data` are the layers, as prototxt, that its blob "data" and the labels come from; by
        default the DBN's own, or Input layers for one that `fit` trained.

        >>> dbn.classifier(10).save("digits")
        >>> solver = pydl.Solver("digits_solver.prototxt", weights=["digits.caffemodel"])
        """
        return unroll.classifier(self._stack(data), classes, label)

    def autoencoder(self, data: str | prototxt.Message | None = None) -> unroll.Unrolled:
        """The deep autoencoder of Hinton & Salakhutdinov 2006: up through the RBMs and, by their
        transposed weights, down again. `data` as for `classifier`.

        It learns the cross-entropy where visible units are binary, else the squared error.
        """
        return unroll.autoencoder(self._stack(data))

    def _stack(self, data: str | prototxt.Message | None) -> unroll.Stack:
        weights = self.weights_
        if isinstance(data, str):
            data = prototxt.parse(data)
        if data is not None:
            return unroll.Stack(self._rbms, weights, list(data.layer), "data")
        blob = self._rbms[0].bottom[0]
        if self.epochs is not None:
            return unroll.Stack(self._rbms, weights, unroll.inputs(self.batch_size, weights), blob)
        return unroll.Stack(self._rbms, weights, stack.layers_for(self._net_message, blob), blob)

    # ---- checks ----
    def _check_trained(self) -> None:
        missing = [layer.name for layer in self._rbms if layer.name not in self._weights]
        if missing:
            raise Error(f"this DBN is not trained yet: {', '.join(missing)}; call fit or solve")

    def _checked(self, x: np.ndarray) -> np.ndarray:
        """As (N, visible)."""
        data = np.asarray(x, np.float32)
        data = data.reshape(len(data), -1) if data.size else data.reshape(0, 0)
        if self.epochs is None:
            wanted = self.weights_[0][0].shape[1]
        else:
            wanted = self._net_message.layer[0].memory_data_param.channels
        if data.shape[1] != wanted or not len(data):
            raise Error(
                f"DBN: the data must be items of {wanted} values, but is of shape {np.shape(x)}"
            )
        if not np.isfinite(data).all():
            raise Error("DBN: the data holds NaN or infinity")
        binary = self._rbms[0].rbm_param.visible == "BINARY"
        if binary and (data.min() < 0 or data.max() > 1):
            raise Error(
                "DBN: binary visible units take values from 0 to 1, but the data goes from "
                f'{data.min():g} to {data.max():g}; scale it, or use visible="GAUSSIAN" on data of '
                "mean 0 and deviation 1"
            )
        return data


def _sizes(layer_sizes: Sequence[int]) -> list[int]:
    sizes = [int(size) for size in layer_sizes]
    if len(sizes) < 2 or min(sizes) < 1:
        raise Error(f"DBN: layer_sizes are at least two positive numbers, not {layer_sizes}")
    return sizes


def _rates(given: float | Sequence[float] | None, units: Sequence[str]) -> list[float]:
    """Of each RBM."""
    count = len(units) - 1
    if given is None:
        return [0.001 if "GAUSSIAN" in units[i : i + 2] else 0.05 for i in range(count)]
    rates = [float(given)] * count if np.ndim(given) == 0 else [float(rate) for rate in given]
    if len(rates) != count:
        raise Error(f"DBN: {len(rates)} learning rates for {count} RBMs")
    return rates


def _means(inputs: np.ndarray, kind: str) -> np.ndarray:
    if kind == "GAUSSIAN":
        return inputs
    return 0.5 * (1 + np.tanh(0.5 * inputs))  # the sigmoid; nothing overflows

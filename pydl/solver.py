"""`Solver`: trains a net as a solver prototxt says, with Caffe's order of events."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pydl import _core, hooks, prototxt, python_layer, snapshot
from pydl.errors import Error
from pydl.net import Net

hooks.install()
python_layer.install()

Model = str | os.PathLike | prototxt.Message


class Listener:
    """What a run tells: subclass it, override what you care for, add it to `Solver.listeners`."""

    def on_start(self, solver: Solver) -> None:
        """At the beginning of `Solver.step` or `Solver.solve`."""

    def on_iteration(self, solver: Solver, loss: float) -> None:
        """After each iteration; ``loss`` is that iteration's, ``solver.smoothed_loss`` the mean."""

    def on_display(self, solver: Solver, report: Report) -> None:
        """Every ``display`` iterations; the report holds what Caffe shows before the update."""

    def on_test(self, solver: Solver, index: int, scores: dict[str, np.ndarray]) -> None:
        """After test net ``index`` ran: the mean of each of its outputs."""

    def on_snapshot(self, solver: Solver, path: Path) -> None:
        """After a snapshot is complete on disk; ``path`` is its ``.solverstate``."""

    def on_end(self, solver: Solver) -> None:
        """At the end of `Solver.step` or `Solver.solve`, also when an error ended the run."""


@dataclass
class Report:
    """What Caffe displays at an iteration."""

    iteration: int
    loss: float  # smoothed over average_loss iterations
    lr: float
    seconds: float  # since the last report
    iterations: int  # since the last report
    outputs: dict[str, np.ndarray] = field(default_factory=dict)  # of the training net
    loss_weights: dict[str, float] = field(default_factory=dict)


class Solver:
    """Trains a net.

    Args:
        model: path of a solver prototxt, or a `pydl.prototxt` SolverParameter. Relative paths in it
            are looked for from the working directory, as in Caffe, then beside the solver file.
        keep: what of the nets can be read, as in `pydl.Net`. With "outputs" a training step takes
            far less memory; gradients are then gone after it (a ``diff`` of ``net.params`` is zero,
            but kept from the next step on, once it was asked for). Results are the same, bit for
            bit.
        stop_on_nan: raise Error when the loss is NaN or infinite, before the weights are changed.
        allow_python: run the classes that Python layers name, as in `pydl.Net`.
        overrides: fields to set on the solver, such as ``max_iter=100``.

    Raises:
        Error: for whatever is wrong with the files, naming file and line.

    >>> solver = Solver("examples/mnist/lenet_solver.prototxt", max_iter=200)
    >>> solver.solve()
    >>> solver.test()["accuracy"]
    """

    def __init__(
        self,
        model: Model,
        *,
        keep: str = "all",
        stop_on_nan: bool = True,
        allow_python: bool = False,
        **overrides: Any,
    ) -> None:
        self.param = _solver_message(model)
        for name, value in overrides.items():
            setattr(self.param, name, value)
        where = self.param.Where()
        self._file = Path(where.file) if where else None
        seed = self.param.random_seed
        self.seed = seed if seed >= 0 else int.from_bytes(os.urandom(4), "little")
        train, tests = _net_specs(self.param, self._find)
        self.net = self._make_net(train, keep, allow_python)
        self.test_nets = [self._make_net(spec, keep, allow_python) for spec in tests]
        for net in self.test_nets:
            net._core.share_params(self.net._core)
        fields = set(_core.solver_fields())
        spec = prototxt.solver_spec(self.param)
        self._core = _core.Solver(
            {key: value for key, value in spec.items() if key in fields}, self.net._core
        )
        self._core.stop_on_nan = stop_on_nan
        self.listeners: list[Listener] = []
        self.history: dict[str, list] = {"iteration": [], "loss": [], "test": []}
        self.last_snapshot: Path | None = None
        self._losses: collections.deque[float] = collections.deque(
            maxlen=max(1, self.param.average_loss)
        )
        self._reported = (time.monotonic(), 0)
        self._request: str | None = None
        for path in self.param.weights:
            for part in path.split(","):
                self.net.load(self._find(part.strip()))

    # ---- state ----
    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._core.iter

    @property
    def lr(self) -> float:
        """The learning rate of the coming update."""
        return self._core.lr

    @property
    def max_iter(self) -> int:
        return self.param.max_iter

    @property
    def smoothed_loss(self) -> float:
        """Mean loss of the last ``average_loss`` iterations."""
        return sum(self._losses) / len(self._losses) if self._losses else float("nan")

    def request(self, what: str) -> None:
        """Asks a running `solve` to "stop" (snapshot, then stop), "stop_without_snapshot" or
        "snapshot" once the present iteration is done. Safe in signal handlers."""
        if not self._stopping:
            self._request = what

    @property
    def _stopping(self) -> bool:
        return self._request in ("stop", "stop_without_snapshot")

    # ---- running ----
    def step(self, iterations: int = 1) -> float:
        """Runs iterations, with the tests, displays and snapshots that fall into them.

        Returns the loss of the last one. Raises Error as `solve`.
        """
        with self._running():
            return self._run(self.iter + iterations)

    def solve(self, resume: str | os.PathLike | None = None) -> None:
        """Runs up to ``max_iter``, from a ``.solverstate`` if ``resume`` names one.

        A run that was not stopped ends with a snapshot and a test, whatever the intervals are.
        Raises Error if the loss becomes NaN (naming the last snapshot), or a file cannot be
        written; snapshots that were complete stay.
        """
        if resume is not None:
            self.restore(resume)
        with self._running():
            self._run(self.max_iter)
            if self._stopping:
                return
            if self.param.snapshot_after_train and self._snapshot_is_due(final=True):
                self.snapshot()
            self.test_all()

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        self._reported = (time.monotonic(), self.iter)
        try:
            self._tell("on_start")
            yield
        finally:
            self._request = None
            self._tell("on_end")

    def _run(self, end: int) -> float:
        loss = self.smoothed_loss
        while self.iter < end and self._handle_request():
            if self._test_is_due():
                self.test_all()
                if self._stopping:
                    continue
            loss = self._iterate()
            if self._snapshot_is_due():
                self.snapshot()
        self._handle_request()
        return loss

    def _iterate(self) -> float:
        display = self.param.display and self.iter % self.param.display == 0
        number, rate = self.iter, self.lr if display else 0.0
        try:
            loss = self._core.step()
        except Error as error:
            raise self._with_way_back(error) from None
        self._losses.append(loss)
        self.history["iteration"].append(number)
        self.history["loss"].append(loss)
        if display:
            self._tell("on_display", self._report(number, rate))
        self._tell("on_iteration", loss)
        return loss

    def _with_way_back(self, error: Error) -> Error:
        if "the loss is" not in str(error):
            return error
        saved = self.last_snapshot
        way = f"the last good snapshot is {saved}" if saved else "there is no snapshot yet"
        return Error(f"{error} ({way})")

    def _handle_request(self) -> bool:
        """Does what was asked for; False if the run should end."""
        request = self._request
        if request == "snapshot":
            self._request = None
            self.snapshot()
        elif request == "stop" and self.last_snapshot != self._state_path():
            self.snapshot()
        return not self._stopping

    def _report(self, iteration: int, rate: float) -> Report:
        now, before = time.monotonic(), self._reported
        self._reported = (now, iteration)
        core = self.net._core
        outputs = {name: np.array(core.blob(name).data) for name in core.outputs}
        return Report(
            iteration, self.smoothed_loss, rate, now - before[0], iteration - before[1], outputs,
            self.net.loss_weights,
        )  # fmt: skip

    def _tell(self, event: str, *args: Any) -> None:
        for listener in self.listeners:
            getattr(listener, event)(self, *args)

    # ---- testing ----
    def test(self, index: int = 0, iterations: int | None = None) -> dict[str, np.ndarray]:
        """Runs test net ``index`` for ``test_iter[index]`` batches; the mean of each output."""
        if not self.test_nets:
            raise Error("this solver has no test net: it gives no test_iter")
        net, count = self.test_nets[index], iterations or self.param.test_iter[index]
        sums: dict[str, np.ndarray] = {}
        for _ in range(count):
            if self._stopping:
                break
            net._core.forward()
            for name in net._core.outputs:
                value = np.array(net._core.blob(name).data, np.float64)
                sums[name] = sums[name] + value if name in sums else value
        return {name: value / count for name, value in sums.items()}

    def test_all(self) -> list[dict[str, np.ndarray]]:
        """Runs all test nets and tells the listeners. A test that a request to stop cuts short
        counts as not begun, so that a resumed run tests on the same data."""
        results = []
        for index, net in enumerate(self.test_nets):
            before = net._core.layer_state()
            scores = self.test(index)
            if self._stopping:
                net._core.set_layer_state(before)
                break
            self.history["test"].append((self.iter, index, scores))
            self._tell("on_test", index, scores)
            results.append(scores)
        return results

    def _test_is_due(self) -> bool:
        every = self.param.test_interval
        if not self.test_nets or not every or self.iter % every:
            return False
        return self.iter > 0 or self.param.test_initialization

    # ---- snapshots ----
    def snapshot(self) -> Path:
        """Writes ``<snapshot_prefix>_iter_<n>.caffemodel`` and ``.solverstate`` (or their ``.h5``
        forms). An older snapshot is never touched; a failure raises Error."""
        path = snapshot.save(self, *self._snapshot_paths())
        self.last_snapshot = path
        self._tell("on_snapshot", path)
        return path

    def restore(self, path: str | os.PathLike) -> None:
        """Goes on where the snapshot whose ``.solverstate`` this is was taken, bit for bit."""
        snapshot.restore(self, Path(path))
        self.last_snapshot = Path(path)
        self._losses.clear()

    @property
    def snapshot_prefix(self) -> str:
        """What the names of snapshots begin with: as given, else the solver file's own name; a
        folder gets that name in it. All as in Caffe."""
        prefix = self.param.snapshot_prefix
        own = self._file.with_suffix("") if self._file else Path(self.net.name or "pydl")
        if not prefix:
            return str(own)
        return os.path.join(prefix, own.name) if os.path.isdir(prefix) else prefix

    def _snapshot_paths(self) -> tuple[Path, Path]:
        suffix = ".h5" if self.param.snapshot_format == "HDF5" else ""
        base = f"{self.snapshot_prefix}_iter_{self.iter}"
        return Path(f"{base}.caffemodel{suffix}"), Path(f"{base}.solverstate{suffix}")

    def _state_path(self) -> Path:
        return self._snapshot_paths()[1]

    def _snapshot_is_due(self, final: bool = False) -> bool:
        every = self.param.snapshot
        if final:
            return self.last_snapshot != self._state_path()
        return bool(every) and self.iter % every == 0

    # ---- set-up ----
    def _make_net(self, spec: Mapping[str, Any], keep: str, allow_python: bool) -> Net:
        fields = ("precision", "autotune", "deterministic")
        options = {name: getattr(self.param, name) for name in fields if self.param.HasField(name)}
        options["allow_python"] = bool(allow_python)
        return Net.from_core(_core.Net(dict(spec), keep, self.seed, **options))

    def _find(self, path: str) -> str:
        if self._file is None or os.path.exists(path):
            return path
        beside = self._file.parent / path
        return str(beside) if beside.exists() else path


def _solver_message(model: Model) -> prototxt.Message:
    if isinstance(model, prototxt.Message):
        message = prototxt.new("SolverParameter")
        message.CopyFrom(model)
        return message
    return prototxt.load_solver(model)


def _net_specs(
    param: prototxt.Message, find: Callable[[str], str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The training net's spec and the test nets', from the many fields that may give them."""

    def load(path: str) -> prototxt.Message:
        return prototxt.load_net(find(path))

    def spec(net: prototxt.Message, phase: str, state: prototxt.Message | None) -> dict[str, Any]:
        level = state.level if state is not None and state.HasField("level") else None
        stages = list(state.stage) if state is not None else []
        return prototxt.net_spec(net, phase=phase, level=level, stages=stages)

    sources = {
        "net": [load(param.net)] if param.net else [],
        "net_param": [param.net_param] if param.HasField("net_param") else [],
        "train_net": [load(param.train_net)] if param.train_net else [],
        "train_net_param": [param.train_net_param] if param.HasField("train_net_param") else [],
    }
    given = [name for name, nets in sources.items() if nets]
    if len(given) != 1:
        what = f"it gives {' and '.join(given)}" if given else "it gives none"
        raise Error(f"{_file(param)}a solver needs one of {', '.join(sources)}; {what}")
    train_net = sources[given[0]][0]
    train_state = param.train_state if param.HasField("train_state") else None
    train = spec(train_net, "TRAIN", train_state)

    nets = [*param.test_net_param, *(load(path) for path in param.test_net)]
    generic = given[0] in ("net", "net_param")
    count = len(param.test_iter)
    if generic:
        nets += [train_net] * max(0, count - len(nets))
    if len(nets) != count:
        raise Error(
            f"{_file(param)}test_iter is given {count} times for {len(nets)} test nets; "
            "give one for each"
        )
    if param.test_state and len(param.test_state) != count:
        raise Error(
            f"{_file(param)}test_state is given {len(param.test_state)} times for {count} test nets"
        )
    if count and param.test_interval <= 0:
        raise Error(
            f"{_file(param)}test_iter is given, so test_interval must be given and positive"
        )
    states = list(param.test_state) or [None] * count
    tests = [spec(net, "TEST", state) for net, state in zip(nets, states, strict=True)]
    return train, tests


def _file(message: prototxt.Message) -> str:
    location = message.Where()
    return f"{location.file}: " if location else ""

"""`Solver`: trains a net as a solver prototxt says, with Caffe's order of events."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pydl import _core, hooks, prototxt, python_layer, snapshot, solver_setup
from pydl.errors import Error
from pydl.monitor import Monitor
from pydl.net import Net
from pydl.run import Listener, Report, Run

hooks.install()
python_layer.install()

__all__ = ["Listener", "Report", "Solver"]

Model = str | os.PathLike | prototxt.Message


class Solver(Run):
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
        self.param = solver_setup.solver_message(model, overrides)
        super().__init__(self.param.average_loss)
        where = self.param.Where()
        self._file = Path(where.file) if where else None
        self.seed = solver_setup.seed_of(self.param)
        self._allow_python = allow_python
        train, tests = solver_setup.net_specs(self.param, self._find)
        self.net = self._make_net(train, keep, allow_python)
        self.test_nets = [self._make_net(spec, keep, allow_python) for spec in tests]
        for net in self.test_nets:
            net._core.share_params(self.net._core)
        self.monitor = Monitor(self.param, self.test_nets)
        self._core = solver_setup.core_solver(self.param, self.net._core, self.monitor.mode)
        self._core.stop_on_nan = stop_on_nan
        self.test_loss: dict[int, float] = {}  # of each test net, with test_compute_loss
        for path in self.param.weights:
            for part in path.split(","):
                self._load(self._find(part.strip()))
        if self.param.snapshot_diff:  # gradients that were looked at are kept
            for blob in (blob for blobs in self.net.params.values() for blob in blobs):
                _ = blob.diff

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
    def trained_nets(self) -> list[Net]:
        """The nets whose weights change."""
        return [self.net]

    @property
    def notes(self) -> list[str]:
        """What the solver's file says to no effect, or leaves out that is usual."""
        return solver_setup.notes(self.param)

    @property
    def stopped_early(self) -> bool:
        """``early_stop_patience`` tests in a row gave no better score: `solve` ends."""
        return self._core.should_stop

    # ---- running ----
    def step(self, iterations: int = 1, **inputs: np.ndarray) -> float:
        """Runs iterations, with the tests, displays and snapshots that fall into them.

        Args:
            inputs: arrays for input blobs of the training net, as `Net.forward` takes them.

        Returns the loss of the last one. Raises Error as `solve`.
        """
        for name, value in inputs.items():
            self.net._fill(name, value)
        with self._running():
            return self._run(self.iter + iterations)

    def solve(self, resume: str | os.PathLike | None = None) -> None:
        """Runs up to ``max_iter``, from a ``.solverstate`` if ``resume`` names one.

        A run that was not stopped ends with a snapshot and a test, whatever the intervals are; so
        does one that ``early_stop_patience`` ends before.
        Raises Error if the loss becomes NaN (naming the last snapshot), or a file cannot be
        written; snapshots that were complete stay.
        """
        if resume is not None:
            self.restore(resume)
        with self._running():
            self._run(self.max_iter, may_stop_early=True)
            if self._stopping:
                return
            if self.param.snapshot_after_train and self._snapshot_is_due(final=True):
                self.snapshot()
            if self._displays():  # the loss after the last update, as in Caffe
                self._smoothed.add(self.net._core.forward())
            if not self.history["test"] or self.history["test"][-1][0] != self.iter:
                self.test_all()

    def update(self) -> None:
        """An update by the gradients that are in the net, which counts as an iteration: for losses
        that are no layers, and gradients from elsewhere.

        >>> solver.net.clear_param_diffs()
        >>> scores = solver.net.forward(data=x)["scores"]
        >>> solver.net.backward(scores=gradient_of_loss(scores))
        >>> solver.update()
        """
        self._check_base_lr()
        self._core.apply_update()
        self._core.iter += 1

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        self._check_base_lr()
        with super()._running():
            yield

    def _check_base_lr(self) -> None:
        if not self.param.HasField("base_lr"):
            raise Error(f"{self._file or 'the solver'}: base_lr, the learning rate, is missing")

    def _run(self, end: int, may_stop_early: bool = False) -> float:
        loss = self.smoothed_loss
        while self.iter < end and self._handle_request():
            if self._test_is_due():
                results = self.test_all()
                if self._stopping:
                    continue
                self._observe(results)
            if may_stop_early and self.stopped_early:
                break
            loss = self._iterate()
            if self._snapshot_is_due():
                self.snapshot()
        self._handle_request()
        return loss

    def _observe(self, results: list[dict[str, np.ndarray]]) -> None:
        """Shows the core the score that lr_policy "plateau" and early stopping look at."""
        score = self.monitor.score(results) if self.monitor.active else None
        if score is not None:
            self._core.observe(score)

    def _iterate(self) -> float:
        display = self._displays()
        number, rate = self.iter, self.lr if display else 0.0
        self._core.set_debug(self._debug if display and self.param.debug_info else None)
        try:
            loss = self._core.step()
        except Error as error:
            raise self._with_way_back(error) from None
        self._smoothed.add(loss)
        self.monitor.add_loss(loss)
        self.history["iteration"].append(number)
        self.history["loss"].append(loss)
        if display:
            self._tell("on_display", self._report(number, rate, *self._shown()))
        self._tell("on_iteration", loss)
        return loss

    def _shown(self) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        core = self.net._core
        outputs = {name: np.array(core.blob(name).data) for name in core.outputs}
        return outputs, self.net.loss_weights

    def _displays(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def _debug(self, line: str) -> None:
        self._tell("on_debug", line)

    # ---- testing ----
    def test(self, index: int = 0, iterations: int | None = None) -> dict[str, np.ndarray]:
        """Runs test net ``index`` for ``test_iter[index]`` batches; the mean of each output.

        With ``eval_type`` "detection" the outputs are DetectionEvaluate layers', and what is
        returned is the mean average precision of each. With ``ema_decay`` it is the averaged
        weights that are tested. With ``test_compute_loss`` the mean loss is in
        ``test_loss[index]`` afterwards.
        """
        if not self.test_nets:
            raise Error("this solver has no test net: it gives no test_iter")
        net, count = self.test_nets[index], iterations or max(0, self.param.test_iter[index])
        scores = solver_setup.test_scores(self.param)
        loss = 0.0
        net._core.set_iteration(self.iter)
        with self.averaged_weights(), self._debugging(net):
            for _ in range(count):
                if self._stopping:
                    break
                loss += net._core.forward()
                for name in net._core.outputs:
                    scores.add(name, net._core.blob(name).data)
        if self.param.test_compute_loss:
            self.test_loss[index] = loss / max(1, count)
        return scores.results(count)

    def test_twin(self) -> Net:
        """The training net in phase TEST, with the same weights at any time: to look at what the
        net says between steps. ``predict`` runs it on inputs as a deployed net.

        >>> twin = solver.test_twin()
        >>> solver.step(100)
        >>> twin.predict(images)
        """
        spec = solver_setup.test_spec(self.param, self._find)
        net = self._make_net(spec, "all", self._allow_python)
        net._core.share_params(self.net._core)
        return net

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within the block the nets have the average of the weights (``ema_decay``); no training
        in it. Without ``ema_decay``, or before the first update, they stay as they are.

        >>> with solver.averaged_weights():
        ...     solver.net.save("average.caffemodel")
        """
        self._core.swap_average()
        try:
            yield
        finally:
            self._core.swap_average()

    def _debugging(self, net: Net) -> contextlib.AbstractContextManager:
        if not self.param.debug_info:
            return contextlib.nullcontext()
        return _core.DebugInfo(net._core, self._debug)

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
        if every <= 0 or self.iter % every:
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
        self._smoothed.clear()

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

    def _load(self, path: str) -> None:
        """Weights to start from; layers that only a test net has take theirs as well."""
        self.net.load(path)
        known = self.net.params
        for net in self.test_nets:
            if not net.params.keys() <= known.keys():
                net.load(path)

    def _find(self, path: str) -> str:
        return solver_setup.find(path, self._file)

"""`CaffeLog`: a run in the lines that Caffe's users and their tools know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pydl.reporting.glog import LOGGER
from pydl.reporting.numbers import MOST_VALUES, number, output_lines
from pydl.solver import Listener, Report, Solver


class CaffeLog(Listener):
    """Logs a run to the logger "pydl", in the order and with the words of ``caffe train``.

    Where the lines go is up to Python's logging; `log_to_file` gives them glog's prefix.

    >>> import logging, pydl
    >>> logging.basicConfig(level=logging.INFO, format="%(message)s")
    >>> solver = pydl.Solver("examples/mnist/lenet_solver.prototxt", max_iter=100)
    >>> solver.listeners.append(CaffeLog())
    >>> solver.solve()
    """

    def on_start(self, solver: Solver) -> None:
        LOGGER.info("Use CPU.")
        LOGGER.info("Initializing solver from parameters: \n%s", str(solver.param).rstrip())
        for note in solver.notes:
            LOGGER.warning("%s", note)
        _log_nets(solver)
        for path in filter(None, ",".join(solver.param.weights).split(",")):
            LOGGER.info("Finetuning from %s", path.strip())
        LOGGER.info("Solver scaffolding done.")
        if solver.iter and solver.last_snapshot:
            LOGGER.info("Resuming from %s", solver.last_snapshot)
        LOGGER.info("Starting Optimization")
        LOGGER.info("Solving %s", solver.net.name)
        LOGGER.info("Learning Rate Policy: %s", solver.param.lr_policy)

    def on_display(self, solver: Solver, report: Report) -> None:
        rate = report.iterations / report.seconds if report.seconds else 0
        LOGGER.info(
            "Iteration %d (%s iter/s, %ss/%d iters), loss = %s",
            report.iteration,
            number(rate),
            number(report.seconds),
            solver.param.display,
            number(report.loss),
        )
        _log_outputs("Train", report.outputs, report.loss_weights)
        LOGGER.info("Iteration %d, lr = %s", report.iteration, number(report.lr))

    def on_test(self, solver: Solver, index: int, scores: dict[str, np.ndarray]) -> None:
        LOGGER.info("Iteration %d, Testing net (#%d)", solver.iter, index)
        if solver.param.test_compute_loss:
            LOGGER.info("Test loss: %s", number(solver.test_loss[index]))
        _log_outputs("Test", scores, solver.test_nets[index].loss_weights)

    def on_debug(self, solver: Solver, line: str) -> None:
        LOGGER.info("%s", line)

    def on_snapshot(self, solver: Solver, path: Path) -> None:
        kind = "HDF5 file" if path.suffix == ".h5" else "binary proto file"
        model = path.with_name(path.name.replace(".solverstate", ".caffemodel"))
        LOGGER.info("Snapshotting to %s %s", kind, model)
        LOGGER.info("Snapshotting solver state to %s %s", kind, path)

    def on_end(self, solver: Solver) -> None:
        LOGGER.info("Iteration %d, loss = %s", solver.iter, number(solver.smoothed_loss))
        done = solver.iter >= solver.max_iter
        if solver.stopped_early:
            patience = solver.param.early_stop_patience
            LOGGER.info("Early stopping: no better score in %d tests", patience)
        LOGGER.info("Optimization Done." if done else "Optimization stopped early.")


def _log_nets(solver: Solver) -> None:
    """Where the nets come from, as far as from files."""
    p = solver.param
    for field in ("net", "train_net"):
        if p.HasField(field):
            LOGGER.info("Creating training net from %s file: %s", field, getattr(p, field))
    sources = [f"test_net file: {path}" for path in p.test_net]
    if p.HasField("net"):
        sources += [f"net file: {p.net}"] * (len(solver.test_nets) - len(sources))
    for index, source in enumerate(sources[: len(solver.test_nets)]):
        LOGGER.info("Creating test net (#%d) specified by %s", index, source)


def _log_outputs(net: str, outputs: dict[str, np.ndarray], loss_weights: dict[str, float]) -> None:
    for i, (name, text) in enumerate(output_lines(outputs, loss_weights)):
        LOGGER.info("    %s net output #%d: %s = %s", net, i, name, text)
    for name, values in outputs.items():
        if np.size(values) > MOST_VALUES:
            LOGGER.info("    %s net output %s: %d values in all", net, name, np.size(values))

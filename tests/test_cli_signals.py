"""Ctrl-C and hangup during pydl train, with real signals."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from cli_tools import run_pydl, start_pydl, write_run

import pydl
from pydl.cli.signals import signals
from pydl.solver import Listener


def start(folder: Path, *flags: str, **popen: object):
    """A run without an end that has done some iterations."""
    write_run(folder, max_iter=100_000_000, snapshot=None, test_interval=1_000_000)
    process = start_pydl(
        "train", "-solver", "solver.prototxt", "-plot", "none", *flags, cwd=folder, **popen
    )
    wait_for(process, "Iteration 20 ")
    return process


def wait_for(process, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the run ended before {text!r}")


def finish(process) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


def stopped_at(out: str) -> int:
    return int(re.search(r"^Stopped at iteration (\d+) of", out, re.M)[1])


def test_ctrl_c_takes_a_snapshot_to_go_on_from(tmp_path):
    process = start(tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = finish(process)
    iteration = stopped_at(out)
    assert "stopping after this iteration" in err
    assert "Optimization stopped early." in err
    assert f"Snapshot: run_iter_{iteration}.solverstate" in out
    assert f"To go on: pydl train -solver solver.prototxt -snapshot run_iter_{iteration}." in out
    write_run(tmp_path, max_iter=iteration + 5, snapshot=None)
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-plot", "none", "-snapshot",
        f"run_iter_{iteration}.solverstate", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Resuming from run_iter_{iteration}.solverstate" in done.stderr
    log = (tmp_path / "run.log").read_text()
    assert "Iteration 20 " in log and "Optimization Done." in log  # of both runs


def test_hangup_takes_a_snapshot_and_goes_on(tmp_path):
    process = start(tmp_path)
    process.send_signal(signal.SIGHUP)
    wait_for(process, "Snapshotting solver state")
    wait_for(process, "lr = ")
    state = next(tmp_path.glob("run_iter_*.solverstate"))
    process.send_signal(signal.SIGINT)
    out, _ = finish(process)
    assert stopped_at(out) > int(state.stem.split("_")[-1])


def test_effects_can_be_swapped(tmp_path):
    process = start(tmp_path, "-sigint_effect", "snapshot", "-sighup_effect=stop")
    process.send_signal(signal.SIGINT)
    wait_for(process, "Snapshotting solver state")
    wait_for(process, "lr = ")
    process.send_signal(signal.SIGHUP)
    out, _ = finish(process)
    assert stopped_at(out) > 0
    assert len(list(tmp_path.glob("run_iter_*.solverstate"))) == 2


def test_no_effect(tmp_path):
    process = start(tmp_path, "-sigint_effect", "none")
    process.send_signal(signal.SIGINT)
    for _ in range(3):
        wait_for(process, "lr = ")
    assert not list(tmp_path.glob("run_iter_*"))
    process.kill()
    process.communicate(timeout=60)


class Requests:
    """Stands for a solver."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def request(self, what: str) -> None:
        self.made.append(what)


def test_second_ctrl_c_stops_at_once_and_handlers_are_put_back(capfd):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    solver = Requests()
    with pytest.raises(KeyboardInterrupt), signals(solver, "stop", "snapshot"):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        assert solver.made == ["snapshot", "stop"]
        signal.raise_signal(signal.SIGINT)
    assert solver.made == ["snapshot", "stop"]
    assert "Ctrl-C again" in capfd.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before


class SignalAt(Listener):
    """Interrupts the process it runs in at one event."""

    def __init__(self, event: str) -> None:
        self.event = event

    def on_test(self, solver, index, scores):
        if self.event == "test":
            os.kill(os.getpid(), signal.SIGINT)

    def on_iteration(self, solver, loss):
        if self.event == "last" and solver.iter == solver.max_iter:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("event", "iteration"), [("test", 0), ("last", 3)])
def test_ctrl_c_during_a_test_and_in_the_last_iteration(tmp_path, monkeypatch, event, iteration):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, max_iter=3)
    solver = pydl.Solver("solver.prototxt")
    solver.listeners.append(SignalAt(event))
    with signals(solver, "stop", "snapshot"):
        solver.solve()
    assert solver.iter == iteration
    assert (tmp_path / f"run_iter_{iteration}.solverstate").exists()
    solver.listeners.clear()
    solver.solve()  # the request is done with
    assert solver.iter == 3


def test_a_test_that_is_cut_short_is_as_if_not_begun(tmp_path, monkeypatch):
    """So that the tests after a resume see the same data as without the stop."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, test_iter=3)
    solver = pydl.Solver("solver.prototxt")
    forward, calls = solver.test_nets[0]._core, []
    before = forward.layer_state()
    forward.after_forward(lambda layer: calls.append(layer) or solver.request("stop"))
    assert solver.test_all() == []
    assert calls and forward.layer_state() == before
    assert solver.history["test"] == []

"""A run that is killed and resumed ends as if nothing had happened, and no failing write costs a
snapshot that was there."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import NET, environment, run_pydl, start_pydl, write_run

import pydl
from pydl.formats import atomic

# Trains, and kills itself without warning where the arguments say.
KILLED_RUN = """
import os, signal, sys
import pydl
from pydl.formats import atomic
from pydl.solver import Listener

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

what, when = sys.argv[1], int(sys.argv[2])
calls = 0

class Killer(Listener):
    def on_iteration(self, solver, loss):
        if what == "iteration" and solver.iter == when:
            die()

class Os:  # the system calls of atomic writes; the one with number `when` never comes back
    def __getattr__(self, name):
        found = getattr(os, name)
        return found if name not in ("open", "fsync", "replace", "fdopen") else self.counted(found)

    def counted(self, call):
        def wrapped(*args):
            global calls
            calls += 1
            if calls == when:
                die()
            return call(*args)
        return wrapped

if what == "write":
    atomic.os = Os()
solver = pydl.Solver("solver.prototxt")
solver.listeners.append(Killer())
solver.solve(sys.argv[3] if len(sys.argv) > 3 else None)
"""


def run_killed(folder: Path, what: str, when: int, *resume: str, threads: int = 1) -> int:
    return subprocess.run(
        [sys.executable, "-c", KILLED_RUN, what, str(when), *resume],
        cwd=folder, env=environment(OMP_NUM_THREADS=str(threads)), timeout=300, check=False,
    ).returncode  # fmt: skip


def train(folder: Path, *args: str, threads: int) -> bytes:
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-quiet", "-plot", "none", *args, cwd=folder,
        OMP_NUM_THREADS=str(threads),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (folder / "run_iter_60.caffemodel").read_bytes()


def make(tmp_path: Path, name: str, **solver: object) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    write_run(folder, **solver)
    return folder


def newest_state(folder: Path) -> str:
    states = sorted(folder.glob("run_iter_*.solverstate"), key=lambda p: int(p.stem.split("_")[-1]))
    return states[-1].name


@pytest.mark.parametrize("threads", [1, 2])
def test_killed_run_resumes_bit_identical(tmp_path, threads):
    whole = train(make(tmp_path, "whole"), threads=threads)
    folder = make(tmp_path, "killed")
    assert run_killed(folder, "iteration", 33, threads=threads) == -signal.SIGKILL
    assert newest_state(folder) == "run_iter_20.solverstate"
    assert run_killed(folder, "iteration", 47, newest_state(folder), threads=threads) == (
        -signal.SIGKILL
    )
    assert newest_state(folder) == "run_iter_40.solverstate"
    assert train(folder, "-snapshot", newest_state(folder), threads=threads) == whole


def test_the_number_of_threads_may_change_on_the_way(tmp_path):
    whole = train(make(tmp_path, "whole"), threads=1)
    folder = make(tmp_path, "killed")
    assert run_killed(folder, "iteration", 21, threads=1) == -signal.SIGKILL
    resumed = train(folder, "-snapshot", "run_iter_20.solverstate", threads=2)
    mine, theirs = (pydl.Net(str(f / "net.prototxt")) for f in (folder, tmp_path / "whole"))
    mine.load(folder / "run_iter_60.caffemodel")
    theirs.load(tmp_path / "whole" / "run_iter_60.caffemodel")
    assert len(resumed) == len(whole)
    for name, blobs in theirs.params.items():
        for a, b in zip(mine.params[name], blobs, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("policy", ["multistep", "iter_size", "hdf5"])
def test_resumed_state_of_other_solvers(tmp_path, policy):
    fields = {
        "multistep": {"lr_policy": '"multistep"', "stepvalue": 15, "gamma": 0.5},
        "iter_size": {"iter_size": 2, "clip_gradients": 5},
        "hdf5": {"snapshot_format": "HDF5"},
    }[policy]
    if policy == "hdf5":
        pytest.importorskip("h5py")
    suffix = ".h5" if policy == "hdf5" else ""
    finals = []
    for name, stops in (("whole", [60]), ("parts", [20, 40, 60])):
        folder = make(tmp_path, name, snapshot_prefix=f'"{tmp_path / name / "run"}"', **fields)
        for before, stop in zip([None, *stops], stops, strict=False):
            solver = pydl.Solver(folder / "solver.prototxt", max_iter=stop)
            solver.solve(folder / f"run_iter_{before}.solverstate{suffix}" if before else None)
        finals.append([b.data.copy() for blobs in solver.net.params.values() for b in blobs])
    for a, b in zip(*finals, strict=True):
        np.testing.assert_array_equal(a, b)


def test_kill_from_outside(tmp_path):
    folder = make(tmp_path, "killed", max_iter=1_000_000)
    process = start_pydl("train", "-solver", "solver.prototxt", "-progress", "off", cwd=folder)
    for line in process.stderr:
        if "Snapshotting solver state" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    write_run(folder, max_iter=int(newest_state(folder).split("_")[-1].split(".")[0]) + 1)
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-snapshot", newest_state(folder), cwd=folder
    )
    assert done.returncode == 0, done.stderr


def test_killed_at_any_system_call_of_a_snapshot(tmp_path):
    """From the second snapshot on, so that an older one must survive, until it gets through."""
    whole = train(make(tmp_path, "whole"), threads=1)
    folder = make(tmp_path, "killed")
    assert run_killed(folder, "iteration", 21) == -signal.SIGKILL
    when = 0
    while True:
        when += 1
        for path in folder.glob("run_iter_40*"):
            path.unlink()
        if run_killed(folder, "write", when, "run_iter_20.solverstate") == 0:
            break
        state = newest_state(folder)
        if state == "run_iter_40.solverstate" and (folder / "run_iter_60.caffemodel").exists():
            break
        assert train(folder, "-snapshot", state, threads=1) == whole
        (folder / "run_iter_60.caffemodel").unlink()
        (folder / "run_iter_60.solverstate").unlink()
    assert when > 8  # both files of the snapshot: made, synced, renamed, folder synced


class FailingOs:
    """`os` whose call with this number, of those that atomic writes make, fails: disk full."""

    def __init__(self, when: int) -> None:
        self.when, self.calls = when, 0

    def __getattr__(self, name):
        found = getattr(os, name)
        if name not in ("open", "fsync", "replace"):
            return found

        def call(*args):
            self.calls += 1
            if self.calls == self.when:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return found(*args)

        return call


@pytest.fixture
def solver(tmp_path, monkeypatch):
    """A solver with a snapshot at iteration 5, now at iteration 8."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, display=0, snapshot=None)
    solver = pydl.Solver("solver.prototxt")
    solver.step(5)
    solver.snapshot()
    solver.step(3)
    return solver


def assert_older_snapshot_is_good(folder: Path) -> None:
    again = pydl.Solver("solver.prototxt")
    again.restore("run_iter_5.solverstate")
    assert again.iter == 5
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_snapshot_that_fails_at_any_call(solver, tmp_path, monkeypatch):
    for when in range(1, 50):
        failing = FailingOs(when)
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "os", failing)
            before = solver.last_snapshot
            try:
                state = solver.snapshot()
            except pydl.Error as error:
                assert "No space left on device" in str(error)
                assert solver.last_snapshot == before
            else:  # a folder that cannot be opened to be synced is no failure
                if failing.calls < when:
                    break
        assert_older_snapshot_is_good(tmp_path)
    assert when > 6
    pydl.Solver("solver.prototxt").restore(state)


@pytest.mark.parametrize("size", [0, 1000, 20_000])
def test_snapshot_beyond_the_file_size_limit(solver, tmp_path, size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(pydl.Error, match="File too large"):
            solver.snapshot()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert_older_snapshot_is_good(tmp_path)
    assert not list(tmp_path.glob("run_iter_8*"))


def test_training_goes_on_after_a_failed_snapshot(solver, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "os", FailingOs(1))
        with pytest.raises(pydl.Error):
            solver.snapshot()
    solver.step(2)
    assert solver.iter == 10
    assert str(solver.snapshot()) == "run_iter_10.solverstate"


def test_full_disk_in_the_command_names_the_file_and_keeps_what_was_saved(tmp_path):
    write_run(tmp_path)
    os.symlink("/dev/full", tmp_path / "full.log")
    done = run_pydl("train", "-solver", "solver.prototxt", "-log", "full.log", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "full.log: cannot write: No space left on device" in done.stderr


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_truncated_state_is_refused_and_changes_nothing(solver, cut):
    state = Path("run_iter_5.solverstate")
    Path("cut.solverstate").write_bytes(state.read_bytes()[:cut])
    before = [b.copy() for b in everything(solver)]
    with pytest.raises(pydl.Error, match=r"cut\.solverstate"):
        solver.restore("cut.solverstate")
    for a, b in zip(everything(solver), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert solver.iter == 8


def test_state_of_another_net_is_refused_and_changes_nothing(solver, tmp_path):
    other = make(tmp_path, "other", snapshot_prefix='"other/run"')
    (other / "net.prototxt").write_text(NET.replace("num_output: 4", "num_output: 6"))
    theirs = pydl.Solver("other/solver.prototxt", net="other/net.prototxt")
    theirs.step(1)
    state = theirs.snapshot()
    before = [b.copy() for b in everything(solver)]
    with pytest.raises(pydl.Error, match=r"shape|values"):
        solver.restore(state)
    state.with_suffix(".caffemodel").write_bytes(Path("run_iter_5.caffemodel").read_bytes())
    with pytest.raises(pydl.Error, match=r"shape|values"):  # now only the history does not fit
        solver.restore(state)
    for a, b in zip(everything(solver), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert solver.iter == 8


def everything(solver: pydl.Solver) -> list[np.ndarray]:
    """Weights and history."""
    weights = [b.data for blobs in solver.net.params.values() for b in blobs]
    return weights + solver._core.history()


def test_state_with_weights_of_another_run_is_refused(tmp_path, monkeypatch):
    """A run cut off between the two files of a snapshot leaves new weights beside an old state."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    solver = pydl.Solver("solver.prototxt", snapshot_prefix="run")
    solver.step(1)
    state = solver.snapshot()
    solver.step(1)
    solver.net.save("run_iter_1.caffemodel")
    with pytest.raises(pydl.Error, match="is not the file saved with it"):
        solver.restore(state)

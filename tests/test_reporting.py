"""What a run tells: Caffe's log lines, JSON lines, the curve."""

from __future__ import annotations

import json
import logging
import math
import re
from datetime import datetime

import numpy as np
import pytest
from cli_tools import run_pydl, write_run

import pydl
from pydl.reporting import (
    CaffeLog,
    Curve,
    JsonLog,
    Run,
    Scores,
    draw_curve,
    log_to_file,
    log_to_stream,
    read_run,
)
from pydl.reporting.numbers import MOST_VALUES, brief, number, output_lines
from pydl.solver import Listener

PREFIX = re.compile(r"[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6}) +\d+ \S+:\d+\] (.*)")


@pytest.fixture
def solver(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    return pydl.Solver("solver.prototxt")


# ---- numbers ----
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"), (100.0, "100"), (0.00992565417, "0.00992565"), (1e-7, "1e-07"),
        (2.30258512, "2.30259"), (1234567.0, "1.23457e+06"), (math.nan, "nan"), (0, "0"),
        (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_numbers_are_as_a_cpp_stream_prints_them(value, text):
    assert number(value) == text


def test_output_lines_number_every_value_and_weigh_the_loss():
    outputs = {"acc": np.array([0.5, 0.25]), "loss": np.float32(0.5)}
    assert list(output_lines(outputs, {"loss": 2.0, "acc": 0.0})) == [
        ("acc", "0.5"),
        ("acc", "0.25"),
        ("loss", "0.5 (* 2 = 1 loss)"),
    ]
    assert len(list(output_lines({"big": np.zeros((50, 1000))}, {}))) == MOST_VALUES


def test_brief_shows_scalars():
    assert brief({"acc": np.array(0.5), "prob": np.zeros((2, 3)), "l": np.array(1e-5)}) == (
        "acc = 0.5000, l = 1e-05"
    )


# ---- Caffe's lines ----
def caffe_lines(path) -> list[str]:
    lines = path.read_text().splitlines()
    matches = [PREFIX.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return [match[7] for match in matches]


def test_log_has_caffes_lines_in_caffes_order(solver, tmp_path):
    solver.listeners.append(CaffeLog())
    with log_to_file("x.log"):
        solver.solve()
    lines = caffe_lines(tmp_path / "x.log")
    start = lines.index("Solving small")
    number = r"[\d.e+-]+"
    shapes = [
        "Solving small",
        "Learning Rate Policy: inv",
        r"Iteration 0, Testing net \(#0\)",
        rf"    Test net output #0: loss = {number} \(\* 1 = {number} loss\)",
        rf"    Test net output #1: accuracy = {number}",
        rf"Iteration 0 \({number} iter/s, {number}s/10 iters\), loss = {number}",
        rf"    Train net output #0: loss = {number} \(\* 1 = {number} loss\)",
        "Iteration 0, lr = 0.05",
        rf"Iteration 10 \({number} iter/s, {number}s/10 iters\), loss = {number}",
    ]
    for line, shape in zip(lines[start:], shapes, strict=False):
        assert re.fullmatch(shape, line), (line, shape)
    assert "Iteration 10, lr = 0.0465506" in lines  # 0.05 * (1 + 0.01 * 10) ** -0.75
    snapshot = lines.index("Snapshotting to binary proto file run_iter_20.caffemodel")
    assert lines[snapshot + 1] == (
        "Snapshotting solver state to binary proto file run_iter_20.solverstate"
    )
    assert lines[snapshot + 2] == "Iteration 20, Testing net (#0)"
    assert re.fullmatch(rf"Iteration 60, loss = {number}", lines[-2])
    assert lines[-1] == "Optimization Done."


def test_log_is_read_by_the_patterns_of_caffes_parser(solver, tmp_path):
    solver.listeners.append(CaffeLog())
    with log_to_file("x.log"):
        solver.solve()
    iteration, rows = None, []
    for line in (tmp_path / "x.log").read_text().splitlines():
        if found := re.search(r"Iteration (\d+)", line):
            iteration = int(found[1])
        if found := re.search(r"(Train|Test) net output #(\d+): (\S+) = ([\.\deE+-]+)", line):
            rows.append((iteration, found[1], found[3], float(found[4])))
    train = [row for row in rows if row[1] == "Train"]
    assert [row[0] for row in train] == [0, 10, 20, 30, 40, 50]
    for i, _, name, value in train:
        assert name == "loss"
        assert value == pytest.approx(solver.history["loss"][i], rel=1e-5)
    tests = [row for row in rows if row[1:3] == ("Test", "accuracy")]
    assert [row[0] for row in tests] == [0, 20, 40, 60]
    for (_, _, _, value), (_, _, scores) in zip(tests, solver.history["test"], strict=True):
        assert value == pytest.approx(float(scores["accuracy"]), rel=1e-5)


def test_prefix_tells_the_time(solver, tmp_path):
    before = datetime.now().replace(year=2000)
    solver.listeners.append(CaffeLog())
    with log_to_file("x.log"):
        solver.step(1)
    month, day, hour, minute, second, micro, _ = PREFIX.fullmatch(
        (tmp_path / "x.log").read_text().splitlines()[-1]
    ).groups()
    then = datetime(2000, *map(int, (month, day, hour, minute, second, micro)))
    assert abs((then - before).total_seconds()) < 3600


def test_further_lines_of_a_message_have_the_prefix_too(tmp_path):
    with log_to_file(tmp_path / "x.log"):
        logging.getLogger("pydl").warning("one\ntwo")
    text = (tmp_path / "x.log").read_text()
    assert [line[0] for line in text.splitlines()] == ["W", "W"]
    assert caffe_lines(tmp_path / "x.log") == ["one", "two"]


def test_appending_to_a_log(tmp_path):
    for append in (False, True, False):
        with log_to_file(tmp_path / "x.log", append=append):
            logging.getLogger("pydl").info("line")
        if append:
            assert len(caffe_lines(tmp_path / "x.log")) == 2
    assert len(caffe_lines(tmp_path / "x.log")) == 1


def test_logger_is_left_as_it_was(tmp_path):
    logger = logging.getLogger("pydl")
    before = logger.level, list(logger.handlers)
    with pytest.raises(ZeroDivisionError), log_to_file(tmp_path / "x.log"):
        raise ZeroDivisionError
    assert (logger.level, list(logger.handlers)) == before


def test_log_on_a_full_disk_is_an_error():
    with (
        pytest.raises(pydl.Error, match=r"/dev/full: cannot write: No space left"),
        log_to_file("/dev/full"),
    ):
        logging.getLogger("pydl").info("line")


class GoneTerminal:
    def write(self, text):
        raise OSError(5, "Input/output error")

    flush = None


def test_a_terminal_that_has_gone_does_not_end_the_run(solver):
    from pydl.reporting import Progress

    solver.listeners += [CaffeLog(), Progress(GoneTerminal())]
    with log_to_stream(GoneTerminal()):
        solver.step(2)
    assert solver.iter == 2


# ---- JSON lines ----
def test_json_log_has_every_event(solver, tmp_path):
    solver.listeners.append(JsonLog("x.jsonl"))
    solver.solve()
    events = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    for event in events:
        datetime.fromisoformat(event["time"])
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and kinds[-1] == "end"
    count = {kind: kinds.count(kind) for kind in set(kinds)}
    assert count == {
        "start": 1, "iteration": 60, "display": 6, "test": 4, "snapshot": 3, "end": 1
    }  # fmt: skip
    start, end = events[0], events[-1]
    assert (start["net"], start["max_iter"], start["seed"]) == ("small", 60, 3)
    assert end["finished"] is True and "error" not in end
    losses = [event["loss"] for event in events if event["event"] == "iteration"]
    np.testing.assert_allclose(losses, solver.history["loss"], rtol=1e-6)
    display = next(e for e in events if e["event"] == "display" and e["iteration"] == 10)
    assert display["lr"] == pytest.approx(0.05 * 1.1**-0.75, rel=1e-5)
    assert display["outputs"] == {"loss": pytest.approx(solver.history["loss"][10], rel=1e-6)}
    test = next(event for event in events if event["event"] == "test")
    assert test["loss_weights"] == {"accuracy": 0.0, "loss": 1.0}


class Reader(Listener):
    """Reads the log while it is written."""

    def on_iteration(self, solver, loss):
        run = read_run("x.jsonl")
        assert run.iterations == list(range(solver.iter))


def test_json_lines_are_complete_at_once(solver):
    solver.listeners += [JsonLog("x.jsonl"), Reader()]
    solver.step(5)


def test_an_error_is_in_the_json_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, base_lr=1e30)
    solver = pydl.Solver("solver.prototxt")
    solver.listeners.append(JsonLog("x.jsonl"))
    with pytest.raises(pydl.Error, match="the loss is"):
        solver.solve()
    end = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[-1])
    assert end["event"] == "end" and not end["finished"] and "the loss is" in end["error"]


def test_nan_is_null_and_reads_back_as_nan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, base_lr=1e30, max_iter=8)
    solver = pydl.Solver("solver.prototxt", stop_on_nan=False)
    solver.listeners.append(JsonLog("x.jsonl"))
    solver.solve()

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    for line in (tmp_path / "x.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    run = read_run("x.jsonl")
    np.testing.assert_array_equal(np.isnan(run.losses), ~np.isfinite(solver.history["loss"]))
    assert np.isnan(run.losses).any()


def test_a_resumed_run_supersedes_what_came_after_its_snapshot(tmp_path):
    lines = [
        {"event": "start", "iteration": 0, "net": "n", "max_iter": 6},
        *({"event": "iteration", "iteration": i, "loss": 10.0 + i} for i in range(5)),
        {"event": "test", "iteration": 2, "net": 0, "outputs": {"a": 0.1}, "loss_weights": {}},
        {"event": "test", "iteration": 4, "net": 0, "outputs": {"a": 0.2}, "loss_weights": {}},
        {"event": "start", "iteration": 3, "net": "n", "max_iter": 8},
        *({"event": "iteration", "iteration": i, "loss": 20.0 + i} for i in range(3, 6)),
        {"event": "test", "iteration": 4, "net": 0, "outputs": {"a": None}, "loss_weights": {}},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"event": "iteration", "iter'
    (tmp_path / "x.jsonl").write_text(text)
    run = read_run(tmp_path / "x.jsonl")
    assert run.iterations == [0, 1, 2, 3, 4, 5]
    assert run.losses == [10, 11, 12, 23, 24, 25]
    assert [test.iteration for test in run.tests] == [2, 4]
    assert np.isnan(run.tests[1].outputs["a"])
    assert run.max_iter == 8


@pytest.mark.parametrize("text", ["", "\x00\xff", "[]", "3", '{"event": "test"}', "null"])
def test_a_damaged_json_log_reads_as_far_as_it_goes(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text)
    assert read_run(tmp_path / "x.jsonl") == Run()


def test_json_log_errors(tmp_path):
    with pytest.raises(pydl.Error, match=r"cannot be read: No such file"):
        read_run(tmp_path / "nosuch.jsonl")
    (tmp_path / "file").touch()
    with pytest.raises(pydl.Error, match=r"cannot write"):
        JsonLog(tmp_path / "file" / "x.jsonl")


def test_json_log_on_a_full_disk(solver):
    solver.listeners.append(JsonLog("/dev/full"))
    with pytest.raises(pydl.Error, match=r"/dev/full: cannot write: No space left"):
        solver.step(1)


def test_logs_of_a_resumed_run_go_on(tmp_path):
    write_run(tmp_path)
    args = ["train", "-solver", "solver.prototxt", "-quiet", "-plot", "none"]
    assert run_pydl(*args, "-iterations", 40, cwd=tmp_path).returncode == 0
    resume = ["-snapshot", "run_iter_20.solverstate"]
    assert run_pydl(*args, *resume, cwd=tmp_path).returncode == 0
    run = read_run(tmp_path / "run_log.jsonl")
    assert run.iterations == list(range(60))
    assert [test.iteration for test in run.tests] == [0, 20, 40, 60]
    assert "Resuming from run_iter_20.solverstate" in caffe_lines(tmp_path / "run.log")
    assert run_pydl(*args, "-iterations", 5, cwd=tmp_path).returncode == 0  # a new run
    assert read_run(tmp_path / "run_log.jsonl").iterations == list(range(5))


# ---- the curve ----
def some_run(n: int = 300) -> Run:
    rng = np.random.default_rng(0)
    i = np.arange(n)
    losses = 2.3 * np.exp(-i / 60) * rng.uniform(0.5, 1.5, n) + 0.01
    tests = [
        Scores(k, 0, {"accuracy": np.array(0.1 + k / 400), "loss": np.array(2.0)}, {"loss": 1.0})
        for k in range(0, n + 1, 50)
    ]
    return Run("n", n, i.tolist(), losses.tolist(), tests)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_curve_is_a_picture(tmp_path, suffix, magic):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"c{suffix}"
    draw_curve(some_run(), path)
    assert path.read_bytes().startswith(magic)


def test_curve_shows_every_series(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: drawn.append(self))
    run = some_run()
    draw_curve(run, tmp_path / "c.png")
    losses, scores = drawn[0].axes
    labels = [line.get_label() for line in (*losses.get_lines()[1:], *scores.get_lines())]
    assert labels == ["training loss", "test loss", "test accuracy"]
    np.testing.assert_array_equal(losses.get_lines()[0].get_ydata(), run.losses)
    smooth = losses.get_lines()[1].get_ydata()
    assert len(smooth) == 300
    assert smooth[0] == pytest.approx(run.losses[0])
    assert smooth[150] == pytest.approx(np.mean(run.losses[147:154]))
    np.testing.assert_allclose(scores.get_lines()[0].get_ydata(), 0.1 + np.arange(0, 301, 50) / 400)


@pytest.mark.parametrize(
    "run",
    [
        Run(),
        Run("n", 5, [0], [1.0]),
        Run("n", 5, [0, 1], [math.nan, math.nan]),
        Run("n", 5, [0, 1, 2], [-1.0, 0.0, 1.0]),
        Run("n", 5, [], [], [Scores(0, 0, {"a": np.array(math.nan)}, {})]),
        Run("n", 5, [0], [1.0], [Scores(0, 1, {"p": np.zeros(7), "a": np.array(5.0)}, {})]),
    ],
)
def test_curve_of_odd_runs(tmp_path, run):
    pytest.importorskip("matplotlib")
    draw_curve(run, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_curve_of_an_unknown_kind(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(pydl.Error, match=r"unknown kind of picture \.xyz"):
        draw_curve(some_run(), tmp_path / "c.xyz")


def test_a_curve_that_cannot_be_drawn_does_not_end_the_run(solver, tmp_path):
    (tmp_path / "file").touch()
    curve = Curve("file/c.png", "x.jsonl")
    solver.listeners += [JsonLog("x.jsonl"), curve]
    solver.step(2)
    assert curve.error and solver.iter == 2

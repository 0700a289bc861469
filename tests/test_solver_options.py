"""What a solver's file can ask for besides rule and rate: resumption with all of it, average of the
weights, early stopping, states of the nets, debug_info, the displayed loss, what snapshots hold."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from cli_tools import write_run
from net_text import dense, fill_params, layer
from solver_runs import TEXT, batch, feed, params_of, solver_message

import pydl
from pydl import Error, formats
from pydl.caffe.proto import caffe_pb2
from pydl.reporting import CaffeLog
from pydl.solver import Listener

GOLDEN = Path(__file__).parent / "golden"
ADAM = {"type": '"Adam"', "base_lr": 0.01, "momentum2": 0.99}

# Fields of a run's solver.prototxt; None leaves one out.
RUNS = {
    "SGD": {},
    "Nesterov": {"type": '"Nesterov"'},
    "AdaGrad": {"type": '"AdaGrad"', "momentum": None, "delta": 1e-6},
    "RMSProp": {"type": '"RMSProp"', "momentum": None, "rms_decay": 0.9, "base_lr": 0.01},
    "AdaDelta": {"type": '"AdaDelta"', "delta": 1e-6, "base_lr": 1},
    "Adam": ADAM,
    "AdamW": ADAM | {"type": '"AdamW"', "decay_vectors": "false"},
    "warm-up": {"warmup_iters": 30, "warmup_start_lr": 0.001},
    "cosine": {"lr_policy": '"cosine"', "min_lr": 0.001, "warmup_iters": 5},
    "average": ADAM | {"ema_decay": 0.95},
    "plateau": {
        "lr_policy": '"plateau"', "gamma": 0.3, "plateau_patience": 1, "test_interval": 5,
        "min_improvement": 0.05, "monitor": '"accuracy"',
    },
    "plateau of the training loss": {
        "lr_policy": '"plateau"', "gamma": 0.3, "plateau_patience": 1, "test_interval": 3,
        "test_iter": None, "min_improvement": 0.2,
    },
    "plateau by the loss": {
        "lr_policy": '"plateau"', "gamma": 0.3, "plateau_winsize": "[2, 1, 3]", "average_loss": 3,
        "test_iter": None, "test_interval": None,
    },
    "momentum and larc": {
        "momentum_policy": '"poly"', "max_momentum": 0.95, "larc": "true", "rampup_interval": 4,
    },
    "several batches": ADAM | {"iter_size": 2, "clip_gradients": 2, "ema_decay": 0.9},
}  # fmt: skip


def arrays(solver):
    """All that an update works on."""
    weights = [b.data.copy() for blobs in solver.net.params.values() for b in blobs]
    with solver.averaged_weights():
        averages = [b.data.copy() for blobs in solver.net.params.values() for b in blobs]
    return weights + averages + solver._core.history()


@pytest.mark.parametrize("keep", ["all", "outputs"])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_goes_on_bit_for_bit(name, form, keep, tmp_path, monkeypatch):
    if form == "HDF5":
        pytest.importorskip("h5py", reason="the optional package h5py is not installed")
    monkeypatch.chdir(tmp_path)
    write_run(
        tmp_path, **(RUNS[name] | {"snapshot_format": form, "max_iter": 40, "snapshot": None})
    )
    straight = pydl.Solver("solver.prototxt", keep=keep)
    straight.step(17)
    state = straight.snapshot()
    straight.step(14)
    resumed = pydl.Solver("solver.prototxt", keep=keep)
    resumed.restore(state)
    resumed.step(14)
    assert resumed.lr == straight.lr and resumed._core.watch == straight._core.watch
    for got, want in zip(arrays(resumed), arrays(straight), strict=True):
        np.testing.assert_array_equal(got, want)
    assert resumed.history["loss"] == straight.history["loss"][17:]
    if straight.test_nets:
        assert json.dumps(resumed.test_all(), default=np.ndarray.tolist) == json.dumps(
            straight.test_all(), default=np.ndarray.tolist
        )


@pytest.mark.parametrize("name", RUNS)
def test_the_files_of_a_state_are_caffes(name, tmp_path, monkeypatch):
    """All first arrays of the rule, in the order of the parameters, then all second ones."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, **(RUNS[name] | {"snapshot": None}))
    solver = pydl.Solver("solver.prototxt")
    solver.step(3)
    state = formats.solverstate.load(solver.snapshot())
    shapes = [tuple(row["shape"]) for row in solver.net._core.param_rows()]
    twice = solver.param.type in ("AdaDelta", "Adam", "AdamW")
    assert [h.shape for h in state["history"]] == shapes * (2 if twice else 1)


def test_the_state_of_another_type_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    sgd = pydl.Solver("solver.prototxt")
    sgd.step(1)
    adam = pydl.Solver("solver.prototxt", type="Adam")
    with pytest.raises(Error, match=r'holds 4 history blobs.* need 8 \(type "Adam", 4 parameters'):
        adam.restore(sgd.snapshot())


@pytest.mark.parametrize("case", ["sgd", "adam"])
def test_150_iterations_of_caffe(case, monkeypatch):
    monkeypatch.chdir(GOLDEN / "solvers_long" / case)
    solver = pydl.Solver("solver.prototxt", weights=["init.caffemodel"])
    want = np.load("curve.npz")
    pattern = np.random.RandomState(7).randn(10, 1, 20, 20)
    for k in range(150):
        random = np.random.RandomState(1000 + k)
        labels = random.randint(0, 10, 32)
        images = pattern[labels] * 0.5 + random.randn(32, 1, 20, 20)
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels
        solver.step(1)
        if k % 10 == 0:
            assert solver.net.blobs["accuracy"].data == pytest.approx(want["accuracy"][k])
    np.testing.assert_allclose(solver.history["loss"], want["loss"], rtol=0, atol=1e-4)
    for layer_name, blobs in solver.net.params.items():
        for i, blob in enumerate(blobs):
            final = want[f"final/{layer_name}/{i}"]
            np.testing.assert_allclose(blob.data, final, rtol=0, atol=1e-3 * abs(final).max())


# The average of the weights


def test_the_average_is_tested_and_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, ema_decay=0.9, snapshot=None)
    solver = pydl.Solver("solver.prototxt")
    solver.step(20)
    raw = params_of(solver.net)
    with solver.averaged_weights():
        averaged = params_of(solver.net)
    assert all((raw[key] != averaged[key]).any() for key in raw)
    state = solver.snapshot()
    assert sorted(p.name for p in tmp_path.glob("run*")) == [
        "run_iter_20.caffemodel", "run_iter_20.solverstate", "run_iter_20_ema.caffemodel",
    ]  # fmt: skip
    scores = solver.test()
    for file, values in (("run_iter_20", raw), ("run_iter_20_ema", averaged)):
        plain = pydl.Solver("solver.prototxt", weights=[f"{file}.caffemodel"], ema_decay=0)
        for key, value in params_of(plain.net).items():
            np.testing.assert_array_equal(value, values[key])
        assert (plain.test()["loss"] == scores["loss"]) == file.endswith("ema")
    # A run without the average goes on from the same state, and so does one with it from a state
    # that has none: the average begins with the weights that are there.
    plain = pydl.Solver("solver.prototxt", ema_decay=0)
    plain.restore(state)
    state = plain.snapshot()
    solver.restore(state)
    assert not solver._core.has_average


def test_a_damaged_average_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, ema_decay=0.9, snapshot=None)
    solver = pydl.Solver("solver.prototxt")
    solver.step(3)
    state = solver.snapshot()
    solver.step(2)
    before = arrays(solver)
    path = Path("run_iter_3_ema.caffemodel")
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(Error, match="run_iter_3_ema"):
            solver.restore(state)
    path.unlink()
    with pytest.raises(Error, match="run_iter_3_ema.*missing"):
        solver.restore(state)
    for got, want in zip(arrays(solver), before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert solver.iter == 5


# Early stopping


class Scripted(Listener):
    """Makes test net 0 show these losses, one after the other."""

    def __init__(self, solver, losses):
        self.losses = iter(losses)
        net = solver.test_nets[0]
        net._core.before_forward(lambda i: i or self.fill(net))

    def fill(self, net):
        net.blobs["s"].data[...] = next(self.losses)


def scripted_solver(losses, **fields):
    test = layer("Input", "input_param { shape { dim: 1 dim: 1 } }", "", "s")
    test += layer("Flatten", "loss_weight: 1", "s", "score")
    message = solver_message(**({"test_iter": [1], "test_interval": 2, "max_iter": 100} | fields))
    message.train_net_param.CopyFrom(message.net_param)
    message.ClearField("net_param")
    message.test_net_param.add().CopyFrom(pydl.prototxt.parse(test))
    solver = pydl.Solver(message)
    feed(solver.net)
    Scripted(solver, losses)
    return solver


def test_early_stopping(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "pydl")
    solver = scripted_solver([3, 2, 1, 2, 2, 2, 9], early_stop_patience=3, snapshot_prefix="run")
    solver.listeners.append(CaffeLog())
    solver.solve()
    assert solver.stopped_early and solver.iter == 10
    assert [at for at, _, _ in solver.history["test"]] == [0, 2, 4, 6, 8, 10]
    assert solver.last_snapshot == Path("run_iter_10.solverstate")
    assert "Early stopping: no better score in 3 tests" in caplog.messages
    # Resumed, it stays where it is; single steps go on.
    again = scripted_solver([1] * 9, early_stop_patience=3, snapshot_prefix="run")
    again.solve("run_iter_10.solverstate")
    assert again.iter == 10
    again.step(3)
    assert again.iter == 13


def test_plateau_in_a_run():
    solver = scripted_solver(
        [3, 3, 3, 3, 3], lr_policy="plateau", gamma=0.5, plateau_patience=2, max_iter=8,
        snapshot_after_train=False,
    )  # fmt: skip
    rates = []
    for _ in range(8):
        solver.step(1)
        rates.append(solver.lr)
    assert rates == pytest.approx([0.1] * 4 + [0.05] * 4)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"monitor": "accurcy"}, 'no test net has an output "accurcy"; did you mean "accuracy"'),
        ({"monitor": "loss", "early_stop_patience": 0}, "monitor is given, but nothing uses it"),
        ({"test_iter": []}, '"accuracy" is an output of a test net; there is none'),
        ({"test_iter": [], "monitor": "", "test_interval": 0}, "give test_iter or test_interval"),
    ],
)
def test_bad_monitors(fields, words):
    text = TEXT + layer("Accuracy", "include { phase: TEST }", "f t", "accuracy")
    base = {"early_stop_patience": 2, "monitor": "accuracy", "test_iter": [1], "test_interval": 2}
    with pytest.raises(Error, match=re.escape(words)):
        pydl.Solver(solver_message(text, **(base | fields)))


def test_what_is_monitored():
    text = TEXT + layer("Accuracy", "include { phase: TEST }", "f t", "accuracy")
    base = {"early_stop_patience": 2, "test_iter": [1], "test_interval": 2}

    def monitored(**fields):
        monitor = pydl.Solver(solver_message(text, **(base | fields))).monitor
        return monitor.output, monitor.mode

    assert monitored() == ("loss", "MIN")
    assert monitored(monitor="accuracy") == ("accuracy", "MAX")
    assert monitored(monitor="accuracy", monitor_mode="MIN") == ("accuracy", "MIN")
    assert monitored(test_iter=[]) == (None, "MIN")


# States of the nets

STAGES = (
    TEXT
    + layer("Accuracy", 'include { phase: TEST stage: "a" }', "f t", "accuracy")
    + layer("Silence", 'include { min_level: 2 not_stage: "b" }', "h", "", "deep")
)


def names(net):
    return {net._core.layer(i).name for i in range(net._core.layer_count)}


def test_states_of_train_and_test_nets():
    message = solver_message(STAGES, test_iter=[1, 1, 1], test_interval=1)
    message.train_state.level = 2
    message.test_state.add(stage=["a"])
    message.test_state.add(stage=["a", "b"], level=3)
    message.test_state.add(level=2)
    solver = pydl.Solver(message)
    found = [names(net) & {"accuracy", "deep"} for net in (solver.net, *solver.test_nets)]
    assert found == [{"deep"}, {"accuracy"}, {"accuracy"}, {"deep"}]


def test_the_nets_own_state_counts_more_than_the_phase_and_the_solvers_most():
    message = solver_message(STAGES, test_iter=[1], test_interval=1)
    message.net_param.state.phase = "TEST"
    message.net_param.state.stage.append("a")
    solver = pydl.Solver(message)
    assert solver.net.phase == "TEST" and "accuracy" in names(solver.net)
    message.train_state.phase = "TRAIN"
    assert pydl.Solver(message).net.phase == "TRAIN"


def test_as_many_test_states_as_test_nets():
    message = solver_message(test_iter=[1, 1], test_interval=1)
    message.test_state.add(stage=["a"])
    with pytest.raises(Error, match="test_state is given 1 times for 2 test nets"):
        pydl.Solver(message)


def test_test_nets_of_their_own_come_before_the_common_one():
    message = solver_message(test_iter=[1, 2], test_interval=1)
    own = message.test_net_param.add()
    own.CopyFrom(message.net_param)
    own.name = "own"
    solver = pydl.Solver(message)
    assert [net.name for net in solver.test_nets] == ["own", ""]
    fill_params(solver.net)
    for net in solver.test_nets:
        feed(net)
    own, common = solver.test_all()
    assert own["loss"] != common["loss"]  # of one batch and of two


def test_no_test_iterations():
    solver = pydl.Solver(solver_message(test_iter=[0], test_interval=1))
    feed(solver.net)
    solver.step(1)
    assert solver.history["test"] == [(0, 0, {})]


def test_weights_reach_layers_that_only_a_test_net_has(tmp_path):
    extra = dense(2, "f", "g", "extra", 'param { name: "" }').replace(
        "inner_product_param", "include { phase: TEST } inner_product_param"
    )
    text = TEXT + extra + layer("Silence", "include { phase: TEST }", "g", "", "quiet")
    donor = pydl.Solver(solver_message(text, test_iter=[1], test_interval=1)).test_nets[0]
    fill_params(donor)
    donor.save(tmp_path / "donor.caffemodel")
    solver = pydl.Solver(
        solver_message(text, test_iter=[1], test_interval=1,
                       weights=[str(tmp_path / "donor.caffemodel")])
    )  # fmt: skip
    for key, value in params_of(solver.test_nets[0]).items():
        np.testing.assert_array_equal(value, params_of(donor)[key])


def test_the_old_solver_type():
    message = solver_message(solver_type="ADADELTA", momentum=0.9)
    solver = pydl.Solver(message)
    assert solver.param.type == "AdaDelta" and not solver.param.HasField("solver_type")
    with pytest.raises(Error, match=r'both the old solver_type: ADADELTA and type: "Adam"'):
        pydl.Solver(message, type="Adam")


def test_fields_that_change_nothing_on_a_cpu():
    message = solver_message(solver_mode="GPU", device_id=3, layer_wise_reduce=False)
    assert pydl.Solver(message).max_iter == 8


# What is displayed


def caffes_smoothed_losses(losses, count):
    """Caffe's own way, in float32: quirk 21."""
    kept, smoothed, shown = [], np.float32(0), []
    for k, loss in enumerate(np.float32(losses)):
        if len(kept) < count:
            kept.append(loss)
            size = np.float32(len(kept))
            smoothed = (smoothed * (size - np.float32(1)) + loss) / size
        else:
            smoothed += (loss - kept[k % count]) / np.float32(count)
            kept[k % count] = loss
        shown.append(float(smoothed))
    return shown


class Shown(Listener):
    def __init__(self):
        self.losses, self.lines = [], []

    def on_display(self, solver, report):
        self.losses.append(report.loss)

    def on_debug(self, solver, line):
        self.lines.append(line)


def test_the_displayed_loss_is_averaged_as_in_caffe():
    solver = pydl.Solver(solver_message(average_loss=3, display=1))
    fill_params(solver.net)
    feed(solver.net)
    shown = Shown()
    solver.listeners.append(shown)
    solver.step(8)
    assert shown.losses == caffes_smoothed_losses(solver.history["loss"], 3)
    solver.step(2)  # each run begins anew
    assert shown.losses[8:] == caffes_smoothed_losses(solver.history["loss"][8:], 3)


def test_average_loss_must_be_positive():
    with pytest.raises(Error, match="average_loss must be at least 1, got 0"):
        pydl.Solver(solver_message(average_loss=0))


def test_solve_shows_the_loss_after_the_last_update(caplog):
    caplog.set_level(logging.INFO, "pydl")
    solver = pydl.Solver(solver_message(display=4, snapshot_after_train=False))
    solver.listeners.append(CaffeLog())
    fill_params(solver.net)
    feed(solver.net)
    solver.solve()
    for name, value in batch(8).items():
        solver.net.blobs[name].data[...] = value
    loss = solver.net._core.forward(2, solver.net._core.layer_count - 1)
    assert f"Iteration 8, loss = {loss:.6g}" in caplog.messages


def test_the_loss_of_test_nets(caplog):
    caplog.set_level(logging.INFO, "pydl")
    solver = pydl.Solver(
        solver_message(TEXT.replace('tops="loss"', ""), test_iter=[3], test_interval=4,
                       test_compute_loss=True)
    )  # fmt: skip
    solver.listeners.append(CaffeLog())
    feed(solver.net), feed(solver.test_nets[0])
    solver.step(1)
    loss = solver.history["test"][0][2]["loss"]
    assert solver.test_loss[0] == pytest.approx(float(loss), rel=1e-6)
    assert f"Test loss: {solver.test_loss[0]:.6g}" in caplog.messages


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_debug_info(keep, caplog):
    caplog.set_level(logging.INFO, "pydl")
    text = TEXT.replace("param { decay_mult: 3 }", 'param { name: "w" decay_mult: 3 }')
    message = solver_message(text, debug_info=True, display=2, test_iter=[1], test_interval=8)
    solver = pydl.Solver(message, keep=keep)
    quiet = pydl.Solver(message, keep=keep, debug_info=False)
    for s in (solver, quiet):
        for k, (name, blobs) in enumerate(s.net.params.items()):
            for i, blob in enumerate(blobs):
                values = np.random.default_rng(k).standard_normal(blob.shape, np.float32)
                s.net._core.set_param(s.net._core.layer_index(name), i, values)
        for net in (s.net, s.test_nets[0]):
            for name, value in batch(0).items():
                net._core.input_blob(name).data[...] = value
    shown = Shown()
    solver.listeners += [shown, CaffeLog()]
    before = {key: abs(value).mean() for key, value in params_of(solver.net).items()}
    solver.step(1)
    quiet.step(1)
    lines = [re.fullmatch(r"    \[(\w+)\] (.*)", line).groups() for line in shown.lines]
    passes = [which for which, _ in lines]
    assert passes == ["Forward"] * 20 + ["Backward"] * 8 + ["Update"] * 4  # the test net's first
    means = {}
    for which, line in lines[10:]:
        key, _, rest = line.partition(": ")
        means[which, key] = rest
    assert float(means["Forward", "Layer first, param blob 0 data"]) == pytest.approx(
        before["first/0"], rel=1e-5
    )
    assert ("Forward", "Layer second, param blob w data") in means
    assert ("Backward", "Layer second, bottom blob h diff") in means
    assert ("Backward", "Layer second, param blob 0 diff") in means
    update = means["Update", "Layer second, param w data"]
    data, diff = re.fullmatch(r"([\d.e-]+); diff: ([\d.e-]+)", update).groups()
    assert float(data) == pytest.approx(before["second/0"], rel=1e-5)
    gradient = float(means["Backward", "Layer second, param blob 0 diff"])
    assert float(diff) == pytest.approx(0.1 * gradient, rel=1e-4)
    (norms,) = [line for which, line in lines if line.startswith("All net params")]
    assert re.fullmatch(
        r"All net params \(data, diff\): L1 norm = \(\S+, \S+\); L2 norm = \(\S+, \S+\)", norms
    )
    assert shown.lines[0] in caplog.messages
    solver.step(1)  # not displayed
    quiet.step(1)
    assert len(shown.lines) == len(lines)
    for got, want in zip(arrays(solver), arrays(quiet), strict=True):
        np.testing.assert_array_equal(got, want)


# What snapshots hold


@pytest.mark.parametrize("keep", ["all", "outputs"])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_snapshot_diff(form, keep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, snapshot_diff="true", snapshot_format=form, snapshot=None)
    solver = pydl.Solver("solver.prototxt", keep=keep)
    solver.step(2)
    before = params_of(solver.net)
    solver.step(1)
    steps = {key: before[key] - value for key, value in params_of(solver.net).items()}
    state = solver.snapshot()
    diffs = read_diffs(Path(str(state).replace(".solverstate", ".caffemodel")))
    assert diffs.keys() == steps.keys()
    for key, step in steps.items():
        np.testing.assert_allclose(diffs[key], step, rtol=1e-3, atol=1e-6)
    resumed = pydl.Solver("solver.prototxt", keep=keep)
    resumed.restore(state)
    solver.step(2), resumed.step(2)
    for got, want in zip(arrays(resumed), arrays(solver), strict=True):
        np.testing.assert_array_equal(got, want)


def read_diffs(path):
    """What a weight file holds of gradients."""
    if path.suffix == ".h5":
        h5py = pytest.importorskip("h5py", reason="the optional package h5py is not installed")
        with h5py.File(path) as file:
            return {
                f"{name}/{i}": np.array(value)
                for name, group in file["diff"].items()
                for i, value in group.items()
            }
    net = caffe_pb2.NetParameter()
    net.ParseFromString(path.read_bytes())
    return {
        f"{layer.name}/{i}": np.reshape(blob.diff, list(blob.shape.dim))
        for layer in net.layer
        for i, blob in enumerate(layer.blobs)
    }

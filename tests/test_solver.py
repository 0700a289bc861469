"""The solver: learning rates, the update against numpy, snapshots of the core, bits."""

import math

import numpy as np
import pytest
from net_text import dense, fill_params, layer, make_net
from solver_runs import (
    BATCH,
    CLASSES,
    FEATURES,
    SHAPES,
    TEXT,
    assert_params_equal,
    batch,
    data_solver,
    feed,
    make_solver,
    params_of,
    solver_message,
)

import pydl
from pydl import Error, _core, prototxt
from pydl.solver import Listener

# Learning rates

POLICIES = {
    "fixed": ({}, lambda i: 0.1),
    "step": ({"gamma": 0.5, "stepsize": 10}, lambda i: 0.1 * 0.5 ** (i // 10)),
    "exp": ({"gamma": 0.99}, lambda i: 0.1 * 0.99**i),
    "inv": ({"gamma": 0.01, "power": 0.75}, lambda i: 0.1 * (1 + 0.01 * i) ** -0.75),
    "multistep": (
        {"gamma": 0.1, "stepvalue": [5, 20, 20, 50]},
        lambda i: 0.1 * 0.1 ** sum(i >= v for v in (5, 20, 20, 50)),
    ),
    # In float32 as in Caffe: 1 - i / 100 loses digits near the end.
    "poly": ({"power": 2.0}, lambda i: 0.1 * float(1 - np.float32(i) / np.float32(100)) ** 2),
    "sigmoid": (
        {"gamma": -0.1, "stepsize": 40}, lambda i: 0.1 / (1 + math.exp(0.1 * (i - 40)))),
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_learning_rate(policy):
    fields, formula = POLICIES[policy]
    solver, _ = make_solver(lr_policy=policy, **fields)
    for i in range(101):
        solver.iter = i
        assert solver.lr == pytest.approx(formula(i), rel=1e-6, abs=1e-12)


def test_learning_rate_follows_the_steps():
    solver, _ = make_solver(lr_policy="step", gamma=0.5, stepsize=2)
    rates = []
    for _ in range(5):
        rates.append(solver.lr)
        solver.step()
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
    assert solver.iter == 5 and solver.current_step == 2


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"lr_policy": "stepp"}, ['unknown lr_policy "stepp"', 'did you mean "step"']),
        ({"lr_policy": "step"}, ["needs stepsize > 0, got 0"]),
        ({"lr_policy": "poly", "max_iter": 0}, ["needs max_iter > 0"]),
        ({"lr_policy": "multistep", "stepvalue": [5, 3]}, ["stepvalue must not decrease"]),
        ({"type": "SGDD"}, ['unknown solver type "SGDD"', "SGD"]),
        ({"regularization_type": "L3"}, ['unknown regularization_type "L3"']),
        ({"iter_size": 0}, ["iter_size must be at least 1, got 0"]),
        ({"momentum": -0.5}, ["momentum must not be negative, got -0.5"]),
        ({"momentumm": 0.5}, ["momentumm", 'did you mean "momentum"']),
        ({"base_lr": "much"}, ["base_lr"]),
    ],
)
def test_bad_fields(fields, words):
    with pytest.raises(Error) as caught:
        make_solver(**fields)
    for word in words:
        assert word in str(caught.value)


# The update, against numpy in float64


def reference_gradients(weights, k):
    """Loss and gradients of the classifier at float64 weights."""
    x, t = batch(k)["x"].astype(np.float32).astype(np.float64), batch(k)["t"]
    w1, b1, w2, b2 = weights
    h = np.tanh(x @ w1.T + b1)
    f = h @ w2.T + b2
    p = np.exp(f - f.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(BATCH), t]).mean()
    df = (p - np.eye(CLASSES)[t]) / BATCH
    dh = df @ w2 * (1 - h * h)
    return loss, [dh.T @ x, dh.sum(0), df.T @ h, df.sum(0)]


def reference_run(weights, iterations, momentum=0.0, decay=0.0, l1=False, clip=-1.0, iter_size=1):
    weights = [w.astype(np.float64) for w in weights]
    history = [np.zeros_like(w) for w in weights]
    lr_mults, decay_mults = (1, 2, 1, 1), (1, 0, 3, 1)
    losses, k = [], 0
    for _ in range(iterations):
        total, gradients = 0.0, [np.zeros_like(w) for w in weights]
        for _ in range(iter_size):
            loss, more = reference_gradients(weights, k)
            gradients = [g + m for g, m in zip(gradients, more, strict=True)]
            total, k = total + loss, k + 1
        losses.append(total / iter_size)
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        scale = clip / norm if 0 <= clip < norm else 1.0
        for i, w in enumerate(weights):
            g = gradients[i] * scale / iter_size
            g = g + decay * decay_mults[i] * (np.sign(w) if l1 else w)
            history[i] = momentum * history[i] + 0.1 * lr_mults[i] * g
            weights[i] = w - history[i]
    return weights, losses


UPDATES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "L2": {"momentum": 0.9, "decay": 0.01},
    "L1": {"momentum": 0.9, "decay": 0.01, "l1": True},
    "clipped": {"momentum": 0.9, "decay": 0.01, "clip": 0.1},
    "clipped at 0": {"clip": 0.0},
    "not clipped": {"clip": 100.0},
    "three batches": {"momentum": 0.5, "decay": 0.01, "iter_size": 3},
    "three batches, clipped": {"clip": 0.2, "iter_size": 3},
}


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("name", UPDATES)
def test_update(name, isa):
    _core.kernels.set_isa(isa)
    settings = UPDATES[name]
    solver, net = make_solver(
        momentum=settings.get("momentum", 0.0),
        weight_decay=settings.get("decay", 0.0),
        regularization_type="L1" if settings.get("l1") else "L2",
        clip_gradients=settings.get("clip", -1.0),
        iter_size=settings.get("iter_size", 1),
    )
    want, want_losses = reference_run(list(params_of(net).values()), 6, **settings)
    losses = [solver.step() for _ in range(6)]
    for (key, got), value in zip(params_of(net).items(), want, strict=True):
        np.testing.assert_allclose(got, value, rtol=2e-5, atol=2e-6, err_msg=key)
    assert losses == pytest.approx(want_losses, rel=1e-5)


def test_apply_update_uses_the_gradients_that_are_there():
    solver, net = make_solver(fed=False)
    before = params_of(net)
    net._core.clear_param_diffs()
    net.params["first"][0].diff[...] = 2
    solver.apply_update()
    after = params_of(net)
    np.testing.assert_allclose(after["first/0"], before["first/0"] - 0.2, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(after["second/0"], before["second/0"])
    assert solver.iter == 0


def test_frozen_parameters_stay():
    text = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 0 }")
    solver, net = make_solver(text, momentum=0.9, weight_decay=0.1)
    before = params_of(net)
    for _ in range(3):
        solver.step()
    after = params_of(net)
    np.testing.assert_array_equal(after["first/0"], before["first/0"])
    assert (after["first/1"] != before["first/1"]).all()


def test_shared_parameters_are_updated_once():
    text = dense(FEATURES, tops="a", params='param { name: "w" }')
    text += dense(FEATURES, "a", "b", params='param { name: "w" }') + dense(CLASSES, "b", "f")
    solver, net = make_solver(text + layer("SoftmaxWithLoss", bottoms="f t", tops="loss"))
    net._core.clear_param_diffs()
    before = net.params["a"][0].data.copy()
    net._core.forward()
    net.backward()
    gradient = net.params["a"][0].diff.copy()
    solver.apply_update()
    np.testing.assert_allclose(net.params["b"][0].data, before - 0.1 * gradient, rtol=1e-6)


def test_packed_weights_follow_the_update():
    """The forward pass after an update uses the new weights."""
    solver, net = make_solver()
    for _ in range(3):
        solver.step()
    other = make_net(TEXT, SHAPES)
    for key, value in params_of(net).items():
        name, index = key.split("/")
        other.params[name][int(index)].data[...] = value
    inputs = batch(7)
    net._core.before_forward(lambda i: None)
    for name, value in inputs.items():
        net.blobs[name].data[...] = value
    net._core.forward(2, net._core.layer_count - 1)
    want = other.forward(**inputs)["loss"]
    np.testing.assert_array_equal(net.blobs["loss"].data, want)


def test_nan_loss_stops_before_the_update():
    solver, net = make_solver(fed=False)
    solver.stop_on_nan = True
    net.blobs["x"].data[...] = np.nan
    before = params_of(net)
    with pytest.raises(Error, match=r"the loss is -?nan at iteration 0; try a smaller base_lr"):
        solver.step()
    assert_params_equal(params_of(net), before)
    assert solver.iter == 0
    solver.stop_on_nan = False
    assert math.isnan(solver.step())


def test_history_goes_in_and_comes_out():
    solver, net = make_solver(momentum=0.9)
    assert [h.shape for h in solver.history()] == [p.shape for p in params_of(net).values()]
    solver.step()
    history = solver.history()
    assert all(h.any() for h in history)
    solver.set_history([h * 0 for h in history])
    assert not any(h.any() for h in solver.history())
    with pytest.raises(Error, match="holds 3 history blobs, but this solver and net need 4"):
        solver.set_history(history[:3])
    bad = [history[0][:1], *history[1:]]
    with pytest.raises(Error, match=r"history blob 0 .* has 5 values, but the parameter has 20"):
        solver.set_history(bad)
    assert not any(h.any() for h in solver.history()), "nothing was changed"


# Snapshots of the core


@pytest.mark.parametrize("threads", [1, 2])
def test_restored_run_goes_on_bit_for_bit(threads, tmp_path):
    """Weights, history, iteration, place in the data, crops, mirrors and Dropout's draws."""
    pydl.set_num_threads(threads)
    straight, net = data_solver()
    for _ in range(4):
        straight.step()
    path = str(tmp_path / "run.safetensors")
    straight.snapshot(path)
    losses = [straight.step() for _ in range(4)]
    resumed, other = data_solver(seed=99)
    resumed.restore(path)
    assert resumed.iter == 4 and resumed.current_step == 1
    assert [resumed.step() for _ in range(4)] == losses
    assert_params_equal(params_of(other), params_of(net))
    for a, b in zip(resumed.history(), straight.history(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.lr == straight.lr


def test_restoring_in_the_middle_of_the_same_run(tmp_path):
    solver, net = data_solver()
    solver.step()
    path = str(tmp_path / "run.safetensors")
    solver.snapshot(path)
    first = [solver.step() for _ in range(3)], params_of(net)
    solver.restore(path)
    second = [solver.step() for _ in range(3)], params_of(net)
    assert first[0] == second[0]
    assert_params_equal(second[1], first[1])


def test_a_snapshot_replaces_the_older_one_whole(tmp_path):
    solver, _ = make_solver()
    path = tmp_path / "run.safetensors"
    solver.snapshot(str(path))
    first = path.read_bytes()
    solver.step()
    solver.snapshot(str(path))
    assert path.read_bytes() != first
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


@pytest.mark.parametrize("kind", ["cut off", "other net", "weights only", "text", "missing"])
def test_a_bad_snapshot_changes_nothing(kind, tmp_path):
    solver, net = make_solver(momentum=0.9)
    solver.step()
    path = tmp_path / "bad.safetensors"
    words = "bad.safetensors"
    if kind == "cut off":
        solver.snapshot(str(path))
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "other net":
        other, _ = make_solver(TEXT.replace("num_output: 4", "num_output: 7"))
        other.snapshot(str(path))
        words = "7x5.*4x5"
    elif kind == "weights only":
        net.save(path)
        words = "no solver state"
    elif kind == "text":
        path.write_text("base_lr: 0.1 lr_policy: 'fixed'")
    before, history = params_of(net), solver.history()
    with pytest.raises(Error, match=words):
        solver.restore(str(path))
    assert solver.iter == 1
    assert_params_equal(params_of(net), before)
    for a, b in zip(solver.history(), history, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_snapshot_that_cannot_be_written(tmp_path):
    solver, _ = make_solver()
    with pytest.raises(Error, match="no_such_folder"):
        solver.snapshot(str(tmp_path / "no_such_folder" / "run.safetensors"))


# Bits


def run(steps=5, **fields):
    solver, net = data_solver(**fields)
    losses = [solver.step() for _ in range(steps)]
    return losses, params_of(net)


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_are_bit_identical(threads):
    pydl.set_num_threads(threads)
    first, second = run(), run()
    assert first[0] == second[0]
    assert_params_equal(second[1], first[1])


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
def test_runs_do_not_depend_on_the_number_of_threads(isa):
    _core.kernels.set_isa(isa)
    pydl.set_num_threads(1)
    one = run(clip_gradients=0.5)
    pydl.set_num_threads(2)
    two = run(clip_gradients=0.5)
    assert one[0] == two[0]
    assert_params_equal(two[1], one[1])


# pydl.Solver


def test_solver_in_python_is_the_core_run():
    solver = pydl.Solver(solver_message(momentum=0.9, random_seed=3))
    fill_params(solver.net)
    feed(solver.net)
    reference, net = make_solver(momentum=0.9)
    losses = [reference.step() for _ in range(8)]
    solver.step(8)
    assert solver.history["loss"] == losses and solver.iter == 8
    assert solver.history["iteration"] == list(range(8))
    assert_params_equal(params_of(solver.net), params_of(net))


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_update_by_a_gradient_given_by_hand(keep):
    """Cross entropy outside of the net takes the same course as the layer."""
    fields = {"type": "Adam", "lr_policy": "step", "gamma": 0.5, "stepsize": 2, "random_seed": 3}
    text = TEXT[: TEXT.rindex("layer {")].replace('top: "f"', 'top: "f" loss_weight: 1')
    layered = pydl.Solver(solver_message(**fields))
    by_hand = pydl.Solver(solver_message(text, {"x": SHAPES["x"]}, **fields), keep=keep)
    feed(layered.net)
    for k in range(4):
        layered.step()
        x, t = batch(k).values()
        p = np.exp(by_hand.net.forward(x=x)["f"])
        p /= p.sum(axis=1, keepdims=True)
        by_hand.net.clear_param_diffs()
        by_hand.net.backward(f=(p - np.eye(CLASSES)[t]) / BATCH)
        by_hand.update()
        assert (by_hand.iter, by_hand.lr) == (layered.iter, layered.lr)
    want = params_of(layered.net)
    for key, got in params_of(by_hand.net).items():
        np.testing.assert_allclose(got, want[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_update_needs_a_learning_rate():
    message = solver_message()
    message.ClearField("base_lr")
    with pytest.raises(Error, match="base_lr, the learning rate, is missing"):
        pydl.Solver(message).update()


def test_smoothed_loss():
    solver = pydl.Solver(solver_message(average_loss=3))
    assert math.isnan(solver.smoothed_loss)
    fill_params(solver.net)
    feed(solver.net)
    solver.step(5)
    assert solver.smoothed_loss == pytest.approx(np.mean(solver.history["loss"][-3:]))


class Events(Listener):
    def __init__(self):
        self.seen = []

    def on_start(self, solver):
        self.seen.append("start")

    def on_iteration(self, solver, loss):
        self.seen.append(f"iteration {solver.iter}")

    def on_display(self, solver, report):
        self.seen.append(f"display {report.iteration} lr {report.lr:g}")

    def on_test(self, solver, index, scores):
        self.seen.append(f"test {index} at {solver.iter}: {sorted(scores)}")

    def on_end(self, solver):
        self.seen.append("end")


def test_order_of_events():
    text = TEXT + layer("Accuracy", "include { phase: TEST }", "f t", "accuracy")
    solver = pydl.Solver(
        solver_message(text, test_iter=[2], test_interval=2, display=2, max_iter=4,
                       snapshot_after_train=False)
    )  # fmt: skip
    for net in (solver.net, *solver.test_nets):
        feed(net)
    events = Events()
    solver.listeners.append(events)
    solver.solve()
    test = ["test 0 at {}: ['accuracy', 'loss']"]
    assert events.seen == [
        "start", test[0].format(0), "display 0 lr 0.1", "iteration 1", "iteration 2",
        test[0].format(2), "display 2 lr 0.1", "iteration 3", "iteration 4",
        test[0].format(4), "end",
    ]  # fmt: skip
    assert [(at, index) for at, index, _ in solver.history["test"]] == [(0, 0), (2, 0), (4, 0)]


def test_test_nets_use_the_weights_of_training():
    solver = pydl.Solver(solver_message(test_iter=[3], test_interval=5, test_initialization=False))
    feed(solver.net)
    feed(solver.test_nets[0], first=50)
    fill_params(solver.net)
    solver.step(3)
    scores = solver.test()
    net = make_net(TEXT, SHAPES, phase="TEST")
    for key, value in params_of(solver.net).items():
        name, index = key.split("/")
        net.params[name][int(index)].data[...] = value
    want = np.mean([net.forward(**batch(k))["loss"] for k in (50, 51, 52)])
    assert scores["loss"] == pytest.approx(want, rel=1e-6)


def test_learning_lowers_the_loss():
    solver = pydl.Solver(solver_message(max_iter=300, base_lr=0.5, momentum=0.9))
    fill_params(solver.net)
    for name, value in batch(0).items():
        solver.net.blobs[name].data[...] = value
    solver.step(300)
    assert solver.history["loss"][0] > 0.9 and solver.history["loss"][-1] < 0.05


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"test_iter": [1]}, ["test_interval must be given"]),
        ({"test_iter": [1, 1], "test_interval": 1, "net": "a.prototxt"}, ["a.prototxt"]),
        ({"type": "Adamm"}, ["Adamm"]),
    ],
)
def test_bad_solver_messages(fields, words):
    with pytest.raises(Error) as caught:
        pydl.Solver(solver_message(**fields))
    for word in words:
        assert word in str(caught.value)


def test_a_solver_without_a_net():
    with pytest.raises(Error, match="a solver needs one of net, net_param, train_net"):
        pydl.Solver(prototxt.parse("base_lr: 0.1", "SolverParameter"))


def test_nan_names_the_way_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = pydl.Solver(solver_message(snapshot_prefix="run"))
    solver.net.blobs["x"].data[...] = np.nan
    with pytest.raises(Error, match="there is no snapshot yet"):
        solver.step()
    solver.net.blobs["x"].data[...] = 1
    solver.step()
    path = solver.snapshot()
    solver.net.blobs["x"].data[...] = np.nan
    with pytest.raises(Error, match=f"the last good snapshot is {path.name}"):
        solver.step()


def test_overrides():
    solver = pydl.Solver(solver_message(), max_iter=3, base_lr=0.25)
    assert solver.max_iter == 3 and solver.lr == 0.25
    with pytest.raises(Error, match="max_itre"):
        pydl.Solver(solver_message(), max_itre=3)

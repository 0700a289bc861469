"""Every solver type and policy against its formula, and what is wrong with a solver's fields."""

import math

import numpy as np
import pytest
from net_text import dense, fill_params, make_net, normal
from solver_runs import (
    SHAPES,
    TEXT,
    assert_params_equal,
    data_solver,
    make_solver,
    params_of,
    solver_message,
)

import pydl
from pydl import Error, _core, prototxt

TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW")
# Fields with which each type learns the small classifier.
FIELDS = {
    "SGD": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {"delta": 1e-6},
    "RMSProp": {"rms_decay": 0.9, "delta": 1e-6, "base_lr": 0.01},
    "AdaDelta": {"momentum": 0.9, "delta": 1e-6, "base_lr": 1.0},
    "Adam": {"momentum": 0.9, "momentum2": 0.99, "base_lr": 0.01},
    "AdamW": {"momentum": 0.9, "momentum2": 0.99, "base_lr": 0.01},
}

# One parameter's update in float64, as the papers and Caffe have it: (w, g, history) -> w


def momentum_rule(s, t, w, g, h):
    h[0] = s["momentum"] * h[0] + s["rate"] * g
    return w - h[0]


def nesterov_rule(s, t, w, g, h):
    before = h[0]
    h[0] = s["momentum"] * before + s["rate"] * g
    return w - ((1 + s["momentum"]) * h[0] - s["momentum"] * before)


def adagrad_rule(s, t, w, g, h):
    h[0] = h[0] + g**2
    return w - s["rate"] * g / (np.sqrt(h[0]) + s["delta"])


def rmsprop_rule(s, t, w, g, h):
    h[0] = s["rms_decay"] * h[0] + (1 - s["rms_decay"]) * g**2
    return w - s["rate"] * g / (np.sqrt(h[0]) + s["delta"])


def adadelta_rule(s, t, w, g, h):
    rho = s["momentum"]
    h[0] = rho * h[0] + (1 - rho) * g**2
    step = g * np.sqrt((h[1] + s["delta"]) / (h[0] + s["delta"]))
    h[1] = rho * h[1] + (1 - rho) * step**2
    return w - s["rate"] * step


def adam_rule(s, t, w, g, h):
    """As in Caffe: delta beside the root that is not corrected."""
    b1, b2 = s["momentum"], s["momentum2"]
    h[0] = b1 * h[0] + (1 - b1) * g
    h[1] = b2 * h[1] + (1 - b2) * g**2
    rate = s["rate"] * math.sqrt(1 - b2**t) / (1 - b1**t)
    return w - rate * h[0] / (np.sqrt(h[1]) + s["delta"])


def adamw_rule(s, t, w, g, h):
    b1, b2 = s["momentum"], s["momentum2"]
    h[0] = b1 * h[0] + (1 - b1) * g
    h[1] = b2 * h[1] + (1 - b2) * g**2
    step = h[0] / (1 - b1**t) / (np.sqrt(h[1] / (1 - b2**t)) + s["delta"])
    return w - s["rate"] * step - s["rate"] * s["decay"] * s["decayed"](w)


REFERENCES = {
    "SGD": momentum_rule, "Nesterov": nesterov_rule, "AdaGrad": adagrad_rule,
    "RMSProp": rmsprop_rule, "AdaDelta": adadelta_rule, "Adam": adam_rule, "AdamW": adamw_rule,
}  # fmt: skip
LR_MULTS, DECAY_MULTS = (1, 2, 1, 1), (1, 0, 3, 1)  # of the small classifier


def updates_by_hand(solver, net, count, seed=0):
    """Updates with random gradients; returns those."""
    rng, given = np.random.default_rng(seed), []
    for _ in range(count):
        net._core.clear_param_diffs()
        gradients = []
        for row in net._core.param_rows():
            blob = net.params[row["layer"]][row["index"]]
            gradients.append(rng.standard_normal(blob.shape).astype(np.float32))
            blob.diff[...] = gradients[-1]
        given.append(gradients)
        solver.apply_update()
        solver.iter += 1
    return given


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("regularization", ["L2", "L1", "ElasticNet"])
@pytest.mark.parametrize("name", TYPES)
def test_update_rule(name, regularization, isa):
    _core.kernels.set_isa(isa)
    fields = {"weight_decay": 0.02, "lr_policy": "exp", "gamma": 0.9} | FIELDS[name]
    ratio = {"L2": 0, "L1": 1, "ElasticNet": 0.3}[regularization]
    if regularization == "ElasticNet":
        fields["l1_ratio"] = ratio
    solver, net = make_solver(
        type=name, regularization_type=regularization, clip_gradients=4.0, **fields
    )
    before = params_of(net)
    settings = {"momentum": 0, "momentum2": 0.999, "rms_decay": 0.99, "delta": 1e-8} | fields
    settings["decayed"] = lambda w: ratio * np.sign(w) + (1 - ratio) * w
    all_gradients = updates_by_hand(solver, net, 6)
    want = [w.astype(np.float64) for w in before.values()]
    history = [[np.zeros_like(w), np.zeros_like(w)] for w in want]
    for k, gradients in enumerate(all_gradients):
        norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))
        for i, w in enumerate(want):
            decay = 0.02 * DECAY_MULTS[i]
            rate = fields.get("base_lr", 0.1) * 0.9**k * LR_MULTS[i]
            g = gradients[i] * min(1.0, 4.0 / norm)
            if name != "AdamW":
                g = g + decay * settings["decayed"](w)
            now = settings | {"rate": rate, "decay": decay}
            want[i] = REFERENCES[name](now, k + 1, w, g, history[i])
    for (key, got), value in zip(params_of(net).items(), want, strict=True):
        np.testing.assert_allclose(got, value, rtol=2e-5, atol=2e-6, err_msg=key)
    found = solver.history()
    both = [h[0] for h in history] + [h[1] for h in history]
    for got, value in zip(found, both[: len(found)], strict=True):
        np.testing.assert_allclose(got, value, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", TYPES)
def test_the_gradient_is_left_holding_the_update(name):
    """What snapshot_diff saves, as in Caffe."""
    solver, net = make_solver(type=name, weight_decay=0.02, **FIELDS[name])
    updates_by_hand(solver, net, 3)
    before = params_of(net)
    updates_by_hand(solver, net, 1, seed=5)
    for key, value in params_of(net).items():
        layer, index = key.split("/")
        step = net.params[layer][int(index)].diff
        np.testing.assert_allclose(before[key] - step, value, rtol=1e-6, atol=1e-7)
        assert step.any()


def test_adamw_is_torchs():
    torch = pytest.importorskip("torch", reason="the optional peer torch is not installed")
    solver, net = make_solver(
        dense(4, "x", "h", "only"), {"x": (2, 5)}, fed=False, type="AdamW", momentum=0.9,
        base_lr=0.01, weight_decay=0.1, momentum2=0.99, delta=1e-4,
    )  # fmt: skip
    weights = [torch.nn.Parameter(torch.from_numpy(w.copy())) for w in params_of(net).values()]
    peer = torch.optim.AdamW(weights, lr=0.01, betas=(0.9, 0.99), eps=1e-4, weight_decay=0.1)
    for gradients in updates_by_hand(solver, net, 8):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.from_numpy(gradient)
        peer.step()
    for got, weight in zip(params_of(net).values(), weights, strict=True):
        np.testing.assert_allclose(got, weight.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", TYPES)
def test_updates_in_the_backward_pass_give_the_same_bits(name, threads):
    """keep="outputs": each parameter is updated as soon as its gradient is complete."""
    pydl.set_num_threads(threads)
    extras = {"weight_decay": 0.01, "ema_decay": 0.9, "decay_vectors": False}
    weights, averages = [], []
    for keep in ("all", "outputs"):
        net = make_net(TEXT, SHAPES, keep=keep)
        fill_params(net)
        start = [np.array(b.data) for blobs in net.params.values() for b in blobs]
        net = make_net(TEXT, SHAPES, keep=keep)  # fresh: nobody holds arrays of its weights
        for i, row in enumerate(net._core.param_rows()):
            net._core.set_param(net._core.layer_index(row["layer"]), row["index"], start[i])
        for name_, value in {"x": normal(*SHAPES["x"]), "t": np.arange(6) % 3}.items():
            net._core.input_blob(name_).data[...] = value
        solver = _core.Solver(
            {"type": name, "base_lr": 0.1, "max_iter": 9} | extras | FIELDS[name], net._core
        )
        for _ in range(5):
            solver.step()
        weights.append(params_of(net))
        solver.swap_average()
        averages.append(params_of(net))
    assert_params_equal(weights[1], weights[0])
    assert_params_equal(averages[1], averages[0])
    assert all((weights[0][key] != averages[0][key]).any() for key in weights[0])


@pytest.mark.parametrize("name", TYPES)
def test_every_type_lowers_the_loss(name):
    solver, _ = make_solver(type=name, fed=False, **({"base_lr": 0.1} | FIELDS[name]))
    net = solver.net
    for key, value in {"x": normal(*SHAPES["x"]), "t": np.arange(6) % 3}.items():
        net.input_blob(key).data[...] = value
    losses = [solver.step() for _ in range(200)]
    assert losses[-1] < 0.3 * losses[0]


def test_vectors_without_decay():
    solver, net = make_solver(weight_decay=0.1, decay_vectors=False)
    before = params_of(net)
    net._core.clear_param_diffs()
    solver.apply_update()
    after = params_of(net)
    for key in ("first/1", "second/1"):
        np.testing.assert_array_equal(after[key], before[key])
    np.testing.assert_allclose(after["first/0"], 0.99 * before["first/0"], rtol=1e-6)


# The average of the weights


def test_average_of_the_weights():
    solver, net = make_solver(ema_decay=0.5)
    before = params_of(net)
    want = {key: value.astype(np.float64) for key, value in before.items()}
    assert not solver.has_average
    solver.swap_average()
    assert_params_equal(params_of(net), before)
    for k in range(12):
        solver.step()
        keep = min(0.5, (1 + k) / (10 + k))
        now = params_of(net)
        want = {key: keep * want[key] + (1 - keep) * now[key] for key in now}
    solver.swap_average()
    for key, value in params_of(net).items():
        np.testing.assert_allclose(value, want[key], rtol=1e-5, atol=1e-6)
    solver.swap_average()
    assert_params_equal(params_of(net), now)


def test_frozen_parameters_are_in_the_average_as_they_are():
    text = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 0 }")
    solver, net = make_solver(text, ema_decay=0.9)
    solver.step()
    net.params["first"][0].data[...] = 7
    solver.swap_average()
    assert (net.params["first"][0].data == 7).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", TYPES)
def test_the_cores_snapshot_of_every_type(name, threads, tmp_path):
    """What an embedding program resumes from: with the average and the scores seen."""
    pydl.set_num_threads(threads)
    fields = {
        "type": name, "momentum": 0, "lr_policy": "plateau", "plateau_patience": 1, "gamma": 0.5,
        "stepvalue": [], "ema_decay": 0.9, "early_stop_patience": 5,
    } | FIELDS[name]  # fmt: skip
    straight, net = data_solver(**fields)

    def run(solver, first):
        for k in range(4):
            solver.step()
            solver.observe([1.0, 2.0, 3.0, 0.5][(first + k) % 4])

    run(straight, 0)
    path = str(tmp_path / "run.safetensors")
    straight.snapshot(path)
    run(straight, 1)
    resumed, other = data_solver(seed=99, **fields)
    resumed.restore(path)
    run(resumed, 1)
    assert resumed.lr == straight.lr and resumed.watch == straight.watch
    for _ in range(2):
        assert_params_equal(params_of(other), params_of(net))
        straight.swap_average(), resumed.swap_average()


# Learning rates


def rates(count=101, **fields):
    solver, _ = make_solver(**fields)
    found = []
    for i in range(count):
        solver.iter = i
        found.append(solver.lr)
    return found


def test_cosine():
    want = [0.01 + 0.09 * (1 + math.cos(math.pi * min(i, 100) / 100)) / 2 for i in range(111)]
    assert rates(111, lr_policy="cosine", min_lr=0.01) == pytest.approx(want, rel=1e-6)
    assert rates(101, lr_policy="cosine")[100] == pytest.approx(0, abs=1e-8)


def test_warm_up():
    found = rates(lr_policy="step", stepsize=50, gamma=0.1, warmup_iters=10, warmup_start_lr=0.02)
    assert found[:10] == pytest.approx([0.02 + 0.008 * i for i in range(10)], rel=1e-6)
    assert found[10:50] == pytest.approx([0.1] * 40) and found[50] == pytest.approx(0.01)
    assert rates(3, warmup_iters=4) == pytest.approx([0, 0.025, 0.05])


def test_plateau():
    solver, _ = make_solver(lr_policy="plateau", gamma=0.5, plateau_patience=2, min_lr=0.02)
    found = []
    for score in (3, 2, 2.5, 1.99999, 1.9, 2, math.nan, 5, 5, 5, 5, 5, 5):
        solver.observe(score)
        found.append(solver.lr)
    # 1.99999 is not better than 2 by a ten thousandth; NaN is never better
    want = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.02, 0.02, 0.02, 0.02, 0.02]
    assert found == pytest.approx(want)
    assert solver.watch == {"best": 1.9, "since_best": 8}


def test_plateau_and_early_stopping_of_scores_that_are_to_be_large():
    solver, _ = make_solver(
        lr_policy="plateau", gamma=0.1, plateau_patience=1, monitor_mode="MAX",
        early_stop_patience=3, min_improvement=0.1,
    )  # fmt: skip
    for score, stop in ((0.5, False), (0.54, False), (0.56, False), (0.6, False), (0.61, False),
                        (0.1, True), (0.9, False)):  # fmt: skip
        solver.observe(score)
        assert solver.should_stop == stop
    assert solver.lr == pytest.approx(1e-5)  # lowered four times


# What is wrong with the fields


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"type": "adam"}, ['unknown solver type "adam"', 'did you mean "Adam"?', "AdaDelta"]),
        ({"type": "AdaGrad", "momentum": 0.9}, ['cannot be used with type "AdaGrad", got 0.9']),
        ({"type": "RMSProp", "momentum": 0.9}, ['cannot be used with type "RMSProp"']),
        ({"type": "RMSProp", "rms_decay": 1.0}, ["rms_decay must be at least 0 and less than 1"]),
        ({"type": "Adam", "momentum": 1.0}, ["momentum must be at least 0 and less than 1, got 1"]),
        ({"type": "AdamW", "momentum2": 1.5}, ["momentum2 must be"]),
        ({"type": "AdaDelta", "momentum": 2.0}, ["momentum must be"]),
        ({"delta": -1.0}, ["delta must not be negative"]),
        ({"regularization_type": "Elastic"}, ['unknown regularization_type "Elastic"', "L2, El"]),
        ({"l1_ratio": 0.5}, ['l1_ratio is for regularization_type "ElasticNet"']),
        ({"regularization_type": "ElasticNet", "l1_ratio": 1.5}, ["from 0 to 1, got 1.5"]),
        ({"clip_value": 1.0, "clip_gradients": 2.0}, ["are both given; use one of them"]),
        ({"lr_policy": "cosin"}, ['did you mean "cosine"?']),
        ({"lr_policy": "multistep", "gamma": 0.1}, ['"multistep" needs stepvalue']),
        ({"lr_policy": "step", "stepsize": 5}, ['"step" needs gamma']),
        ({"lr_policy": "exp"}, ['"exp" needs gamma']),
        ({"lr_policy": "inv", "gamma": -1.0}, ["gamma >= 0, got -1"]),
        ({"lr_policy": "sigmoid", "gamma": 0.1}, ['"sigmoid" needs stepsize > 0, got 0']),
        ({"lr_policy": "cosine", "max_iter": 0}, ["needs max_iter > 0"]),
        ({"lr_policy": "plateau", "gamma": 1.5}, ["needs gamma between 0 and 1"]),
        ({"lr_policy": "plateau", "gamma": 0.5, "plateau_patience": 0}, ["must be positive"]),
        ({"min_lr": 0.01}, ["min_lr is for lr_policy cosine, plateau and poly"]),
        ({"lr_policy": "cosine", "min_lr": 0.5}, ["min_lr must be from 0 to base_lr"]),
        ({"plateau_patience": 3}, ['"fixed" does not use it']),
        ({"warmup_start_lr": 0.1}, ["without warmup_iters"]),
        ({"warmup_iters": -1}, ["warmup_iters must not be negative"]),
        ({"min_improvement": 0.1}, ["neither is given"]),
        ({"early_stop_patience": -1}, ["early_stop_patience must not be negative"]),
        ({"ema_decay": 1.0}, ["ema_decay must be at least 0 and less than 1, got 1"]),
        ({"monitor_mode": "MOST"}, ["MOST", "MIN, MAX"]),
    ],
)
def test_bad_fields(fields, words):
    with pytest.raises(Error) as caught:
        make_solver(**fields)
    for word in words:
        assert word in str(caught.value)


def test_errors_name_the_line(tmp_path):
    path = tmp_path / "solver.prototxt"
    message = solver_message(lr_policy="multistep", gamma=0.1)
    path.write_text('# a\n# solver\nlr_policy: "stepp"\nbase_lr: 0.1\nmax_iter: 8\n')
    file = prototxt.load_solver(path)
    file.net_param.CopyFrom(message.net_param)
    with pytest.raises(Error, match=r'solver\.prototxt:3:\d+: unknown lr_policy "stepp"'):
        pydl.Solver(file)
    with pytest.raises(Error, match=r'solver\.prototxt: lr_policy "step" needs stepsize'):
        pydl.Solver(file, lr_policy="step")


def test_a_missing_base_lr():
    message = solver_message()
    message.ClearField("base_lr")
    solver = pydl.Solver(message)
    with pytest.raises(Error, match="base_lr, the learning rate, is missing"):
        solver.step(1)


def test_fields_without_use_are_noted():
    fields = {"type": "AdaGrad", "rms_decay": 0.9, "stepsize": 5, "power": 2.0}
    assert pydl.Solver(solver_message(**fields)).notes == [
        'rms_decay is not used by type "AdaGrad"',
        'power is not used by lr_policy "fixed"',
        'stepsize is not used by lr_policy "fixed"',
    ]
    (note,) = pydl.Solver(solver_message(type="Adam")).notes
    assert note == 'momentum is not given, so it is 0; 0.9 is usual for type "Adam"'

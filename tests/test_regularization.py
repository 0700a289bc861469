"""Clipping by value, max-norm, noise on weights, dropout of weights and loss_weight schedules: what
a solver does besides its rule, against numpy and torch; and that a resumed run goes on in the same
way."""

import math

import numpy as np
import pytest
from net_text import dense, fill_params, layer, make_net, normal
from solver_runs import (
    SHAPES,
    TEXT,
    assert_params_equal,
    make_solver,
    params_of,
    solver_message,
)

import pydl
from pydl import Error, _core

# Clipping by value


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("iter_size", [1, 2])
def test_clip_value(isa, iter_size):
    """The mean gradient's values, before the decay, as torch.nn.utils.clip_grad_value_."""
    _core.kernels.set_isa(isa)
    solver, net = make_solver(clip_value=0.5, weight_decay=0.1, iter_size=iter_size)
    before = params_of(net)
    rng, gradients = np.random.default_rng(0), {}
    net._core.clear_param_diffs()
    for key in before:
        name, index = key.split("/")
        blob = net.params[name][int(index)]
        gradients[key] = rng.standard_normal(blob.shape).astype(np.float32)
        blob.diff[...] = gradients[key]
    solver.apply_update()
    rates, decays = (1, 2, 1, 1), (1, 0, 3, 1)
    for (key, w), rate, decay in zip(before.items(), rates, decays, strict=True):
        clipped = np.clip(gradients[key] / iter_size, -0.5, 0.5)
        want = w - 0.1 * rate * (clipped + 0.1 * decay * w)
        np.testing.assert_allclose(params_of(net)[key], want, rtol=1e-5, atol=1e-7)


def test_clip_value_is_torchs():
    torch = pytest.importorskip("torch", reason="the optional peer torch is not installed")
    solver, net = make_solver(
        dense(4, "x", "h", "only"), {"x": (2, 5)}, fed=False, type="Adam", momentum=0.9,
        base_lr=0.01, clip_value=0.3, delta=0,
    )  # fmt: skip
    weights = [torch.nn.Parameter(torch.from_numpy(w.copy())) for w in params_of(net).values()]
    peer = torch.optim.Adam(weights, lr=0.01, eps=0)
    rng = np.random.default_rng(1)
    for _ in range(5):
        net._core.clear_param_diffs()
        for blob, weight in zip(net.params["only"], weights, strict=True):
            blob.diff[...] = rng.standard_normal(blob.shape)
            weight.grad = torch.from_numpy(blob.diff.copy())
        torch.nn.utils.clip_grad_value_(weights, 0.3)
        peer.step()
        solver.apply_update()
        solver.iter += 1
    for got, weight in zip(params_of(net).values(), weights, strict=True):
        np.testing.assert_allclose(got, weight.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_wide_clip_value_changes_nothing():
    runs = []
    for fields in ({}, {"clip_value": 1e6}):
        solver, net = make_solver(momentum=0.9, **fields)
        for _ in range(5):
            solver.step()
        runs.append(params_of(net))
    for key in runs[0]:
        np.testing.assert_allclose(runs[1][key], runs[0][key], rtol=1e-6, atol=1e-7)


# Max-norm


def row_norms(weights):
    return np.sqrt((weights.reshape(len(weights), -1).astype(np.float64) ** 2).sum(1))


MAX_NORM = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 1 max_norm: 0.8 }")


def test_max_norm_is_a_projection_after_the_update():
    solver, net = make_solver(MAX_NORM)
    free, other = make_solver(TEXT)
    solver.step(), free.step()
    got, want = params_of(net), params_of(other)
    norms = row_norms(want["first/0"])
    assert (norms > 0.8).any()
    want["first/0"] *= np.minimum(1, 0.8 / norms)[:, None]
    np.testing.assert_allclose(got["first/0"], want["first/0"], rtol=1e-5)
    for key in ("first/1", "second/0", "second/1"):
        np.testing.assert_array_equal(got[key], want[key])
    for _ in range(20):
        solver.step()
        assert row_norms(params_of(net)["first/0"]).max() < 0.8 * (1 + 1e-6)


def test_max_norm_is_torchs_renorm():
    torch = pytest.importorskip("torch", reason="the optional peer torch is not installed")
    text = layer("Convolution", "param { max_norm: 0.5 } convolution_param "
                 "{ num_output: 6 kernel_size: 3 }", name="c")  # fmt: skip
    solver, net = make_solver(text, {"x": (1, 4, 5, 5)}, fed=False)
    before = params_of(net)["c/0"]
    net._core.clear_param_diffs()
    solver.apply_update()
    want = torch.renorm(torch.from_numpy(before), 2, 0, 0.5).numpy()
    np.testing.assert_allclose(params_of(net)["c/0"], want, rtol=1e-5)


def test_max_norm_comes_before_the_average():
    """The first average is d start + (1 - d) weights, d = 1 / 10."""
    solver, net = make_solver(MAX_NORM, ema_decay=0.5)
    start = params_of(net)["first/0"]
    solver.step()
    now = params_of(net)["first/0"]
    solver.swap_average()
    want = 0.1 * start + 0.9 * now
    np.testing.assert_allclose(params_of(net)["first/0"], want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_max_norm_with_little_memory_gives_the_same_bits(threads):
    pydl.set_num_threads(threads)
    results = []
    for keep in ("all", "outputs"):
        solver = pydl.Solver(solver_message(MAX_NORM, random_seed=1), keep=keep)
        for name, value in {"x": normal(*SHAPES["x"]), "t": np.arange(6) % 3}.items():
            solver.net._core.input_blob(name).data[...] = value
        solver.step(5)
        results.append(params_of(solver.net))
    assert_params_equal(*results)


# Noise on weights

NOISY = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 1 noise: 0.3 }")


def test_noise_is_there_in_the_passes_and_gone_after():
    """With a rate of 0 the weights stay, bit for bit; the passes see others each time."""
    solver, net = make_solver(NOISY, base_lr=0.0, fed=False)
    before, seen = params_of(net), []
    net._core.before_forward(lambda i: i == 0 and seen.append(params_of(net)))
    net._core.after_backward(lambda i: i == 0 and seen.append(params_of(net)))
    for _ in range(2):
        solver.step()
    assert_params_equal(params_of(net), before)
    first, back, second, _ = seen
    assert_params_equal(first, back)
    difference = (first["first/0"] - before["first/0"]) / 0.3
    assert 0.5 < difference.std() < 1.5 and abs(difference.mean()) < 0.7
    assert (first["first/0"] != second["first/0"]).all()
    for key in ("first/1", "second/0", "second/1"):
        np.testing.assert_array_equal(first[key], before[key])


def test_the_update_is_of_clean_weights_by_noisy_gradients():
    solver, net = make_solver(NOISY, base_lr=0.1)
    before, gradients = params_of(net), []

    def keep_gradient(index):
        if index == 0:
            gradients.append(net.params["first"][0].diff.copy())

    net._core.after_backward(keep_gradient)
    solver.step()
    want = before["first/0"] - 0.1 * gradients[0]
    np.testing.assert_allclose(params_of(net)["first/0"], want, rtol=1e-5, atol=1e-7)
    plain, other = make_solver(TEXT, base_lr=0.1)
    plain.step()
    assert (params_of(other)["first/0"] != params_of(net)["first/0"]).any()


def test_noise_goes_with_an_error():
    solver, net = make_solver(NOISY)
    before = params_of(net)
    net.params["second"][0].data[...] = np.nan
    solver.stop_on_nan = True
    with pytest.raises(Error, match="the loss is"):
        solver.step()
    np.testing.assert_array_equal(params_of(net)["first/0"], before["first/0"])


def assert_resumes(text, tmp_path):
    """A run that was stopped and goes on ends with the weights of one that was not."""
    straight, net = make_solver(text, momentum=0.9, iter_size=2)
    for _ in range(6):
        straight.step()
    stopped, _ = make_solver(text, momentum=0.9, iter_size=2)
    for _ in range(3):
        stopped.step()
    stopped.snapshot(str(tmp_path / "state"))
    resumed, other = make_solver(text, momentum=0.9, iter_size=2, seed=9, first=6)
    resumed.restore(str(tmp_path / "state"))
    for _ in range(3):
        resumed.step()
    assert_params_equal(params_of(other), params_of(net))


def test_noise_and_schedules_resume(tmp_path):
    text = NOISY.replace('type: "SoftmaxWithLoss"', 'type: "SoftmaxWithLoss" '
                         "loss_weight_schedule { iterations: 8 start: 0.2 }")  # fmt: skip
    assert "schedule" in text
    assert_resumes(text, tmp_path)


# Dropout of weights

DROPPED = TEXT.replace("param { lr_mult: 1 }", "param { lr_mult: 1 dropout_ratio: 0.4 }")


def passes_of(solver, net, key="first"):
    """The weights and the gradient of a param after each backward pass of a solver."""
    seen = []

    def keep_pass(index):
        if index == 0:
            blob = net.params[key][0]
            seen.append((blob.data.copy(), blob.diff.copy()))

    net._core.after_backward(keep_pass)
    return seen


def test_dropped_weights_are_back_after_the_pass():
    solver, net = make_solver(DROPPED, base_lr=0.0, fed=False)
    before = params_of(net)
    seen = passes_of(solver, net)
    for _ in range(40):
        solver.step()
    assert_params_equal(params_of(net), before)
    masks = np.array([weights != 0 for weights, _ in seen])
    assert masks.mean() == pytest.approx(0.6, abs=0.05)
    assert masks.mean(axis=0).min() > 0.1 and masks.mean(axis=0).max() < 1
    for weights, _ in seen:
        np.testing.assert_allclose(
            weights, np.where(weights != 0, before["first/0"] / np.float32(0.6), 0), rtol=1e-6
        )


@pytest.mark.parametrize("iter_size", [1, 3])
def test_the_gradient_of_dropped_weights(iter_size):
    """As torch's dropout of a weight has it: what a pass gives goes through that pass's mask."""
    solver, net = make_solver(DROPPED, base_lr=0.1, momentum=0.0, iter_size=iter_size)
    before = params_of(net)
    seen = passes_of(solver, net)
    solver.step()
    assert len(seen) == iter_size
    total = sum(gradient * (weights != 0) / 0.6 for weights, gradient in seen)
    update = before["first/0"] - params_of(net)["first/0"]
    np.testing.assert_allclose(update, 0.1 * total / iter_size, rtol=1e-4, atol=1e-6)
    assert np.abs(total).max() > 0


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_dropped_recurrent_weights(kind):
    """The product with W_h, whose packed copy follows the mask, and its gradient."""
    text = (
        layer(kind, "recurrent_param { num_output: 6 } "
              "param {} param {} param { dropout_ratio: 0.5 }", "x cont", "h")
        + layer("EuclideanLoss", "", "h target", "loss")
    )  # fmt: skip
    shapes = {"x": (5, 4, 3), "cont": (5, 4), "target": (5, 4, 6)}
    solver, net = make_solver(text, shapes, base_lr=0.5, fed=False)
    _, plain = make_solver(text.replace("dropout_ratio: 0.5", ""), shapes, fed=False)
    rng = np.random.default_rng(3)
    for name, value in (
        ("x", rng.normal(size=(5, 4, 3))),
        ("cont", np.arange(5)[:, None] > 0),
        ("target", rng.normal(size=(5, 4, 6))),
    ):
        net.blobs[name].data[...] = plain.blobs[name].data[...] = value
    seen = []
    net._core.after_backward(
        lambda _: seen.append(
            (params_of(net), net.blobs["h"].data.copy(), net.params["h"][2].diff.copy())
        )
    )
    for _ in range(3):
        before = net.params["h"][2].data.copy()
        solver.step()
        weights, output, gradient = seen[-1]
        kept = weights["h/2"] != 0
        assert 0.2 < kept.mean() < 0.8
        for row, value in zip(plain.params["h"], weights.values(), strict=True):
            row.data[...] = value
        plain.forward()
        np.testing.assert_array_equal(plain.blobs["h"].data, output)
        change = before - net.params["h"][2].data
        np.testing.assert_allclose(change, 0.5 * gradient * kept / 0.5, rtol=1e-5, atol=1e-7)


def test_dropout_of_weights_resumes(tmp_path):
    assert_resumes(DROPPED, tmp_path)


# Shared parameters, files, and what is refused


def test_shared_parameters_agree():
    def two(first, second):
        return dense(5, "x", "a", params=f"param {{ name: 'w' {first} }}") + dense(
            5, "a", "b", params=f"param {{ name: 'w' {second} }}"
        )

    net = make_net(two("max_norm: 2 noise: 0.1 dropout_ratio: 0.5", ""), {"x": (2, 5)})
    row = net._core.param_rows()[0]
    assert row["max_norm"] == 2 and row["noise"] == pytest.approx(0.1)
    assert row["dropout_ratio"] == 0.5
    for field, here, there in (("max_norm", 2, 3), ("noise", 2, 3), ("dropout_ratio", 0.5, 0.25)):
        with pytest.raises(Error, match=f'param "w" has {field} {here}, but {there} in layer "a"'):
            make_net(two(f"{field}: {there}", f"{field}: {here}"), {"x": (2, 5)})


@pytest.mark.parametrize(
    "field, words",
    [("max_norm: 0", "max_norm must be positive, got 0"),
     ("max_norm: -1", "max_norm must be positive, got -1"),
     ("noise: -0.5", "noise must not be negative, got -0.5"),
     ("dropout_ratio: -0.5", "dropout_ratio must be at least 0 and less than 1, got -0.5"),
     ("dropout_ratio: 1", "dropout_ratio must be at least 0 and less than 1, got 1"),
     ("max_nrom: 1", 'did you mean "max_norm"')],
)  # fmt: skip
def test_bad_params(field, words):
    with pytest.raises(Error, match=words):
        make_net(dense(3, params=f"param {{ {field} }}"), {"x": (2, 5)})


def test_a_net_with_pydls_own_fields_can_be_saved(tmp_path):
    text = dense(3, "x", "f", params="param { max_norm: 2 noise: 0.1 dropout_ratio: 0.2 }") + layer(
        "SoftmaxWithLoss", "loss_weight_schedule { iterations: 5 }", "f t", "loss"
    )
    net = make_net(text, {"x": (2, 5), "t": (2,)})
    for name in ("net.caffemodel", "net.caffemodel.h5", "net.safetensors"):
        if name.endswith("h5"):
            pytest.importorskip("h5py")
        net.save(str(tmp_path / name))
        again = make_net(text, {"x": (2, 5), "t": (2,)})
        again.load(str(tmp_path / name))
        assert_params_equal(params_of(again), params_of(net))


# loss_weight schedules

TWO_LOSSES = (
    dense(3, "x", "f")
    + layer("SoftmaxWithLoss", bottoms="f t", tops="fit")
    + layer("EuclideanLoss", "{weight} {schedule}", "f z", "pull")
)
INPUTS = {"x": (4, 5), "t": (4,), "z": (4, 3)}


def two_losses(schedule, weight="loss_weight: 2"):
    text = TWO_LOSSES.replace("{weight}", weight)
    return text.replace("{schedule}", f"loss_weight_schedule {{ {schedule} }}" if schedule else "")


def policy(p, name, start, end, power=1):
    left = {"linear": 1 - p, "poly": (1 - p) ** power, "step": float(p < 1),
            "cosine": (1 + math.cos(math.pi * p)) / 2}[name]  # fmt: skip
    return end + (start - end) * left


@pytest.mark.parametrize(
    "fields",
    [
        {"policy": "linear"},
        {"policy": "poly", "power": 2, "start": 1, "end": 0.25},
        {"policy": "cosine", "start": 0.5, "delay": 3},
        {"policy": "step", "end": 3},
        {"policy": "linear", "period": 6},
    ],
)
def test_schedules(fields):
    """The loss of each iteration is that of its parts, weighed by the formula."""
    quoted = {k: f'"{v}"' if isinstance(v, str) else v for k, v in fields.items()}
    schedule = " ".join(f"{k}: {v}" for k, v in quoted.items()) + " iterations: 4"
    solver = pydl.Solver(solver_message(two_losses(schedule), INPUTS, random_seed=1, base_lr=0.01))
    rng = np.random.default_rng(0)
    for name, shape in INPUTS.items():
        value = np.arange(4) % 3 if name == "t" else rng.standard_normal(shape)
        solver.net._core.input_blob(name).data[...] = value
    for k in range(12):
        done = max(k - fields.get("delay", 0), 0) % fields.get("period", 1000)
        factor = policy(min(done / 4, 1), fields["policy"], fields.get("start", 0),
                        fields.get("end", 1), fields.get("power", 1))  # fmt: skip
        loss = solver.step()
        fit, pull = (float(solver.net.blobs[name].data) for name in ("fit", "pull"))
        assert loss == pytest.approx(fit + 2 * factor * pull, rel=1e-5)
        assert solver.net.loss_weights == pytest.approx({"fit": 1, "pull": 2 * factor})


def test_a_weight_of_0_stops_the_gradient():
    """And not only the loss: the top's diff is 0, not what it was before."""
    free = make_net(two_losses("", "loss_weight: 0"), INPUTS)
    net = make_net(two_losses("start: 1 end: 0 iterations: 1 policy: 'step'"), INPUTS)
    rng = np.random.default_rng(0)
    inputs = {n: rng.standard_normal(s) for n, s in INPUTS.items()} | {"t": np.arange(4) % 3}
    gradients = []
    for each in (free, net):
        fill_params(each)
        solver = _core.Solver({"base_lr": 0.0}, each._core)
        for name, value in inputs.items():
            each._core.input_blob(name).data[...] = value
        solver.step()
        gradients.append(each.params["f"][0].diff.copy())
        each._core.set_iteration(1)
        each._core.clear_param_diffs()
        each._core.forward()
        each.backward()
        gradients.append(each.params["f"][0].diff.copy())
    np.testing.assert_array_equal(gradients[3], gradients[1])
    assert gradients[3].any() and (gradients[2] != gradients[3]).any()


def test_a_net_alone_has_the_weights_as_given():
    net = make_net(two_losses("iterations: 9"), INPUTS)
    assert net.loss_weights == {"fit": 1, "pull": 2}


def test_the_log_shows_the_weight_of_the_iteration():
    solver = pydl.Solver(
        solver_message(two_losses("iterations: 4"), INPUTS, display=1, random_seed=1)
    )
    seen = []

    class Reader(pydl.solver.Listener):
        def on_display(self, solver, report):
            seen.append(report.loss_weights["pull"])

    solver.listeners.append(Reader())
    solver.step(6)
    assert seen == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


@pytest.mark.parametrize(
    "schedule, words",
    [
        ("", "needs iterations > 0, got 0"),
        ("iterations: 5 policy: 'linaer'", 'unknown policy "linaer".*did you mean "linear"'),
        ("iterations: 5 delay: -1", "delay must not be negative, got -1"),
        ("iterations: 5 period: 3", "a period of 3 is shorter than its 5 iterations"),
        ("iterations: 5 power: 2", 'power is for policy "poly"'),
        ("iterations: 5 policy: 'poly' power: 0", "power must be positive"),
        ("iteration: 5", 'did you mean "iterations"'),
    ],
)
def test_bad_schedules(schedule, words):
    text = TWO_LOSSES.replace("{weight}", "").replace(
        "{schedule}", f"loss_weight_schedule {{ {schedule} }}"
    )
    with pytest.raises(Error, match=words):
        make_net(text, INPUTS)
    with pytest.raises(Error, match="has a loss_weight_schedule, but no loss_weight"):
        make_net(dense(3, params="loss_weight_schedule { iterations: 3 }"), {"x": (2, 5)})


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_schedules_with_little_memory(keep):
    solver = pydl.Solver(
        solver_message(two_losses("iterations: 3"), INPUTS, random_seed=1), keep=keep
    )
    rng = np.random.default_rng(0)
    for name, shape in INPUTS.items():
        solver.net._core.input_blob(name).data[...] = np.abs(rng.standard_normal(shape)) % 3
    losses = [solver.step() for _ in range(5)]
    reference = pydl.Solver(solver_message(two_losses("iterations: 3"), INPUTS, random_seed=1))
    for name in INPUTS:
        reference.net._core.input_blob(name).data[...] = solver.net._core.input_blob(name).data
    assert [reference.step() for _ in range(5)] == losses

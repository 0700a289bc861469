"""RBM layers: contrastive divergence with the layer's own draws, likelihood, chains, snapshots."""

import itertools

import numpy as np
import pytest
from net_text import input_layers, layer, make_net, normal
from philox_draws import stream_of, uniform

import pydl
from pydl import Error, prototxt

N, V, H = 5, 7, 4
SEED = 11


def rbm(fields="", tops="h e", hidden=H, weights=(0, 1, 0), name="rbm"):
    weights = " ".join(f"loss_weight: {w}" for w in weights[: len(tops.split())])
    param = f"rbm_param {{ num_hidden: {hidden} {fields} }}"
    return layer("RBM", f"{weights} {param}", "v", tops, name)


def make(fields="", tops="h e", phase="TRAIN", seed=SEED, shape=(N, V), **more):
    net = make_net(rbm(fields, tops, **more), {"v": shape}, phase, seed=seed)
    for blob, size in zip(net.params["rbm"], ((H, V), (V,), (H,)), strict=True):
        blob.data[...] = normal(*size, seed=len(size))
    return net


def data(seed=3, shape=(N, V)):
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


class Machine:
    """An RBM in numpy that draws what the layer draws."""

    def __init__(self, net, binary=True):
        self.w, self.a, self.b = (np.array(p.data, np.float64) for p in net.params["rbm"])
        self.draws = 0

    def hidden(self, v):
        return sigmoid(v @ self.w.T + self.b)

    def visible(self, h):
        return sigmoid(h @ self.w + self.a)

    def sample(self, p):
        self.draws += 1
        return (uniform(SEED, stream_of("rbm", self.draws), p.shape) < p).astype(np.float64)

    def gradients(self, v, h, end_v, end_h):
        n = len(v)
        return (end_h.T @ end_v - h.T @ v) / n, (end_v - v).mean(0), (end_h - h).mean(0)


def backward(net, v):
    net._core.clear_param_diffs()
    out = net.forward(v=v)
    net.backward()
    return out, [np.array(blob.diff) for blob in net.params["rbm"]]


def assert_gradients(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("draws_visible", [False, True])
def test_contrastive_divergence(steps, draws_visible):
    net = make(f"cd_steps: {steps} sample_visible: {str(draws_visible).lower()}", "h e r")
    v, machine = data(), Machine(net)
    out, got = backward(net, v)
    h = machine.hidden(v)
    sample = machine.sample(h)
    for step in range(steps):
        mean = machine.visible(sample)
        if step == 0:
            np.testing.assert_allclose(out["r"], mean, rtol=1e-5)
            np.testing.assert_allclose(out["e"], ((mean - v) ** 2).sum(1).mean(), rtol=1e-5)
        end_v = machine.sample(mean) if draws_visible else mean
        end_h = machine.hidden(end_v)
        if step + 1 < steps:
            sample = machine.sample(end_h)
    np.testing.assert_allclose(out["h"], h, rtol=1e-5)
    assert_gradients(got, machine.gradients(v, h, end_v, end_h))


def test_persistent_chains_go_on():
    net = make("persistent: true cd_steps: 2")
    machine, chain = Machine(net), None
    for seed in range(3):
        v = data(seed)
        _, got = backward(net, v)
        h = machine.hidden(v)
        first = machine.sample(h)
        chain = first if chain is None else chain
        for _ in range(2):
            end_v = machine.sample(machine.visible(chain))
            end_h = machine.hidden(end_v)
            chain = machine.sample(end_h)
        assert_gradients(got, machine.gradients(v, h, end_v, end_h))


def test_sparsity_moves_weights_and_biases():
    plain, sparse = make(), make("sparsity_target: 0.2 sparsity_cost: 0.5 sparsity_decay: 0.75")
    activity = None
    for seed in range(2):
        v = data(seed)
        (out, without), (_, got) = backward(plain, v), backward(sparse, v)
        mean = out["h"].mean(0)
        activity = mean if activity is None else 0.75 * activity + 0.25 * mean
        pull = 0.5 * (activity - 0.2)
        want = [without[0] + np.outer(pull, v.mean(0)), without[1], without[2] + pull]
        assert_gradients(got, want)


def test_gaussian_units():
    net = make("visible: GAUSSIAN hidden: GAUSSIAN", "h e r")
    w, a, b = (np.array(p.data, np.float64) for p in net.params["rbm"])
    v = normal(N, V, seed=5)
    out, got = backward(net, v)
    np.testing.assert_allclose(out["h"], v @ w.T + b, rtol=1e-4, atol=1e-5)
    end_v = np.array(out["r"], np.float64)
    end_h = end_v @ w.T + b
    want = (end_h.T @ end_v - out["h"].T @ v) / N, (end_v - v).mean(0), (end_h - out["h"]).mean(0)
    assert_gradients(got, want)
    noise = (end_v - a) @ np.linalg.pinv(w) - out["h"]  # of the hidden sample
    assert 0.5 < noise.std() < 1.6


def test_gradients_add_up_and_scale_with_the_loss():
    one, two = make(), make(weights=(0, 2))
    v = data()
    (_, once), (_, twice) = backward(one, v), backward(two, v)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(2 * a, b, rtol=1e-5, atol=1e-7)
    net = make()
    net.forward(v=v)
    net.backward()
    net.backward()
    assert_gradients([blob.diff for blob in net.params["rbm"]], [2 * g for g in once])


def test_nothing_is_drawn_in_test():
    net = make(phase="TEST", tops="h e r")
    machine, v = Machine(net), data()
    for _ in range(2):
        out = net.forward(v=v)
        np.testing.assert_allclose(out["r"], machine.visible(machine.hidden(v)), rtol=1e-5)
    assert net._core.layer_state()["rbm"] == [0, 0, 0]


def test_no_gradient_goes_below():
    text = layer("InnerProduct", "inner_product_param { num_output: 7 }", "x", "v", "below")
    net = make_net(text + rbm(), {"x": (N, 3)})
    net.params["below"][0].diff[...] = 0
    net.forward(x=normal(N, 3))
    net.backward()
    assert not np.any(net.params["below"][0].diff)
    assert np.any(net.params["rbm"][0].diff)


def test_images_and_other_batch_sizes():
    net = make("persistent: true", "h e r", shape=(N, 1, 1, V))
    out = net.forward(v=data(shape=(N, 1, 1, V)))
    assert out["h"].shape == (N, H) and out["r"].shape == (N, 1, 1, V)
    out = net.forward(v=data(shape=(2, 1, 1, V)))  # chains begin anew
    assert out["h"].shape == (2, H)


def log_likelihood(net, v):
    """Mean over the items, with all states of the hidden and visible units counted."""
    w, a, b = (np.array(p.data, np.float64) for p in net.params["rbm"])

    def free_energy(x):
        return -x @ a - np.logaddexp(0, x @ w.T + b).sum(1)

    states = np.array(list(itertools.product([0.0, 1.0], repeat=w.shape[1])))
    return -free_energy(v).mean() - np.logaddexp.reduce(-free_energy(states))


def small_solver(fields="", rate=0.2, **more):
    """Learns three patterns of six units."""
    text = input_layers({"v": (30, 6)}) + rbm(fields, hidden=5)
    solver = prototxt.new("SolverParameter", base_lr=rate, lr_policy="fixed", momentum=0.5,
                          random_seed=4, max_iter=600, **more)  # fmt: skip
    solver.net_param.CopyFrom(prototxt.parse(text))
    solver = pydl.Solver(solver)
    patterns = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], np.float32)
    solver.net.blobs["v"].data[...] = np.repeat(patterns, 10, axis=0)
    return solver


@pytest.mark.parametrize(
    ("fields", "rate", "steps"),
    [("cd_steps: 1", 0.2, 200), ("cd_steps: 5", 0.2, 200), ("persistent: true", 0.02, 700)],
)
def test_the_likelihood_rises(fields, rate, steps):
    solver = small_solver(fields, rate)
    v = np.array(solver.net.blobs["v"].data, np.float64)
    found = [log_likelihood(solver.net, v)]
    for _ in range(3):
        solver.step(steps)
        found.append(log_likelihood(solver.net, v))
    assert found[0] == pytest.approx(-6 * np.log(2), abs=0.1)
    assert found[1] > found[0] + 0.5
    assert found[-1] > -2.6  # the best there is: -log 3


@pytest.mark.parametrize("fields", ["", "persistent: true sparsity_cost: 0.1"])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, fields):
    whole = small_solver(fields, snapshot_prefix=str(tmp_path / "a"))
    whole.step(7)
    state = whole.snapshot()
    whole.step(5)
    again = small_solver(fields, snapshot_prefix=str(tmp_path / "b"))
    again.restore(state)
    again.step(5)
    for a, b in zip(whole.net.params["rbm"], again.net.params["rbm"], strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert whole.net._core.layer_state() == again.net._core.layer_state()


def test_results_do_not_depend_on_keep_or_threads():
    results = []
    for keep, threads in itertools.product(("all", "outputs"), (1, 2)):
        pydl.set_num_threads(threads)
        net = make_net(rbm(), {"v": (64, 300)}, keep=keep)
        net.forward(v=data(shape=(64, 300)))
        net.backward()
        results.append([np.array(blob.diff) for blob in net.params["rbm"]])
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("num_hidden: 0", "num_hidden must be given and positive"),
        ("num_hidden: 3 cd_steps: 0", "cd_steps must be at least 1, got 0"),
        ("num_hidden: 3 sparsity_target: 1", "sparsity_target must be between 0 and 1, got 1"),
        ("num_hidden: 3 sparsity_cost: -1", "sparsity_cost must not be negative, got -1"),
        ("num_hidden: 3 sparsity_decay: 1", "sparsity_decay must be at least 0 and below 1"),
        ("num_hidden: 3 sparsity_cost: 1 hidden: GAUSSIAN", "is for BINARY hidden units"),
        ("visible: GAUSIAN", "GAUSSIAN"),
        ("cd_step: 1", 'did you mean "cd_steps"'),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(Error, match=message):
        make_net(layer("RBM", f"rbm_param {{ {fields} }}", "v", "h"), {"v": (2, 3)})


def test_a_gradient_of_the_hidden_units_alone_is_refused():
    text = rbm(tops="h", weights=()) + layer("Reduction", "loss_weight: 1", "h", "sum")
    net = make_net(text, {"v": (2, 3)})
    with pytest.raises(Error, match="learns from its second top"):
        net.forward(v=np.zeros((2, 3)))
    frozen = text.replace("rbm_param", "param { lr_mult: 0 } " * 3 + "rbm_param")
    make_net(frozen, {"v": (2, 3)}).forward(v=np.zeros((2, 3)))

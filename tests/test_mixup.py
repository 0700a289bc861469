"""Mixup, and the loss of labels that are probabilities."""

import numpy as np
import pytest
from data_files import message
from net_text import layer, make_net, normal

from pydl.data import load
from pydl.gradient_check import check_gradients

LABELS = np.float32([2, 0, 1, 2, 1, 0])
SHAPE = (6, 3, 2, 5)


def mixup_net(fields="num_classes: 3", labels=(6,), phase="TRAIN", shape=SHAPE, **options):
    text = layer("Mixup", f"mixup_param {{ {fields} }}", "x t", "y p", "mix")
    return make_net(text, {"x": shape, "t": labels}, phase=phase, **options)


def run(net, x, t):
    net.forward(x=x, t=t)
    return net.blobs["y"].data.copy(), net.blobs["p"].data.copy()


def shares(x, y):
    """Of each record: whom it is mixed with, and its own share."""
    for i, row in enumerate(y.reshape(len(y), -1).astype(np.float64)):
        flat = x.reshape(len(x), -1).astype(np.float64)
        fits = []
        for k, other in enumerate(flat):
            if k == i:
                continue
            d = flat[i] - other
            share = (row - other) @ d / (d @ d)
            fits.append((np.abs(share * d + other - row).max(), k, share))
        error, k, share = min(fits)
        assert error < 1e-5
        yield (i, 1.0) if abs(share - 1) < 1e-5 else (k, share)


def test_records_and_labels_are_mixed_in_the_same_shares():
    x, net = normal(*SHAPE), mixup_net("alpha: 2 num_classes: 3")
    one_hot = np.eye(3)[LABELS.astype(int)]
    partners = set()
    for _ in range(20):
        y, p = run(net, x, LABELS)
        found = list(shares(x, y))
        assert sorted(k for k, _ in found) == list(range(6))  # a permutation
        own = {round(share, 4) for k, share in found if share != 1}
        assert len(own) <= 1
        for i, (k, share) in enumerate(found):
            np.testing.assert_allclose(p[i], share * one_hot[i] + (1 - share) * one_hot[k],
                                       atol=1e-4)  # fmt: skip
        partners.add(tuple(k for k, _ in found))
    assert len(partners) > 15


@pytest.mark.parametrize("alpha", [0.02, 0.2, 1, 8])
def test_shares_are_of_the_beta_distribution(alpha):
    net = mixup_net(f"alpha: {alpha} num_classes: 2", (2,), shape=(2, 1))
    drawn = []
    for _ in range(4000):
        y, _ = run(net, np.float32([[0], [1]]), np.float32([0, 1]))
        if y[1] != 1:  # not each with itself
            assert y[0] + y[1] == pytest.approx(1)
            drawn.append(float(y[1, 0]))
    assert all(0 <= v <= 1 for v in drawn) and len(drawn) > 100
    if alpha >= 0.2:  # for smaller ones a share of 1 looks like no mixing
        assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)
        assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.12)


def test_probabilities_are_mixed_like_labels():
    x = normal(*SHAPE)
    hard = run(mixup_net(), x, LABELS)
    soft = run(mixup_net("", (6, 3)), x, np.eye(3, dtype=np.float32)[LABELS.astype(int)])
    for a, b in zip(hard, soft, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


@pytest.mark.parametrize("options", [{"phase": "TEST"}, {"fields": "alpha: 0 num_classes: 3"}])
def test_no_mixing(options):
    x = normal(*SHAPE)
    y, p = run(mixup_net(**options), x, LABELS)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(p, np.eye(3)[LABELS.astype(int)])


def test_draws_depend_on_the_seed_and_the_batch():
    x = normal(*SHAPE)
    a, b, c = mixup_net(), mixup_net(), mixup_net(seed=2)
    first, again, other = (run(net, x, LABELS)[0] for net in (a, b, c))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, run(a, x, LABELS)[0])


def test_gradients_go_to_both():
    net = mixup_net("alpha: 2 num_classes: 3")
    x = normal(*SHAPE)
    y, _ = run(net, x, LABELS)
    dy = normal(*SHAPE, seed=3)
    found = list(shares(x, y))
    text = layer("TanH", "", "x", "h") + layer(
        "Mixup", "mixup_param { alpha: 2 num_classes: 3 }", "h t", "y p", "mix")  # fmt: skip
    deep = make_net("force_backward: true " + text, {"x": SHAPE, "t": (6,)}, phase="TRAIN")
    deep.forward(x=x, t=LABELS)
    deep.blobs["y"].diff[...] = dy
    deep.backward()
    want = np.zeros(SHAPE)
    for i, (k, share) in enumerate(found):
        want[i] += share * dy[i]
        want[k] += (1 - share) * dy[i]
    np.testing.assert_allclose(deep.blobs["h"].diff, want, atol=1e-4)


def test_mixup_errors():
    assert "num_classes must be given for integer labels" in message(mixup_net, "")
    assert "alpha must be from 0 to 1000, got -1" in message(mixup_net, "alpha: -1 num_classes: 3")
    assert "num_classes is 4, but its labels are probabilities of 3 classes" in message(
        mixup_net, "num_classes: 4", (6, 3))  # fmt: skip
    assert "needs a label for each of the 6 records" in message(mixup_net, labels=(5,))
    net = mixup_net()
    text = message(run, net, normal(*SHAPE), LABELS + 1)
    assert "label 3 at [0] of the 6 labels is not in 0 to 2" in text
    net = mixup_net("", (6, 3))
    text = message(run, net, normal(*SHAPE), np.full((6, 3), -0.5, np.float32))
    assert "the expected probability -0.5 at [0, 0]" in text


# Labels that are probabilities


def probabilities(*shape):
    p = np.random.default_rng(4).uniform(0, 1, shape).astype(np.float32)
    return p / p.sum(axis=1, keepdims=True)


def loss_net(shape, params="", phase="TRAIN"):
    text = "force_backward: true " + layer("SoftmaxWithLoss", params, "x t", "loss")
    return make_net(text, {"x": shape, "t": shape}, phase=phase)


CASES = {
    "rows": ((5, 7), 0.0, "VALID"),
    "rows_smoothed": ((5, 7), 0.2, "VALID"),
    "images": ((2, 3, 4, 5), 0.1, "VALID"),
    "images_summed": ((2, 3, 4, 5), 0.0, "NONE"),
    "images_batch": ((2, 3, 1, 5), 0.3, "BATCH_SIZE"),
}


@pytest.mark.parametrize("name", CASES)
def test_cross_entropy_with_probabilities(name, torch_values):
    shape, smoothing, mode = CASES[name]

    def case(torch):
        x = torch.randn(shape, requires_grad=True)
        t = torch.from_numpy(probabilities(*shape))
        reduction = "mean" if mode == "VALID" else "sum"
        loss = torch.nn.functional.cross_entropy(
            x, t, label_smoothing=smoothing, reduction=reduction
        )
        if mode == "BATCH_SIZE":
            loss = loss / shape[0]
        loss.backward()
        return {"x": x, "t": t, "loss": loss, "dx": x.grad}

    v = torch_values(f"soft_labels_{name}", case)
    fields = f"label_smoothing: {smoothing} normalization: {mode}"
    net = loss_net(shape, f"loss_param {{ {fields} }}")
    net.forward(x=v["x"], t=v["t"])
    net.backward()
    np.testing.assert_allclose(net.blobs["loss"].data, v["loss"], rtol=1e-5)
    np.testing.assert_allclose(net.blobs["x"].diff, v["dx"], rtol=1e-4, atol=1e-7)
    net = loss_net(shape, f"loss_param {{ {fields} }}", "TEST")  # smoothing is for training
    net.forward(x=v["x"], t=v["t"])
    same = np.allclose(net.blobs["loss"].data, v["loss"], rtol=1e-5)
    assert same == (smoothing == 0)


def test_one_hot_probabilities_give_what_labels_give():
    x, t = normal(6, 3), np.eye(3, dtype=np.float32)[LABELS.astype(int)]
    results = []
    for labels in (LABELS, t):
        text = "force_backward: true " + layer("SoftmaxWithLoss", "", "x t", "loss")
        net = make_net(text, {"x": (6, 3), "t": labels.shape})
        net.forward(x=x, t=labels)
        net.backward()
        results.append((net.blobs["loss"].data.copy(), net.blobs["x"].diff.copy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_gradient_of_what_does_not_add_up_to_one():
    text = layer("SoftmaxWithLoss", "softmax_param { axis: 2 }", "x t", "loss")
    text, shape = f"force_backward: true {text}", (2, 3, 4, 3)
    net = make_net(text, {"x": shape, "t": shape})
    check_gradients(net, {"t": np.random.default_rng(0).uniform(0, 1, shape)})


def test_probabilities_behind_a_convolution():
    """Whose top the net may keep with channels last."""
    shape, t = (2, 8, 4, 5), probabilities(2, 8, 4, 5)
    text = layer("Convolution", 'convolution_param { num_output: 8 kernel_size: 3 pad: 1 '
                 'weight_filler { type: "xavier" } }', "x", "s") + layer(
        "SoftmaxWithLoss", "", "s t", "loss")  # fmt: skip
    net = make_net(text, {"x": (2, 3, 4, 5), "t": shape})
    net.forward(x=normal(2, 3, 4, 5), t=t)
    scores = net.blobs["s"].data.astype(np.float64)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    want = -(t * log_p).sum() / 40
    assert net.blobs["loss"].data == pytest.approx(want, rel=1e-5)
    net.backward()
    np.testing.assert_allclose(net.blobs["s"].diff, (np.exp(log_p) - t) / 40, atol=1e-6)


def test_what_is_not_for_probabilities():
    text = message(loss_net, (5, 3), "loss_param { ignore_label: 1 }")
    assert "are for integer labels, but its labels are probabilities" in text
    net = loss_net((2, 3))
    bad = np.float32([[0.2, 0.8, 0], [0.5, np.nan, 0.5]])
    text = message(net.forward, x=normal(2, 3), t=bad)
    assert "the expected probability nan at [1, 1] of the 2x3 labels is not in 0 to 1" in text
    net = make_net(layer("SoftmaxWithLoss", "", "x t", "loss"), {"x": (4, 1), "t": (4, 1)})
    net.forward(x=normal(4, 1), t=np.zeros((4, 1)))  # one class: these are labels
    assert net.blobs["loss"].data == 0


def test_probabilities_have_no_onnx_form():
    pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    from pydl.onnx import to_model

    assert "labels that are probabilities are for training" in message(to_model, loss_net((2, 3)))


def test_a_net_learns_from_mixed_digits():
    x, t, x_test, t_test = load("mnist_sample")
    text = layer("Mixup", "mixup_param { num_classes: 10 alpha: 0.4 }", "x t", "m p", "mix")
    fields = 'inner_product_param { num_output: 10 weight_filler { type: "xavier" } }'
    text += layer("InnerProduct", fields, "m", "s", "ip")
    text += layer("SoftmaxWithLoss", "", "s p", "loss")
    shape = {"x": (200, 784), "t": (200,)}
    net = make_net(text, shape)
    x, x_test = (a.reshape(len(a), 784).astype(np.float32) / 255 for a in (x, x_test))
    for step in range(200):
        rows = np.arange(200) + 200 * step % len(x)
        net.forward(x=x[rows % len(x)], t=t[rows % len(x)])
        net._core.clear_param_diffs()
        net.backward()
        for param in net.params["ip"]:
            param.data[...] -= 0.3 * param.diff
    scores = x_test @ net.params["ip"][0].data.T + net.params["ip"][1].data
    assert (scores.argmax(axis=1) == t_test).mean() > 0.85

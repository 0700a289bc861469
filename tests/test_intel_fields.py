"""What Intel's Caffe lets a layer do besides: ReLU in convolutions and BatchNorm, statistics of
parts of a batch."""

import numpy as np
import pytest
from data_files import message
from net_text import conv, fill_params, layer, make_net, normal

from pydl import prototxt
from pydl.gradient_check import check_gradients

X = {"x": normal(4, 3, 5, 6)}


def same_net(text, written_out, phase="TRAIN"):
    """Values and gradients of both."""
    results = []
    for net_text in (text, written_out):
        net = make_net(f"force_backward: true {net_text}", X, phase=phase)
        fill_params(net)
        y = net.forward(**X)["y"].copy()
        net.blobs["y"].diff[...] = normal(*y.shape, seed=5)
        net.backward()
        results.append([y, net.blobs["x"].diff.copy(),
                        *(blob.diff.copy() for blob in net.params["y"])])  # fmt: skip
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    return results[0][0]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("slope", [0, 0.25])
def test_relu_of_a_convolution(phase, slope):
    plain = "4 kernel_size: 3"
    relu = layer("ReLU", f"relu_param {{ negative_slope: {slope} }}", "y", "y", name="r")
    y = same_net(conv(f"{plain} relu: true negative_slope: {slope}"), conv(plain) + relu, phase)
    assert (y.min() < 0) == (slope > 0)


def test_relu_that_is_off():
    y = same_net(conv("4 kernel_size: 3 relu: false negative_slope: 0.1"), conv("4 kernel_size: 3"))
    assert y.min() < 0


@pytest.mark.parametrize("fields", ["", "use_weight_bias: true", "stats_batch_size: 2"])
def test_relu_of_batch_norm(fields):
    relu = layer("ReLU", "", "y", "y", name="r")
    norm = layer("BatchNorm", f"batch_norm_param {{ {fields} }}")
    with_relu = layer("BatchNorm", f"batch_norm_param {{ {fields} relu: true }}")
    assert same_net(with_relu, norm + relu).min() == 0


def test_relu_of_several_tops_and_in_a_phase_only():
    text = conv("2 kernel_size: 1 relu: true", bottoms="x z", tops="y u", name="c")
    text = text.replace("convolution_param", "include { phase: TEST } convolution_param")
    inputs = {"x": X["x"], "z": X["x"]}
    rest = layer("Silence", bottoms="x z", tops="")
    net = make_net(text + rest, inputs, phase="TEST")
    assert [row["name"] for row in net._core.layer_rows()][2:] == ["c", "c/relu_0", "c/relu_1", ""]
    net.forward(**inputs)
    assert net.blobs["y"].data.min() == net.blobs["u"].data.min() == 0
    rows = make_net(text + rest, inputs, phase="TRAIN")._core.layer_rows()
    assert [row["type"] for row in rows] == ["Input", "Input", "Silence"]


def test_the_fields_are_kept_when_a_net_is_written():
    text = f"bn_stats_batch_size: 2 {conv('2 kernel_size: 1 relu: true negative_slope: 0.5')}"
    parsed = prototxt.parse(text)
    assert prototxt.parse(prototxt.dumps(parsed)) == parsed
    assert parsed.layer[0].convolution_param.negative_slope == 0.5


def test_a_misspelt_one():
    problem = message(prototxt.parse, conv("2 kernel_size: 1 negative_slop: 1"))
    assert 'did you mean "negative_slope"' in problem


# ---- statistics of parts of a batch ----


def batch_norm(x, group, eps=1e-5):
    parts = []
    for begin in range(0, len(x), group):
        part = x[begin : begin + group].astype(np.float64)
        mean, variance = part.mean((0, 2, 3), keepdims=True), part.var((0, 2, 3), keepdims=True)
        parts.append((part - mean) / np.sqrt(variance + eps))
    return np.concatenate(parts)


def norm(fields):
    return layer("BatchNorm", f"batch_norm_param {{ {fields} }}")


@pytest.mark.parametrize("group", [1, 2, 4])
def test_statistics_of_groups(group):
    net = make_net(norm(f"stats_batch_size: {group} moving_average_fraction: 0.9"), X)
    y = net.forward(**X)["y"]
    np.testing.assert_allclose(y, batch_norm(X["x"], group), rtol=1e-4, atol=1e-5)
    mean = variance = weight = 0.0
    count = group * 30
    for begin in range(0, 4, group):
        part = X["x"][begin : begin + group]
        mean = 0.9 * mean + part.mean((0, 2, 3))
        variance = 0.9 * variance + part.var((0, 2, 3)) * count / (count - 1)
        weight = 0.9 * weight + 1
    for blob, want in zip(net.params["y"], (mean, variance, [weight]), strict=True):
        np.testing.assert_allclose(blob.data, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", ["", "use_weight_bias: true"])
def test_gradients_of_groups(fields):
    check_gradients(norm(f"stats_batch_size: 2 {fields}"), X)


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_groups_in_a_chain(keep):
    """Scale, the sum with a shortcut and ReLU in the same pass, next to a convolution."""
    text = (
        conv("3 kernel_size: 1", bottoms="x", tops="c")
        + layer("BatchNorm", "batch_norm_param { stats_batch_size: 2 }", "c", "n")
        + layer("Scale", "scale_param { bias_term: true }", "n", "s")
        + layer("Eltwise", "", "s x", "e")
        + layer("ReLU", "", "e", "y")
    )
    net = make_net(text, X, keep=keep)
    fill_params(net)
    y = net.forward(**X)["y"]
    weights, bias = (blob.data for blob in net.params["c"])
    convolved = np.einsum("oi,nihw->nohw", weights[:, :, 0, 0], X["x"]) + bias[:, None, None]
    scale, shift = (blob.data[:, None, None] for blob in net.params["s"])
    want = np.maximum(batch_norm(convolved, 2) * scale + shift + X["x"], 0)
    np.testing.assert_allclose(y, want, rtol=1e-3, atol=1e-4)
    check_gradients(text, X, max_skipped=0.3)  # many at the kink of ReLU


def test_in_test_the_running_statistics_count():
    net = make_net(norm("stats_batch_size: 3"), X, phase="TEST")
    for blob in net.params["y"]:
        blob.data[...] = 1
    np.testing.assert_allclose(net.forward(**X)["y"], (X["x"] - 1) / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_for_all_batch_norms_of_a_net():
    text = "bn_stats_batch_size: 2 " + norm("") + layer(
        "BatchNorm", "batch_norm_param { stats_batch_size: 4 }", "x", "z")  # fmt: skip
    out = make_net(text, X).forward(**X)
    np.testing.assert_allclose(out["y"], batch_norm(X["x"], 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out["z"], batch_norm(X["x"], 4), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit():
    assert "stats_batch_size 3 does not divide the 4 images" in message(
        make_net, norm("stats_batch_size: 3"), X
    )
    assert "give only one kind" in message(
        make_net, norm("stats_batch_size: 2 scale_bias: true"), X
    )

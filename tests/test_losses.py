"""The losses besides SoftmaxWithLoss: values against numpy, edges, and what is refused."""

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error, _core
from pydl.formats import binaryproto

ISAS = _core.kernels.available_isas()
LABELS = np.float32([2, 0, 1, 2, 1])
NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")


def loss_of(text, **inputs):
    """The loss, and the gradients of all inputs."""
    inputs = {key: np.asarray(value, np.float32) for key, value in inputs.items()}
    net = make_net(text + "force_backward: true", inputs)
    net.forward(**inputs)
    net.backward()
    loss = float(net.blobs[net.outputs[0]].data)
    return loss, {key: np.array(net.blobs[key].diff) for key in inputs}


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


# Two blobs


@pytest.mark.parametrize("isa", ISAS)
def test_euclidean(isa):
    _core.kernels.set_isa(isa)
    a, b = normal(4, 3, 50), normal(4, 150, seed=1)
    loss, grad = loss_of(layer("EuclideanLoss", "loss_weight: 3", "a b"), a=a, b=b)
    difference = a.reshape(4, 150).astype(np.float64) - b
    assert loss == pytest.approx(np.sum(difference**2) / 8, rel=1e-6)
    np.testing.assert_allclose(grad["a"].reshape(4, 150), 3 / 4 * difference, rtol=1e-5)
    np.testing.assert_allclose(grad["b"], -3 / 4 * difference, rtol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("margin", [1, 2.5, 0])
def test_contrastive(margin, legacy, isa):
    _core.kernels.set_isa(isa)
    a, b = normal(6, 3), normal(6, 3, seed=1)
    b[3] = a[3]
    similar = np.float32([0, 1, -1, 0, 0.9, 2])  # cut to integers: 0.9 is not
    params = f"contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"
    loss, grad = loss_of(layer("ContrastiveLoss", params, "a b s"), a=a, b=b, s=similar)
    difference = a.astype(np.float64) - b
    d = np.linalg.norm(difference, axis=1)
    apart = np.maximum(margin - d**2, 0) if legacy else np.maximum(margin - d, 0) ** 2
    is_similar = np.trunc(similar) != 0
    assert loss == pytest.approx(np.where(is_similar, d**2, apart).sum() / 12, rel=1e-5)
    slope = np.where(margin > d**2, -1, 0) if legacy else -np.maximum(margin - d, 0) / (d + 1e-4)
    want = np.where(is_similar, 1, slope)[:, None] * difference / 6
    np.testing.assert_allclose(grad["a"], want, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grad["b"], -want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("ignore", [None, -1, 0])
def test_sigmoid_cross_entropy(normalization, ignore, isa):
    _core.kernels.set_isa(isa)
    x = normal(3, 4, 5) * 3
    t = np.random.default_rng(3).choice(np.float32([-1, 0, 0.3, 1]), (3, 20))
    fields = f"ignore_label: {ignore} " if ignore is not None else ""
    fields += f"normalization: {normalization}" if normalization else ""
    text = layer("SigmoidCrossEntropyLoss", f"loss_param {{ {fields} }}", "x t")
    loss, grad = loss_of(text, x=x, t=t)
    z, t = x.reshape(3, 20).astype(np.float64), t.astype(np.float64)
    counts = np.trunc(t) != ignore if ignore is not None else np.full(t.shape, True)
    entropy = np.logaddexp(0, z) - z * t
    divisor = {"FULL": 60, "VALID": counts.sum(), "NONE": 1}.get(normalization, 3)
    assert loss == pytest.approx(np.sum(entropy * counts) / divisor, rel=1e-5)
    want = counts * (1 / (1 + np.exp(-z)) - t) / divisor
    np.testing.assert_allclose(grad["x"].reshape(3, 20), want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("isa", ISAS)
def test_sigmoid_cross_entropy_of_large_scores(isa):
    _core.kernels.set_isa(isa)
    text = layer("SigmoidCrossEntropyLoss", bottoms="x t")
    loss, grad = loss_of(text, x=[[1000, -1000, 1000, -1000]], t=[[1, 0, 0, 1]])
    assert loss == 2000
    np.testing.assert_array_equal(grad["x"], [[0, 0, 1, -1]])


def test_everything_ignored():
    text = layer("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 2 normalization: VALID }",
                 "x t")  # fmt: skip
    loss, grad = loss_of(text, x=normal(3, 2), t=np.full((3, 2), 2))
    assert loss == 0 and not grad["x"].any()


# Labels


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2, 1), (5, 1500)])
def test_hinge(shape, norm, isa):
    _core.kernels.set_isa(isa)
    x = normal(*shape)
    text = layer("HingeLoss", f"hinge_loss_param {{ norm: {norm} }}", "x t")
    loss, grad = loss_of(text, x=x, t=LABELS.reshape(5, 1))
    sign = np.ones((5, x[0].size))
    sign[np.arange(5), LABELS.astype(int)] = -1
    h = np.maximum(1 + sign * x.reshape(5, -1), 0)
    want = np.sum(h if norm == "L1" else h**2) / 5
    assert loss == pytest.approx(want, rel=1e-5)
    slope = sign * ((h > 0) if norm == "L1" else 2 * h) / 5
    np.testing.assert_allclose(grad["x"].reshape(5, -1), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
def test_hinge_where_the_true_class_wins_by_far(isa):
    """The others' losses are not lost beside a huge score."""
    _core.kernels.set_isa(isa)
    loss, _ = loss_of(layer("HingeLoss", bottoms="x t"), x=[[1e20, 0.25, -3]], t=[0])
    assert loss == 1.25


@pytest.mark.parametrize("isa", ISAS)
def test_multinomial(isa):
    _core.kernels.set_isa(isa)
    p = softmax(normal(5, 3))
    p[1, 0] = 0  # counts as 1e-20
    text = layer("MultinomialLogisticLoss", bottoms="p t")
    loss, grad = loss_of(text, p=p, t=LABELS)
    rows, k = np.arange(5), LABELS.astype(int)
    true = np.maximum(p.astype(np.float64), 1e-20)[rows, k]
    assert loss == pytest.approx(-np.log(true).mean(), rel=1e-6)
    want = np.zeros((5, 3))
    want[rows, k] = -1 / true / 5
    np.testing.assert_allclose(grad["p"], want, rtol=1e-5)


def infogain(fields="", bottoms="x t h", tops="y"):
    return layer("InfogainLoss", fields, bottoms, tops, name="l")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("ignore", [None, 1])
def test_infogain(normalization, ignore, isa):
    _core.kernels.set_isa(isa)
    x, t = normal(2, 3, 2, 5), np.random.default_rng(1).integers(0, 3, (2, 2, 5))
    h = np.random.default_rng(2).uniform(-1, 2, (3, 3))
    fields = f"ignore_label: {ignore} " if ignore is not None else ""
    fields += f"normalization: {normalization}" if normalization else ""
    loss, grad = loss_of(infogain(f"loss_param {{ {fields} }}"), x=x, t=t, h=h)
    p = softmax(x.astype(np.float64))
    rows = np.moveaxis(h[t], -1, 1)  # of H, for each position
    counts = t != ignore
    divisor = {"FULL": 20, "BATCH_SIZE": 2, "NONE": 1}.get(normalization, counts.sum())
    assert loss == pytest.approx(
        -np.sum((rows * np.log(p)).sum(1) * counts) / divisor, rel=1e-5, abs=1e-6
    )
    want = (p * rows.sum(1, keepdims=True) - rows) * counts[:, None] / divisor
    np.testing.assert_allclose(grad["x"], want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_infogain_with_the_identity_is_softmax_with_loss(axis):
    x = normal(4, 5, 6)
    classes = x.shape[axis]
    t = np.random.default_rng(0).integers(0, classes, x.size // classes)
    t = t.reshape(np.delete(x.shape, axis))
    plain = layer("SoftmaxWithLoss", f"softmax_param {{ axis: {axis} }}", "x t")
    want, want_grad = loss_of(plain, x=x, t=t)
    text = infogain(f"infogain_loss_param {{ axis: {axis} }}")
    loss, grad = loss_of(text, x=x, t=t, h=np.eye(classes))
    assert loss == pytest.approx(want, rel=1e-6)
    np.testing.assert_allclose(grad["x"], want_grad["x"], rtol=1e-5, atol=1e-8)


def test_infogain_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    h = np.random.default_rng(2).uniform(0, 1, (3, 3)).astype(np.float32)
    binaryproto.save("H.binaryproto", h.reshape(1, 1, 3, 3))
    text = infogain('infogain_loss_param { source: "H.binaryproto" }', "x t")
    loss, grad = loss_of(text, x=normal(5, 3), t=LABELS)
    want, want_grad = loss_of(infogain(), x=normal(5, 3), t=LABELS, h=h)
    assert loss == want
    np.testing.assert_array_equal(grad["x"], want_grad["x"])


# Second tops: Caffe's SoftmaxWithLoss cannot be set up with one, its InfogainLoss only with two
# loss weights.


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "InfogainLoss"])
@pytest.mark.parametrize("weights", ["", "loss_weight: 2 loss_weight: 0"])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2, 4)])
def test_softmax_as_second_top(shape, weights, kind):
    inputs = {"x": normal(*shape), "t": np.zeros((5, *shape[2:])), "h": np.eye(3)}
    bottoms = "x t" if kind == "SoftmaxWithLoss" else "x t h"
    inputs = {name: inputs[name] for name in bottoms.split()}
    one = loss_of(layer(kind, weights[:14], bottoms), **inputs)
    net = make_net(layer(kind, weights, bottoms, "y p", "l") + "force_backward: true", inputs)
    net.forward(**inputs)
    np.testing.assert_allclose(net.blobs["p"].data, softmax(inputs["x"]), rtol=1e-5)
    assert float(net.blobs["y"].data) == one[0]
    net.blobs["p"].diff[...] = 100  # passes nothing on
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, one[1]["x"])


def test_one_loss_weight_for_two_tops():
    text = layer("SoftmaxWithLoss", "loss_weight: 1", "x t", "y p", "l")
    with pytest.raises(Error, match=r"loss_weight is given 1 time\(s\) for 2 top"):
        make_net(text, {"x": (5, 3), "t": (5,)})


# Refusals

LABELLED = {
    "HingeLoss": layer("HingeLoss", bottoms="x t"),
    "InfogainLoss": infogain(),
    "MultinomialLogisticLoss": layer("MultinomialLogisticLoss", bottoms="x t"),
    "SoftmaxWithLoss": layer("SoftmaxWithLoss", bottoms="x t"),
}


@pytest.mark.parametrize("label", [3, -1, 1e9, np.nan, np.inf])
@pytest.mark.parametrize("kind", LABELLED)
def test_labels_out_of_range(kind, label):
    inputs = {"x": normal(5, 3), "t": LABELS}
    if kind == "InfogainLoss":
        inputs["h"] = np.eye(3)
    net = make_net(LABELLED[kind] + "force_backward: true", inputs)
    bad = LABELS.copy()
    bad[3] = label
    message = rf"{kind}.*label .* at \[3\] of the 5 labels is not in 0 to 2"
    with pytest.raises(Error, match=message):
        net.forward(**inputs | {"t": bad})
    net.forward(**inputs)
    net.blobs["t"].data[3] = label
    with pytest.raises(Error, match=message):
        net.backward()


def test_ignored_labels_may_be_out_of_range():
    text = infogain("loss_param { ignore_label: 255 }")
    loss_of(text, x=normal(5, 3), t=[0, 255, 1, 255, 2], h=np.eye(3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_similarity_that_is_no_number(value):
    similar = [1, 0, value]
    with pytest.raises(Error, match=r"ContrastiveLoss.* pairs are similar, .* at \[2\]"):
        loss_of(layer("ContrastiveLoss", bottoms="a b s"), a=normal(3, 2), b=normal(3, 2),
                s=similar)  # fmt: skip


def shapes(**inputs):
    return inputs


BAD = {
    "Euclidean rows": (
        layer("EuclideanLoss", bottoms="a b"), shapes(a=(4, 3), b=(3, 4)), "got 4x3 and 3x4"),
    "Euclidean values": (
        layer("EuclideanLoss", bottoms="a b"), shapes(a=(4, 3), b=(4, 2)), "got 4x3 and 4x2"),
    "Euclidean scalars": (
        layer("EuclideanLoss", bottoms="a b"), shapes(a=(), b=()), "scalar and scalar"),
    "Euclidean one bottom": (
        layer("EuclideanLoss", bottoms="a"), shapes(a=(4, 3)), "exactly 2 bottom"),
    "Euclidean two tops": (
        layer("EuclideanLoss", bottoms="a b", tops="y z", name="l"), shapes(a=(4, 3), b=(4, 3)),
        "exactly 1 top"),
    "Contrastive lengths": (
        layer("ContrastiveLoss", bottoms="a b s"), shapes(a=(4, 3), b=(4, 2), s=(4,)),
        "vectors of one length .*got 4x3 and 4x2"),
    "Contrastive images": (
        layer("ContrastiveLoss", bottoms="a b s"), shapes(a=(4, 3, 2, 1), b=(4, 6), s=(4,)),
        "not images: reshape 4x3x2x1 and 4x6 with Flatten"),
    "Contrastive pairs": (
        layer("ContrastiveLoss", bottoms="a b s"), shapes(a=(4, 3), b=(4, 3), s=(3,)),
        "each of the 4 pairs .*third bottom is 3"),
    "Sigmoid targets": (
        layer("SigmoidCrossEntropyLoss", bottoms="a b"), shapes(a=(4, 3), b=(4, 2)),
        "needs a target for each score, got scores 4x3 and targets 4x2"),
    "Hinge labels": (
        layer("HingeLoss", bottoms="a b"), shapes(a=(4, 3), b=(3,)),
        "a label for each of the 4 rows of its prediction 4x3, but the labels are 3"),
    "Hinge norm": (
        layer("HingeLoss", "hinge_loss_param { norm: L3 }", "a b"), shapes(a=(4, 3), b=(4,)),
        "L1.*L2"),
    "Multinomial labels": (
        layer("MultinomialLogisticLoss", bottoms="a b"), shapes(a=(4, 3), b=(4, 2)),
        "a label for each of the 4 rows"),
    "Multinomial scalar": (
        layer("MultinomialLogisticLoss", bottoms="a b"), shapes(a=(), b=()), "got a scalar"),
    "Infogain without H": (
        infogain(bottoms="x t"), shapes(x=(4, 3), t=(4,)), "needs the matrix H: .*third bottom"),
    "Infogain no file": (
        infogain('infogain_loss_param { source: "none.binaryproto" }', "x t"),
        shapes(x=(4, 3), t=(4,)), "none.binaryproto: no such file"),
    "Infogain H": (
        infogain(), shapes(x=(4, 3), t=(4,), h=(3, 2)),
        "H must be 3x3 for the 3 classes of the prediction 4x3 .* but it has 6 values"),
    "Infogain labels": (
        infogain(), shapes(x=(4, 3, 2), t=(4,), h=(3, 3)), "for each of the 8 positions"),
    "Infogain axis": (
        infogain("infogain_loss_param { axis: 2 }"), shapes(x=(4, 3), t=(4,), h=(3, 3)),
        "axis 2 is out of range"),
    "Infogain normalize": (
        infogain("loss_param { normalize: true }"), shapes(x=(4, 3), t=(4,), h=(3, 3)),
        "use normalization: VALID"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
    text, inputs, message = BAD[case]
    with pytest.raises(Error, match=message):
        make_net(text, inputs)


def test_infogain_file_of_another_size(tmp_path):
    binaryproto.save(tmp_path / "H.binaryproto", np.eye(4, dtype=np.float32))
    text = infogain(f'infogain_loss_param {{ source: "{tmp_path}/H.binaryproto" }}', "x t")
    with pytest.raises(Error, match="H must be 3x3 .* but it has 16 values"):
        make_net(text, {"x": (4, 3), "t": (4,)})

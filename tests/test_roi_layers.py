"""Layers that pool regions of interest: values, gradients, and regions of every kind."""

import numpy as np
import pytest
from net_text import input_layers, layer, make_net

import pydl
from pydl import Error
from pydl.gradient_check import check_gradients

POOLERS = {
    "ROIPooling": ("roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }", 5),
    "PSROIPooling": ("psroi_pooling_param { output_dim: 3 group_size: 2 spatial_scale: 0.5 }", 12),
    "ROIAlign": ("roi_align_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }", 5),
}
ROIS = np.float32([[0, 1, 2, 9, 11], [1, 0, 0, 13, 11], [0, 4, 4, 4, 4], [1, 7.3, 2.9, 12.1, 6.4],
                   [0, -9, -5, 4, 3], [1, 10, 8, 40, 30]])  # fmt: skip


def pooler(kind, rois=ROIS, fields=None, images=(2, None, 6, 7)):
    param, channels = POOLERS[kind]
    images = tuple(channels if size is None else size for size in images)
    text = layer(kind, fields or param, bottoms="x rois")
    text = "force_backward: true\n" + input_layers({"x": images, "rois": rois.shape}) + text
    return make_net(text), images


def pooled(kind, x, rois, fields=None):
    net, _ = pooler(kind, rois, fields, x.shape)
    return net.forward(x=x, rois=rois)["y"]


def bilinear(plane, y, x):
    h, w = plane.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return 0
    y, x = np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)
    top, left = int(y), int(x)
    rows, columns = [top, min(top + 1, h - 1)], [left, min(left + 1, w - 1)]
    return [1 - y % 1, y % 1] @ plane[np.ix_(rows, columns)] @ [1 - x % 1, x % 1]


def aligned(x, rois, ph, pw, scale, ratio):
    """ROIAlign by its definition: samples, one after another."""
    y = np.zeros((len(rois), x.shape[1], ph, pw))
    for r, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = rois[r, 1:].astype(float) * scale
        step = max(y2 - y1, 1) / ph, max(x2 - x1, 1) / pw
        count = [ratio if ratio > 0 else int(np.ceil(s)) for s in step]
        y[r, c, i, j] = np.mean([
            bilinear(x[int(rois[r, 0]), c], y1 + (i + (k + 0.5) / count[0]) * step[0],
                     x1 + (j + (l + 0.5) / count[1]) * step[1])
            for k in range(count[0]) for l in range(count[1])  # noqa: E741
        ])  # fmt: skip
    return y


@pytest.mark.parametrize("ratio", [-1, 1, 2, 3])
def test_roi_align_by_definition(ratio):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2, 9, 11)).astype(np.float32)
    corner = rng.uniform(-8, 16, (12, 2))
    rois = np.hstack([rng.integers(0, 2, (12, 1)), corner, corner + rng.uniform(-2, 20, (12, 2))])
    rois = rois.astype(np.float32)
    fields = f"pooled_h: 4 pooled_w: 3 spatial_scale: 0.5 sampling_ratio: {ratio}"
    got = pooled("ROIAlign", x, rois, f"roi_align_param {{ {fields} }}")
    np.testing.assert_allclose(got, aligned(x, rois, 4, 3, 0.5, ratio), atol=1e-5)


def test_roi_align_by_hand():
    """One sample in the middle of each bin of a plane x + 10 y: the plane's value there."""
    x = (np.arange(8) + 10 * np.arange(6)[:, None]).astype(np.float32)[None, None]
    rois = np.float32([[0, 1, 1, 5, 3]])
    fields = "roi_align_param { pooled_h: 2 pooled_w: 2 sampling_ratio: 1 }"
    np.testing.assert_allclose(
        pooled("ROIAlign", x, rois, fields)[0, 0], [[17, 19], [27, 29]], rtol=1e-6
    )


def test_roi_pooling_takes_halves_away_from_zero():
    x = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    fields = "roi_pooling_param { pooled_h: 1 pooled_w: 1 }"
    rois = np.float32([[0, 0.5, 0.5, 1.5, 1.5], [0, 3, 3, 1, 1], [0, 0, 0, 0, 0]])
    assert pooled("ROIPooling", x, rois, fields).ravel().tolist() == [12, 18, 0]


@pytest.mark.parametrize("kind", POOLERS)
@pytest.mark.parametrize(
    "roi",
    [
        [50, 60, 80, 90],  # outside
        [-90, -80, -50, -40],
        [np.nan, 0, 4, 4],
        [0, 0, np.nan, 4],
        [-np.inf, 0, np.inf, 4],
        [2e30, 2e30, 3e30, 3e30],
        [-3e38, -3e38, 3e38, 3e38],
    ],
)
def test_a_region_with_nothing_of_the_image_gives_zero_or_a_mean(kind, roi):
    """Zeros for what is outside or nowhere; never NaN, and gradients of as little."""
    net, shape = pooler(kind, np.float32([[1, *roi]]))
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    y = net.forward(x=x, rois=[[1, *roi]])["y"]
    assert np.isfinite(y).all()
    if abs(roi[0]) < 1e30 or np.isnan(roi).any():
        assert (y == 0).all()
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert np.isfinite(net.blobs["x"].diff).all()


@pytest.mark.parametrize("kind", POOLERS)
def test_reversed_regions_have_a_size(kind):
    net, shape = pooler(kind, np.float32([[0, 9, 9, 3, 3]]))
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    y = net.forward(x=x, rois=[[0, 9, 9, 3, 3]])["y"]
    assert ((y == 0) | ((y >= 1) & (y <= 2))).all() and (y > 0).any()


@pytest.mark.parametrize("kind", POOLERS)
def test_nan_in_the_image_stays_where_it_is(kind):
    net, shape = pooler(kind)
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    x[0, :, 0, 0] = np.nan
    y = net.forward(x=x, rois=ROIS)["y"]
    assert np.isfinite(y[ROIS[:, 0] == 1]).all()


@pytest.mark.parametrize("kind", POOLERS)
@pytest.mark.parametrize("image", [2, -1, 7.5, np.nan])
def test_a_region_of_no_image_is_refused(kind, image):
    net, shape = pooler(kind)
    rois = ROIS.copy()
    rois[3, 0] = image
    with pytest.raises(Error, match=r"region 3 is of image .*, but the batch has 2: .* 0 to 1"):
        net.forward(x=np.zeros(shape), rois=rois)


@pytest.mark.parametrize("kind", POOLERS)
def test_no_regions(kind):
    net, shape = pooler(kind)
    y = net.forward(x=np.ones(shape), rois=np.zeros((0, 5)))["y"]
    assert y.shape[0] == 0
    net.backward()
    assert (net.blobs["x"].diff == 0).all()


@pytest.mark.parametrize("kind", POOLERS)
def test_regions_with_more_axes(kind):
    net, shape = pooler(kind)
    x = np.random.default_rng(0).standard_normal(shape)
    want = net.forward(x=x, rois=ROIS)["y"].copy()
    got = net.forward(x=x, rois=ROIS.reshape(-1, 5, 1, 1))["y"]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("kind", POOLERS)
def test_threads_change_nothing(kind, threads):
    results = []
    channels = {"PSROIPooling": 12}.get(kind, 200)
    for count in (1, threads):
        pydl.set_num_threads(count)
        net, shape = pooler(kind, images=(2, channels, 30, 40))
        x = np.random.default_rng(0).standard_normal(shape)
        y = net.forward(x=x, rois=ROIS)["y"]
        net.blobs["y"].diff[...] = np.random.default_rng(1).standard_normal(y.shape)
        net.backward()
        results.append((y.copy(), net.blobs["x"].diff.copy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("ROIPooling", "roi_pooling_param { pooled_h: 3 }", "pooled_h and pooled_w.* 3 and 0"),
        ("ROIAlign", "roi_align_param { pooled_w: 3 }", "pooled_h and pooled_w.* 0 and 3"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 3 group_size: 2 }",
         "spatial_scale, output_dim and group_size"),
        ("PSROIPooling",
         "psroi_pooling_param { output_dim: 5 group_size: 2 spatial_scale: 1 }",
         "output_dim 5 and group_size 2 go with 20 channels, but the bottom has 12"),
    ],
)  # fmt: skip
def test_bad_parameters(kind, fields, message):
    with pytest.raises(Error, match=message):
        pooler(kind, fields=fields)


@pytest.mark.parametrize("kind", POOLERS)
def test_bad_shapes(kind):
    with pytest.raises(Error, match=r"a second bottom \(R, 5\), got shape 6x4"):
        pooler(kind, rois=ROIS[:, :4])
    with pytest.raises(Error, match=r"pools images \(N, C, H, W\)"):
        pooler(kind, images=(2, 12))


@pytest.mark.parametrize("kind", ["ROIPooling", "ROIAlign"])
def test_onnx(kind):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from pydl.onnx import to_model

    net, shape = pooler(kind)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    want = net.forward(x=x, rois=ROIS)["y"]
    session = runtime.InferenceSession(
        to_model(net).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"x": x, "rois": ROIS})
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("kind", POOLERS)
def test_in_a_bf16_net(kind):
    """Between layers of bfloat16: as in float32, to that type's precision."""
    param, channels = POOLERS[kind]
    text = layer("Power", bottoms="x", tops="p") + layer(kind, param, bottoms="p rois", tops="q")
    text += layer("Power", bottoms="q")
    shape = (2, channels, 6, 7)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = [
        make_net(text, {"x": shape, "rois": ROIS.shape}, precision=p).forward(x=x, rois=ROIS)["y"]
        for p in ("FLOAT32", "BF16")
    ]
    np.testing.assert_allclose(*found, atol=0.03)


# R-FCN's hard examples


def ohem_net(text, **inputs):
    return make_net(input_layers({name: np.shape(value) for name, value in inputs.items()}) + text)


def test_box_annotator_keeps_the_greatest_losses_of_each_image():
    inputs = {
        "rois": np.float32([[i % 2, 0, 0, 1, 1] for i in range(6)]),
        "loss": np.float32([1, 5, 3, np.nan, 3, 2]),
        "labels": np.float32([1, 2, 3, 4, 5, 6]),
        "weights": np.arange(24).reshape(6, 4),
    }
    text = layer(
        "BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 2 ignore_label: -3 }",
        bottoms="rois loss labels weights", tops="kept kept_weights", name="ohem",
    )  # fmt: skip
    found = ohem_net(text, **inputs).forward(**inputs)
    assert found["kept"].shape == (6, 1, 1, 1)
    assert found["kept"].ravel().tolist() == [-3, 2, 3, -3, 5, 6]
    want = inputs["weights"] * (found["kept"].reshape(6, 1) != -3)
    assert found["kept_weights"].reshape(6, 4).tolist() == want.tolist()


def test_box_annotator_says_what_it_lacks():
    shapes = {"r": (6, 5), "a": (6,), "b": (6,), "w": (6, 8)}
    fields = "box_annotator_ohem_param { roi_per_img: 2 }"

    def make(fields=fields, **changed):
        text = layer("BoxAnnotatorOHEM", fields, bottoms="r a b w", tops="k v", name="o")
        return make_net(input_layers(shapes | changed) + text)

    make()
    with pytest.raises(Error, match="roi_per_img must be given and positive"):
        make("")
    with pytest.raises(Error, match='bottom "b" must have one value for each of 6 regions'):
        make(b=(5,))
    with pytest.raises(Error, match="the weights must be"):
        make(w=(5, 8))


NORMALIZERS = {
    "": 3,
    "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 7 }": 7,
    "loss_param { normalization: FULL }": 6,
    "loss_param { normalization: NONE }": 1,
}


@pytest.mark.parametrize("fields", NORMALIZERS)
def test_smooth_l1_loss_ohem(fields):
    rng = np.random.default_rng(0)
    a, b, w = (2 * rng.standard_normal((3, 4, 1, 2)) for _ in range(3))
    text = layer("SmoothL1LossOHEM", fields, bottoms="a b w", tops="loss each", name="l")
    found = ohem_net(text, a=a, b=b, w=w).forward(a=a, b=b, w=w)
    d = np.abs(w * (a - b))
    each = np.where(d < 1, d * d / 2, d - 0.5).sum(1, keepdims=True)
    np.testing.assert_allclose(found["each"], each, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], each.sum() / NORMALIZERS[fields], rtol=1e-5)
    check_gradients(text, {"a": a, "b": b, "w": w})


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [("", 5), ("loss_param { ignore_label: -1 }", 5),
     ("loss_param { ignore_label: -1 normalization: PRE_FIXED pre_fixed_normalizer: 20 }", 20),
     ("loss_param { ignore_label: -1 normalization: BATCH_SIZE }", 3)],
)  # fmt: skip
def test_softmax_loss_ohem(fields, divisor):
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((3, 4, 1, 2)), np.float32([[0, 1], [3, -1], [2, 2]])
    if not fields:
        labels[1, 1], divisor = 1, 6
    text = layer("SoftmaxWithLossOHEM", fields, bottoms="s t", tops="loss prob each", name="l")
    found = ohem_net(text, s=scores, t=labels).forward(s=scores, t=labels)
    prob = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    index = np.maximum(labels, 0).astype(int).reshape(3, 1, 1, 2)
    each = np.where(labels.reshape(3, 1, 1, 2) < 0, 0,
                    -np.log(np.take_along_axis(prob, index, 1)))  # fmt: skip
    np.testing.assert_allclose(found["prob"], prob, rtol=1e-5)
    np.testing.assert_allclose(found["each"], each, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], each.sum() / divisor, rtol=1e-5)
    one_top = layer("SoftmaxWithLossOHEM", fields, bottoms="s t", tops="loss", name="l")
    check_gradients(one_top, {"s": scores, "t": labels})

"""Deconvolution against sums by numpy: shapes, groups, what is fused with it, and errors."""

import itertools

import numpy as np
import pytest
from net_text import fill_params, input_layers, layer, make_net, normal

import pydl
from pydl import Error, _core

ISAS = _core.kernels.available_isas()


def deconv(fields, **names):
    return layer("Deconvolution", f"convolution_param {{ {fields} }}", **names)


def deconvolve(x, w, stride=1, pad=0, dilation=1, group=1):
    """x (N, C, in...) and w (C, O / group, kernel...) give (N, O, out...), in float64."""
    axes = x.ndim - 2
    stride, pad, dilation = (
        (v,) * axes if isinstance(v, int) else v for v in (stride, pad, dilation)
    )
    size, kernel = x.shape[2:], w.shape[2:]
    full = [
        s * (i - 1) + d * (k - 1) + 1
        for i, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    inputs, outputs = x.shape[1] // group, w.shape[1]
    y = np.zeros((len(x), group * outputs, *full))
    for g in range(group):
        rows = slice(g * inputs, (g + 1) * inputs)
        for tap in itertools.product(*map(range, kernel)):
            part = np.einsum("nc...,co->no...", x[:, rows], w[(rows, slice(None), *tap)])
            where = tuple(
                slice(t * d, t * d + s * (i - 1) + 1, s)
                for t, d, s, i in zip(tap, dilation, stride, size, strict=True)
            )
            y[(slice(None), slice(g * outputs, (g + 1) * outputs), *where)] += part
    return y[(..., *(slice(p, n - p) for p, n in zip(pad, full, strict=True)))]


CASES = {
    "k3": ((2, 3, 4, 5), "num_output: 4 kernel_size: 3", {}),
    "k2s2": ((2, 8, 9, 7), "num_output: 20 kernel_size: 2 stride: 2", {"stride": 2}),
    "k4s2p1": ((1, 40, 8, 8), "num_output: 33 kernel_size: 4 stride: 2 pad: 1",
               {"stride": 2, "pad": 1}),
    "k3p1": ((2, 32, 14, 14), "num_output: 32 kernel_size: 3 pad: 1", {"pad": 1}),
    "k16s8": ((1, 5, 6, 7), "num_output: 5 kernel_size: 16 stride: 8 pad: 4",
              {"stride": 8, "pad": 4}),
    "stride > kernel": ((2, 3, 4, 5), "num_output: 4 kernel_size: 2 stride: 3", {"stride": 3}),
    "columns": ((9, 20, 6, 5), "num_output: 2 kernel_size: 5 stride: 2 pad: 2",
                {"stride": 2, "pad": 2}),
    "k1": ((2, 7, 4, 5), "num_output: 6 kernel_size: 1", {}),
    "k1s2": ((2, 7, 4, 5), "num_output: 6 kernel_size: 1 stride: 2", {"stride": 2}),
    "k1p1": ((2, 7, 4, 5), "num_output: 6 kernel_size: 1 pad: 1", {"pad": 1}),
    "groups": ((2, 6, 5, 4), "num_output: 9 kernel_size: 3 stride: 2 group: 3",
               {"stride": 2, "group": 3}),
    "upsampling": ((2, 21, 6, 5), "num_output: 21 kernel_size: 8 stride: 4 pad: 2 group: 21",
                   {"stride": 4, "pad": 2, "group": 21}),
    "1-D": ((2, 3, 9), "num_output: 5 kernel_size: 4 stride: 2 pad: 1", {"stride": 2, "pad": 1}),
    "3-D": ((1, 4, 3, 4, 3), "num_output: 6 kernel_size: 3 stride: 2 pad: 1 dilation: 2",
            {"stride": 2, "pad": 1, "dilation": 2}),
    "3-D upsampling": (
        (2, 5, 3, 2, 4),
        "num_output: 5 kernel_size: 4 kernel_size: 2 kernel_size: 3 stride: 2 stride: 1 stride: 3"
        " group: 5", {"stride": (2, 1, 3), "group": 5}),
    "4-D": ((1, 2, 2, 3, 2, 2), "num_output: 3 kernel_size: 2 stride: 2", {"stride": 2}),
    "no spatial axes": ((4, 6), "num_output: 5", {}),
}  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_forward(name, isa):
    _core.kernels.set_isa(isa)
    shape, fields, window = CASES[name]
    net = make_net(deconv(fields), {"x": shape})
    fill_params(net)
    x = normal(*shape)
    w, bias = (np.array(blob.data) for blob in net.params["y"])
    want = deconvolve(x, w, **window) + bias.reshape(-1, *(1,) * (x.ndim - 2))
    for _ in range(3):  # weights are packed at the first and kept from the second pass on
        (y,) = net.forward(x=x).values()
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_it_undoes_the_shape_of_a_convolution():
    for size, kernel, stride, pad in itertools.product((7, 12), (2, 3, 4), (1, 2, 3), (0, 1)):
        window = f"kernel_size: {kernel} stride: {stride} pad: {pad}"
        net = make_net(
            deconv(f"num_output: 2 {window}", tops="h")
            + layer("Convolution", f"convolution_param {{ num_output: 3 {window} }}", "h"),
            {"x": (1, 3, size, size)},
        )
        assert net.blobs["y"].shape == (1, 3, size, size)


@pytest.mark.parametrize("factor", [2, 3, 4, 32])
def test_bilinear_upsampling(factor):
    """As in fully convolutional nets: a map stays the same map, a constant stays a constant."""
    kernel, pad = 2 * factor - factor % 2, factor // 2
    fields = (
        f"num_output: 3 group: 3 kernel_size: {kernel} stride: {factor} pad: {pad}"
        ' bias_term: false weight_filler { type: "bilinear" }'
    )
    net = make_net(deconv(fields), {"x": (1, 3, 6, 5)}, phase="TEST")
    (y,) = net.forward(x=np.full((1, 3, 6, 5), 2)).values()
    inside = slice(factor, -factor)
    np.testing.assert_allclose(y[..., inside, inside], 2, rtol=1e-5)
    ramp = np.broadcast_to(np.arange(5.0), (1, 3, 6, 5))
    (y,) = net.forward(x=ramp).values()
    steps = np.diff(y[0, 1, factor * 2, factor : -2 * factor])
    np.testing.assert_allclose(steps, 1 / factor, rtol=1e-4)


def test_bilinear_filler_as_caffe_has_it():
    net = make_net(
        deconv('num_output: 2 kernel_size: 4 group: 2 weight_filler { type: "bilinear" }'),
        {"x": (1, 2, 3, 3)},
    )
    row = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(net.params["y"][0].data[1, 0], np.outer(row, row))
    with pytest.raises(Error, match="bilinear filler: needs a 4-axis blob with square kernels"):
        make_net(
            deconv('num_output: 2 kernel_h: 4 kernel_w: 3 weight_filler { type: "bilinear" }'),
            {"x": (1, 2, 3, 3)},
        )


BEHIND = {
    "ReLU": layer("ReLU", bottoms="h", tops="y"),
    "BatchNorm, Scale, ReLU": layer("BatchNorm", bottoms="h", tops="n")
    + layer("Scale", "scale_param { bias_term: true }", "n", "s")
    + layer("ReLU", bottoms="s", tops="y"),
    "a sum and ReLU": layer("Eltwise", bottoms="h z", tops="e")
    + layer("ReLU", bottoms="e", tops="y"),
    "Scale and a sum": layer("Scale", bottoms="h", tops="s")
    + layer("Eltwise", bottoms="z s", tops="y"),
}
FRONT = {
    "implicit_gemm": "num_output: 6 kernel_size: 3 stride: 2",
    "groups": "num_output: 6 kernel_size: 3 stride: 2 group: 2",
    "depthwise": "num_output: 4 group: 4 kernel_size: 4 stride: 2 pad: 1",
    "gemm_1x1": "num_output: 6 kernel_size: 1",
    "gemm_1x1 strided": "num_output: 6 kernel_size: 1 stride: 2 bias_term: false",
    "strided with bias": "num_output: 6 kernel_size: 1 stride: 3",
    "winograd": "num_output: 32 kernel_size: 3 pad: 1",
    "columns": "num_output: 2 kernel_size: 3",
}
SIZES = {"winograd": (2, 32, 16, 16), "columns": (8, 8, 4, 4)}  # for which they are chosen


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("front", FRONT)
def test_layers_behind_are_done_in_the_same_pass(front, behind):
    text = deconv(FRONT[front], tops="h")
    size = SIZES.get(front, (2, 4, 9, 7))
    top = make_net(text, {"x": size}).blobs["h"].shape
    inputs = {"x": size, "z": top} if "z" in BEHIND[behind] else {"x": size}
    kept = make_net(text + BEHIND[behind], inputs, phase="TEST")
    fused = make_net(text + BEHIND[behind], inputs, phase="TEST", keep="outputs")
    values = {name: normal(*shape) for name, shape in inputs.items()}
    for net in (kept, fused):
        fill_params(net)
        for row in net._core.param_rows():
            if row["layer"] == "n":  # variances are positive
                blob = net.params["n"][row["index"]]
                blob.data[...] = np.abs(blob.data) + 0.5
    for _ in range(2):
        want, got = (net.forward(**values)["y"] for net in (kept, fused))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
        for net in (kept, fused):
            net.params["h"][0].data[...] *= 0.5


def test_changed_weights_are_seen():
    net = make_net(deconv("num_output: 3 kernel_size: 4 stride: 2"), {"x": (1, 5, 6, 6)}, "TEST")
    fill_params(net)
    x = normal(1, 5, 6, 6)
    bias = net.params["y"][1].data
    first = [net.forward(x=x)["y"].copy() for _ in range(3)][-1]
    net.params["y"][0].data[...] *= 3
    np.testing.assert_allclose(
        net.forward(x=x)["y"] - bias[:, None, None], 3 * (first - bias[:, None, None]), rtol=1e-4,
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("front", FRONT)
def test_bfloat16(front):
    text = layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }", "x", "c")
    text += deconv(FRONT[front], bottoms="c", tops="h")
    text += layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "h", "d")
    results = []
    for precision in ("FLOAT32", "BF16"):
        net = make_net(text + "force_backward: true", {"x": (8, 3, 8, 8)}, precision=precision)
        fill_params(net)
        y = net.forward(x=normal(8, 3, 8, 8))["d"].copy()
        net.blobs["d"].diff[...] = normal(*y.shape, seed=1)
        net.backward()
        results.append([y, net.blobs["x"].diff.copy(), net.params["h"][0].diff.copy()])
    for want, got in zip(*results, strict=True):
        assert np.linalg.norm(got - want) < 0.02 * np.linalg.norm(want)


def test_gradients_of_several_bottoms_add_up():
    net = make_net(
        deconv("num_output: 3 kernel_size: 3 stride: 2", bottoms="x z", tops="y u", name="d")
        + "force_backward: true",
        {"x": (1, 2, 4, 3), "z": (1, 2, 4, 3)},
    )
    fill_params(net)
    net.forward(x=normal(1, 2, 4, 3), z=normal(1, 2, 4, 3, seed=5))
    gradients = []
    for y, u in ((1, 1), (1, 0), (0, 1)):
        net.blobs["y"].diff[...], net.blobs["u"].diff[...] = y, u
        net._core.clear_param_diffs()
        net.backward()
        gradients.append([blob.diff.copy() for blob in net.params["d"]])
    for both, first, second in zip(*gradients, strict=True):
        np.testing.assert_allclose(both, first + second, rtol=1e-4, atol=1e-5)


def test_reshape():
    net = make_net(deconv("num_output: 2 kernel_size: 4 stride: 2"), {"x": (1, 3, 4, 4)})
    net.blobs["x"].reshape(2, 3, 5, 6)
    net.reshape()
    assert net.blobs["y"].shape == (2, 2, 12, 14)
    net.blobs["x"].reshape(2, 4, 5, 6)
    with pytest.raises(Error, match="was set up for 3 channels"):
        net.reshape()


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("kernel_size: 3", (1, 2, 3, 3), "num_output must be given"),
        ("num_output: 2", (1, 2, 3, 3), "kernel_size must be given"),
        ("num_output: 3 group: 2 kernel_size: 1", (1, 2, 3, 3), "group 2 must divide both the 2"),
        ("num_output: 2 kernel_size: 1 pad: 2", (1, 2, 3, 4), "3x4 .* gives -1x0"),
        ("num_output: 2 kernel_size: 2 pad: 1", (1, 2, 1, 1), "leaves nothing of the output"),
        ("num_output: 2 kernel_size: 3 stride: 0", (1, 2, 3, 3), "stride must be at least 1"),
        ("num_output: 2 kernel_size: 3 stride: 2 stride: 2 stride: 2", (1, 2, 3, 3),
         "stride is given 3 times for 2"),
        ("num_output: 2 kernel_size: 3 kernel_h: 2", (1, 2, 3, 3), "either kernel"),
        ("num_output: 2 kernel_size: 3 stride: 2147483647", (1, 2, 3000, 3000), "memory"),
        ("num_output: 2 kernel_size: 2147483647", (1, 2, 3, 3), "memory|bytes"),
    ],
)  # fmt: skip
def test_errors(fields, shape, message):
    with pytest.raises(Error, match=message) as caught:
        make_net(deconv(fields, name="d"), {"x": shape})
    assert 'layer "d" (Deconvolution)' in str(caught.value)


def test_one_top_for_each_bottom():
    with pytest.raises(Error, match="each bottom needs one top"):
        make_net(
            deconv("num_output: 2 kernel_size: 1", bottoms="x z"),
            {"x": (1, 2, 3, 3), "z": (1, 2, 3, 3)},
        )


def test_a_caffemodel_of_one_goes_in_and_out(tmp_path):
    text = input_layers({"x": (1, 4, 3, 3)}) + deconv("num_output: 6 kernel_size: 3 group: 2")
    net = pydl.Net(pydl.prototxt.parse(text))
    fill_params(net)
    net.save(tmp_path / "d.caffemodel")
    again = pydl.Net(pydl.prototxt.parse(text), weights=tmp_path / "d.caffemodel")
    assert net.params["y"][0].shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(net.params["y"][0].data, again.params["y"][0].data)

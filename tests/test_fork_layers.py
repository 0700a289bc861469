"""Basic layers of Caffe's forks: values against numpy, and what they refuse. Their golden cases are
in test_golden.py, their gradients in test_gradients.py."""

import numpy as np
import pytest
from bf16 import to_bf16
from net_text import conv, dense, fill_params, layer, make_net, normal
from solver_runs import assert_params_equal, make_solver, params_of

from pydl import Error, _core

ISAS = _core.kernels.available_isas()


def run(text, /, phase="TEST", keep="all", **inputs):
    """The outputs of a net for the arrays given."""
    net = make_net(text, inputs, phase=phase, keep=keep)
    return net.forward(**inputs)


def refuse(match, text, /, phase="TEST", **inputs):
    with pytest.raises(Error, match=match):
        run(text, phase=phase, **inputs)


# Movement


def strides(shape, order):
    """Of the axes of an array whose axes lie in memory in that order."""
    found, step = [0] * len(shape), 1
    for axis in reversed(order):
        found[axis] = step
        step *= shape[axis]
    return found


BOXES = [
    ((), (), ()),
    ((0, 3), (0, 1), (1, 0)),
    ((1, 1, 1), (0, 1, 2), (2, 1, 0)),
    ((7, 5), (0, 1), (1, 0)),
    ((300, 259), (0, 1), (1, 0)),
    ((64, 64), (0, 1), (1, 0)),
    ((3, 40_009), (0, 1), (1, 0)),
    ((40_009, 3), (0, 1), (1, 0)),
    ((2, 21, 9, 13), (0, 1, 2, 3), (0, 2, 3, 1)),
    ((2, 9, 13, 21), (0, 1, 2, 3), (0, 3, 1, 2)),
    ((2, 3, 4, 5, 6), (0, 1, 2, 3, 4), (4, 2, 0, 3, 1)),
    ((5, 17, 33, 2), (0, 1, 2, 3), (3, 2, 1, 0)),
    ((50, 3, 80), (0, 1, 2), (0, 2, 1)),
    ((50, 80, 3), (0, 1, 2), (0, 2, 1)),
    ((4, 6, 300_000), (0, 1, 2), (1, 0, 2)),
    ((3, 200_001), (0, 1), (0, 1)),
]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize(("shape", "x_order", "y_order"), BOXES)
def test_boxes_are_copied(shape, x_order, y_order, half):
    values = normal(*shape)
    values = to_bf16(values) if half else values
    x = np.ascontiguousarray(values.transpose(x_order)).ravel()
    y = np.empty_like(x)
    movement = _core.kernels.movement
    box = movement.Box(
        shape=list(shape), x_stride=strides(shape, x_order), y_stride=strides(shape, y_order)
    )
    movement.copy_box(box, x, y)
    np.testing.assert_array_equal(y, values.transpose(y_order).ravel())


def permute(*order, **names):
    fields = " ".join(f"order: {i}" for i in order)
    return layer("Permute", f"permute_param {{ {fields} }}", **names)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 1, 2), (1, 0), (3, 2, 1, 0), (2,), ()])
@pytest.mark.parametrize("channels_last", [False, True])
def test_permute(order, channels_last):
    """Of an input, and of the output of a convolution, which lies in memory channels-last."""
    x = normal(2, 5, 6, 7)
    full = [*order, *(i for i in range(4) if i not in order)]
    if not channels_last:
        got = run(permute(*order), x=x)["y"]
        np.testing.assert_array_equal(got, x.transpose(full))
        return
    text = conv("5 kernel_size: 1", tops="c") + permute(*order, bottoms="c")
    net = make_net(text, {"x": x})
    got = net.forward(x=x)["y"]
    np.testing.assert_array_equal(got, net.blobs["c"].data.transpose(full))


def test_permute_refuses():
    refuse(r"order names axis 4, but its bottom 2x3x4x5 has the axes 0 to 3",
           permute(0, 4), x=normal(2, 3, 4, 5))  # fmt: skip
    refuse("order names axis 1 twice", permute(1, 1), x=normal(2, 3))
    refuse('cannot work in place: give its top "x"', permute(0, tops="x"), x=normal(2, 3))


@pytest.mark.parametrize("inner", [(), (3,), (4, 5)])
@pytest.mark.parametrize("group", [1, 2, 3, 12])
def test_shuffle_channel(group, inner):
    x = normal(2, 12, *inner)
    text = layer("ShuffleChannel", f"shuffle_channel_param {{ group: {group} }}")
    want = x.reshape(2, group, 12 // group, *inner).swapaxes(1, 2).reshape(x.shape)
    np.testing.assert_array_equal(run(text, x=x)["y"], want)


def test_shuffle_channel_refuses():
    text = layer("ShuffleChannel", "shuffle_channel_param { group: 5 }")
    refuse("group 5 must divide the 4 channels of its bottom 2x4x3", text, x=normal(2, 4, 3))
    refuse("group 0", text.replace("5", "0"), x=normal(2, 4))
    refuse("channel axis", text, x=normal(4))


def test_reorg_and_back():
    x = normal(2, 8, 4, 6)
    text = layer("Reorg", "reorg_param { stride: 2 }", tops="s") + layer(
        "Reorg", "reorg_param { stride: 2 reverse: true }", "s", "y"
    )
    net = make_net(text, {"x": x})
    y = net.forward(x=x)["y"]
    assert net.blobs["s"].shape == (2, 32, 2, 3)
    want = x.reshape(2, 2, 4, 2, 6, 2).transpose(0, 3, 5, 1, 2, 4)
    np.testing.assert_array_equal(net.blobs["s"].data.ravel(), want.ravel())
    # Back from (32, 2, 3): the spatial inverse, of another shape's memory.
    s = net.blobs["s"].data.reshape(2, 2, 2, 8, 2, 3).transpose(0, 3, 4, 1, 5, 2)
    np.testing.assert_array_equal(y.ravel(), s.ravel())


def test_reorg_refuses():
    text = layer("Reorg", "reorg_param { stride: 2 }")
    refuse(r"multiple of stride\^2 = 4 channels, but its bottom is 1x6x4x4", text,
           x=normal(1, 6, 4, 4))  # fmt: skip
    refuse("stride 2 must divide the height and the width", text, x=normal(1, 4, 3, 4))
    refuse("4 axes", text, x=normal(4, 4))


# Elementwise


def relu6(x, slope):
    return np.minimum(np.maximum(x, 0), 6) + slope * np.minimum(x, 0)


MAPS = {
    "ReLU6": (lambda x: relu6(x, 0), ""),
    "ReLU6 leaky": (lambda x: relu6(x, 0.25), "relu6_param { negative_slope: 0.25 }"),
    "HardSwish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, ""),
    "Mish": (lambda x: x * np.tanh(np.log1p(np.exp(x))), ""),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", MAPS)
def test_activations(name, isa):
    _core.kernels.set_isa(isa)
    function, params = MAPS[name]
    x = (4 * normal(2, 3, 7, 5)).astype("f")
    got = run(layer(name.split()[0], params), x=x)["y"]
    np.testing.assert_allclose(got, function(x.astype(float)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_activations_in_place_have_the_same_gradients(name):
    x = (4 * normal(2, 3, 7, 5)).astype("f")
    gradients = []
    for top in ("y", "x"):
        text = "force_backward: true " + layer(name.split()[0], MAPS[name][1], "x", top)
        net = make_net(text, {"x": x}, phase="TEST")
        net.forward(x=x)
        net.blobs[top].diff[...] = normal(*x.shape, seed=1)
        net.backward()
        gradients.append(net.blobs["x"].diff.copy())
    np.testing.assert_array_equal(*gradients)


def test_relu6_gives_no_gradient_at_its_kinks():
    net = make_net("force_backward: true " + layer("ReLU6"), {"x": (5,)})
    net.forward(x=np.array([-1.0, 0, 3, 6, 7], "f"))
    net.blobs["y"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [0, 0, 1, 0, 0])


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_axpy(shape, channels_last):
    a, x, z = normal(*shape), normal(2, 5, 4, 3, seed=1), normal(2, 5, 4, 3, seed=2)
    text = conv("5 kernel_size: 1", tops="c") if channels_last else layer("Split", tops="c")
    net = make_net(text + layer("Axpy", bottoms="a c z"), {"a": a, "x": x, "z": z})
    got = net.forward(a=a, x=x, z=z)["y"]
    want = a.reshape(2, 5, 1, 1) * net.blobs["c"].data + z
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_axpy_refuses():
    text, x = layer("Axpy", bottoms="a x z"), normal(2, 5, 4)
    refuse("one factor for each item and channel of its second bottom 2x5x4.*is 2x4",
           text, a=normal(2, 4), x=x, z=x)  # fmt: skip
    refuse("2x5x4 and 2x5x3", text, a=normal(2, 5), x=x, z=normal(2, 5, 3))


# Normalize, Interp, Upsample


@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shared", ["true", "false"])
@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (3, 5), (2, 3, 4)])
def test_normalize(across, shared, shape):
    x = normal(*shape)
    params = f"norm_param {{ across_spatial: {across} channel_shared: {shared} eps: 0.1 }}"
    net = make_net(layer("Normalize", params), {"x": x})
    fill_params(net)
    scale = net.params["y"][0].data
    assert scale.shape == (() if shared == "true" else (shape[1],))
    axes = tuple(range(1, len(shape))) if across == "true" else 1
    length = np.sqrt((x.astype(float) ** 2).sum(axes, keepdims=True) + 0.1)
    want = x / length * scale.reshape(-1, *[1] * (len(shape) - 2))
    np.testing.assert_allclose(net.forward(x=x)["y"], want, rtol=1e-5, atol=1e-6)


def test_normalize_starts_at_one_and_refuses():
    assert make_net(layer("Normalize"), {"x": (2, 3, 4)}).params["y"][0].data == 1
    refuse("channel axis", layer("Normalize"), x=normal(3))
    refuse("eps must not be negative, got -1", layer("Normalize", "norm_param { eps: -1 }"),
           x=normal(2, 3))  # fmt: skip


def interpolated(x, height, width):
    """Between aligned corners, in float64."""
    for axis, out in ((2, height), (3, width)):
        size = x.shape[axis]
        places = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0)
        low = np.minimum(places.astype(int), size - 1)
        high = np.minimum(low + 1, size - 1)
        weight = (places - low).reshape(-1, *[1] * (3 - axis))
        x = x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight
    return x


SIZES = {
    "height: 5 width: 12": (5, 12),
    "zoom_factor: 3": (16, 19),
    "shrink_factor: 2": (3, 4),
    "shrink_factor: 2 zoom_factor: 4": (9, 13),
    "zoom_factor: 2 height: 5 width: 5": (11, 13),  # the factor is looked at first
    "shrink_factor: 3 height: 5 width: 5": (2, 3),
    "zoom_factor: 2 shrink_factor: 2 height: 5 width: 4": (5, 4),  # ... unless both are given
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("fields", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 19])
def test_interp(fields, channels, isa):
    _core.kernels.set_isa(isa)
    x = normal(2, channels, 6, 7)
    got = run(layer("Interp", f"interp_param {{ {fields} }}"), x=x)["y"]
    want = interpolated(x.astype(float), *SIZES[fields])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_interp_of_a_part_and_to_the_size_of_another_blob():
    x, like = normal(1, 3, 8, 9), normal(2, 1, 4, 11)
    got = run(layer("Interp", "interp_param { pad_beg: -2 pad_end: -1 }", "x z"), x=x, z=like)["y"]
    want = interpolated(x[:, :, 2:-1, 2:-1].astype(float), 4, 11)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_interp_refuses():
    def of(fields, x=(1, 2, 4, 4)):
        return layer("Interp", f"interp_param {{ {fields} }}"), normal(*x)

    for match, (text, x) in {
        "give height and width, zoom_factor, shrink_factor, or a second bottom": of(""),
        "pad_beg 1 and pad_end 0 can only cut off": of("pad_beg: 1 zoom_factor: 2"),
        "only height is given": of("height: 2"),
        "must be at least 1, got 0": of("zoom_factor: 0"),
        "leave nothing of its bottom 1x2x4x4": of("zoom_factor: 2 pad_beg: -2 pad_end: -2"),
        "4 axes": of("zoom_factor: 2", (2, 3)),
    }.items():
        refuse(match, text, x=x)


def upsample(fields="", **names):
    return layer("Upsample", f"upsample_param {{ {fields} }}", bottoms="x i", **names)


@pytest.mark.parametrize("channels_last", [False, True])
def test_upsample_undoes_pooling(channels_last):
    """A plane of 7 x 5, with windows that do not fit."""
    text = conv("5 kernel_size: 1", tops="c") if channels_last else layer("Split", tops="c")
    text += layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "c", "p m", name="p")
    text += layer("Upsample", "upsample_param { pad_out_h: true pad_out_w: true }", "p m")
    x = normal(2, 5, 7, 5)
    net = make_net(text, {"x": x})
    y = net.forward(x=x)["y"]
    c = net.blobs["c"].data
    assert y.shape == c.shape
    kept = y != 0
    np.testing.assert_array_equal(y[kept], c[kept])
    assert kept.sum() == 2 * 5 * 4 * 3


TOPS = {
    "": (6, 8),
    "scale: 3": (9, 12),
    "scale_h: 3 scale_w: 2": (9, 8),
    "upsample_h: 5 upsample_w: 9": (5, 9),
    "scale: 2 pad_out_h: true": (5, 8),
}


@pytest.mark.parametrize("fields", TOPS)
def test_upsample_sizes(fields):
    x, index = normal(1, 2, 3, 4), np.arange(24.0).reshape(1, 2, 3, 4) % 12
    y = run(upsample(fields), x=x, i=index)["y"]
    assert y.shape == (1, 2, *TOPS[fields])
    np.testing.assert_array_equal(y.reshape(2, -1)[:, :12], x.reshape(2, 12))


def test_upsample_to_one_place():
    """The last value stays; its gradient goes to all that were sent there, as in SegNet."""
    net = make_net("force_backward: true " + upsample(), {"x": (1, 1, 1, 3), "i": (1, 1, 1, 3)})
    y = net.forward(x=np.array([[[[1.0, 2, 3]]]]), i=np.array([[[[4.0, 7, 4]]]]))["y"]
    np.testing.assert_array_equal(y.ravel(), [0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0, 0])
    net.blobs["y"].diff[...] = np.arange(12).reshape(1, 1, 2, 6)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff.ravel(), [4, 7, 4])


@pytest.mark.parametrize("wrong", [48.0, -1.0, np.nan, np.inf, 1e30])
def test_upsample_refuses_an_index_outside(wrong):
    index = np.arange(24.0).reshape(1, 2, 3, 4)
    index[0, 1, 2, 0] = wrong
    refuse(r"index \S+ at \[0, 1, 2, 0\] of the 1x2x3x4 inputs is not in 0 to 47, .*6x8; give "
           "upsample_h and upsample_w", upsample(), x=normal(1, 2, 3, 4), i=index)  # fmt: skip


def test_upsample_refuses():
    x = normal(1, 2, 3, 4)
    for match, fields in {
        "scale must be at least 2, got 1": "scale: 1",
        "only scale_h is given": "scale_h: 2",
        "only upsample_w is given": "upsample_w: 2",
        "give either scale, or scale_h and scale_w": "scale: 2 scale_h: 2 scale_w: 2",
        "go with scale 2 only, got 3 and 3": "scale: 3 pad_out_h: true",
    }.items():
        refuse(match, upsample(fields), x=x, i=np.zeros_like(x))
    refuse("an index for each of its values", upsample(), x=x, i=normal(1, 2, 3, 3))


# Convolution and pooling under other names and fields


def same_convolution(text, other, x):
    """Two nets of one convolution give the same, with the same weights."""
    results = []
    for one in (text, other):
        net = make_net(one, {"x": x})
        fill_params(net)
        results.append(net.forward(x=x)["y"])
    np.testing.assert_array_equal(*results)


def convolution(kind, fields):
    return layer(kind, f"convolution_param {{ {fields} }}")


@pytest.mark.parametrize(
    ("kind", "fields", "plain"),
    [
        ("DepthwiseConvolution", "num_output: 8 group: 4 kernel_size: 3",
         "num_output: 8 group: 4 kernel_size: 3"),
        ("ConvolutionDepthwise", "kernel_size: 3 pad: 1 stride: 2",
         "num_output: 4 group: 4 kernel_size: 3 pad: 1 stride: 2"),
        ("ConvolutionDepthwise", "num_output: 99 kernel_h: 3 kernel_w: 2 bias_term: false",
         "num_output: 4 group: 4 kernel_h: 3 kernel_w: 2 bias_term: false"),
        ("Convolution", "num_output: 3 kernel_size: 3 pad: 2 hole: 2",
         "num_output: 3 kernel_size: 3 pad: 2 dilation: 2"),
        ("Convolution", "num_output: 3 kernel_size: 2 hole_h: 2 hole_w: 3",
         "num_output: 3 kernel_size: 2 dilation: 2 dilation: 3"),
    ],
)  # fmt: skip
def test_convolution_of_forks(kind, fields, plain):
    text, other = convolution(kind, fields), convolution("Convolution", plain)
    same_convolution(text, other, normal(2, 4, 8, 9))


@pytest.mark.parametrize("param", ["convolution_param", "convolution3d_param"])
def test_convolution_of_c3d(param):
    text = convolution("Convolution3D", "num_output: 3 kernel_size: 3 kernel_depth: 2 pad: 1 "
                       "stride: 2 temporal_pad: 2 temporal_stride: 3")  # fmt: skip
    other = convolution("Convolution", "num_output: 3 kernel_size: 2 kernel_size: 3 kernel_size: 3 "
                        "pad: 2 pad: 1 pad: 1 stride: 3 stride: 2 stride: 2")  # fmt: skip
    x = normal(1, 2, 5, 6, 7)
    same_convolution(text.replace("convolution_param", param), other, x)
    one = convolution("Convolution3D", "num_output: 3 kernel_size: 3")  # of one image at a time
    other = convolution("Convolution",
                        "num_output: 3 kernel_size: 1 kernel_size: 3 kernel_size: 3")  # fmt: skip
    same_convolution(one.replace("convolution_param", param), other, x)


def test_convolutions_refuse():
    x = normal(1, 4, 6, 6)
    refuse("give either dilation or hole",
           convolution("Convolution", "num_output: 2 kernel_size: 3 hole: 2 dilation: 2"),
           x=x)  # fmt: skip
    refuse("for 3 spatial axes, but there are 2",
           convolution("Convolution", "num_output: 2 kernel_size: 3 kernel_depth: 2"),
           x=x)  # fmt: skip
    both = "convolution_param { num_output: 2 kernel_size: 1 } convolution3d_param { group: 1 }"
    refuse("either convolution_param or convolution3d_param", layer("Convolution3D", both),
           x=normal(1, 2, 3, 4, 5))  # fmt: skip


def pooling(fields, kind="Pooling"):
    return layer(kind, f"pooling_param {{ {fields} }}")


@pytest.mark.parametrize("field", ["ceil_mode: false", "torch_pooling: true"])
def test_pooling_rounds_down(field):
    x = normal(1, 2, 6, 8)
    text = pooling(f"kernel_size: 3 stride: 2 {field}")
    want = run(pooling("kernel_size: 3 stride: 2 round_mode: FLOOR"), x=x)["y"]
    assert want.shape == (1, 2, 2, 3)
    np.testing.assert_array_equal(run(text, x=x)["y"], want)
    assert run(pooling("kernel_size: 3 stride: 2 ceil_mode: true"), x=x)["y"].shape == (1, 2, 3, 4)


@pytest.mark.parametrize("isa", ISAS)
def test_average_pooling_without_its_padding(isa):
    _core.kernels.set_isa(isa)
    fields = "pool: AVE kernel_size: 3 stride: 2 pad: 1"
    x, ones = normal(2, 3, 7, 8), np.ones((2, 3, 7, 8), "f")
    counted, share = (run(pooling(fields), x=v)["y"] for v in (x, ones))
    got = run(pooling(f"{fields} avg_include_pad: false"), x=x)["y"]
    np.testing.assert_allclose(got, counted / share, rtol=1e-5, atol=1e-6)
    assert share.min() < 0.5


@pytest.mark.parametrize("param", ["pooling_param", "pooling3d_param"])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_pooling_of_c3d(param, pool):
    x = normal(1, 2, 5, 6, 7)
    fields = f"pool: {pool} kernel_size: 2 kernel_depth: 3 stride: 2 temporal_stride: 2"
    text = pooling(fields, "Pooling3D").replace("pooling_param", param)
    other = pooling(f"pool: {pool} kernel_size: 3 kernel_size: 2 kernel_size: 2 stride: 2")
    np.testing.assert_array_equal(run(text, x=x)["y"], run(other, x=x)["y"])
    flat = pooling(f"pool: {pool} kernel_size: 2 stride: 2", "Pooling3D")
    assert run(flat.replace("pooling_param", param), x=x)["y"].shape == (1, 2, 5, 3, 4)


# Batch normalisation with factors and biases of its own


def normalised(x, mean, variance, eps, scale=1.0, bias=0.0):
    mean, variance, scale, bias = (
        np.reshape(v, (1, -1, *[1] * (x.ndim - 2))) for v in (mean, variance, scale, bias)
    )
    return (x - mean) / np.sqrt(variance + eps) * scale + bias


def moments(x):
    axes = (0, *range(2, x.ndim))
    return x.mean(axes, dtype=float), x.var(axes, dtype=float)


def bn(fields="", **names):
    return layer("BN", f"bn_param {{ {fields} }}", **names)


SEGNET = ["", "scale_filler { value: 2 } shift_filler { value: 1 }", "bn_mode: LEARN"]
PSPNET = [
    "slope_filler { value: 2 }", "bias_filler { value: 1 }", "momentum: 0.8", "eps: 1e-3",
    "frozen: false", "decay: 0.8", "var_eps: 1e-3", "moving_average: true",
]  # fmt: skip


@pytest.mark.parametrize("fields", SEGNET + PSPNET)
def test_bn_tells_its_forms_apart(fields):
    net = make_net(bn(fields), {"x": (2, 3, 4, 5)})
    shapes = [blob.shape for blob in net.params["y"]]
    assert shapes == [(1, 3, 1, 1)] * (4 if fields in PSPNET else 2)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_segnets_bn_measures_in_both_phases(phase):
    x = 3 * normal(2, 3, 4, 5) + 1
    net = make_net(bn(tops="y m v", name="l"), {"x": x}, phase=phase)
    fill_params(net)
    scale, shift = (blob.data for blob in net.params["l"])
    tops = net.forward(x=x)
    np.testing.assert_allclose(
        tops["y"], normalised(x, *moments(x), 1e-9, scale, shift), rtol=0, atol=1e-5
    )
    for name, value in zip("mv", moments(x), strict=True):
        assert tops[name].shape == (1, 3, 1, 1)
        np.testing.assert_allclose(tops[name].ravel(), value, rtol=1e-5)


def test_segnets_bn_inference():
    x = normal(2, 3, 4, 5)
    net = make_net(bn("bn_mode: INFERENCE"), {"x": x})
    fill_params(net)
    scale, shift = (blob.data for blob in net.params["y"])
    np.testing.assert_allclose(net.forward(x=x)["y"], x * scale + shift, rtol=1e-6, atol=1e-6)


def test_pspnets_bn_runs():
    net = make_net(bn("momentum: 0.7 eps: 0.01"), {"x": (2, 3, 4, 5)}, phase="TRAIN")
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = 2 * normal(2, 3, 4, 5, seed=seed) + 1
        got = net.forward(x=x)["y"]
        np.testing.assert_allclose(got, normalised(x, *moments(x), 0.01), rtol=0, atol=1e-5)
        of_batch = moments(x)
        mean, variance = 0.7 * mean + 0.3 * of_batch[0], 0.7 * variance + 0.3 * of_batch[1]
    running = [blob.data.ravel() for blob in net.params["y"][2:]]
    np.testing.assert_allclose(running, [mean, variance], rtol=1e-5, atol=1e-6)
    test = make_net(bn("momentum: 0.7 eps: 0.01"), {"x": x}, phase="TEST")
    for blob, value in zip(test.params["y"][2:], running, strict=True):
        blob.data.reshape(3)[...] = value
    got = test.forward(x=x)["y"]
    np.testing.assert_allclose(got, normalised(x, *running, 0.01), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fields", ["decay: 0.7 var_eps: 0.01", "moving_average: false"])
def test_old_names_of_pspnets_bn(fields):
    x = 2 * normal(2, 3, 4, 5) + 1
    net = make_net(bn(fields), {"x": x}, phase="TRAIN")
    got = net.forward(x=x)["y"]
    eps, keep = (0.01, 0.7) if "decay" in fields else (1e-5, 0)
    np.testing.assert_allclose(got, normalised(x, *moments(x), eps), rtol=0, atol=1e-5)
    want = [keep * start + (1 - keep) * v for start, v in zip((0, 1), moments(x), strict=True)]
    running = [blob.data.ravel() for blob in net.params["y"][2:]]
    np.testing.assert_allclose(running, want, rtol=1e-5, atol=1e-6)


def test_a_frozen_bn_learns_nothing():
    net = make_net("force_backward: true " + bn("frozen: true"), {"x": (2, 3, 4, 5)}, phase="TRAIN")
    fill_params(net)
    net.params["y"][3].data[...] = 0.5
    before = [blob.data.copy() for blob in net.params["y"]]
    x = normal(2, 3, 4, 5)
    np.testing.assert_allclose(
        net.forward(x=x)["y"],
        normalised(x, before[2], before[3], 1e-5, before[0], before[1]), rtol=0, atol=1e-5,
    )  # fmt: skip
    net.blobs["y"].diff[...] = 1
    net.backward()
    for blob, value in zip(net.params["y"], before, strict=True):
        np.testing.assert_array_equal(blob.data, value)
        assert not blob.diff.any()
    assert net.blobs["x"].diff.any()


def test_bn_refuses():
    x = normal(2, 3, 4, 5)
    for match, fields in {
        "bn_mode INFERENCE is SegNet's": "bn_mode: INFERENCE momentum: 0.9",
        "either momentum or decay": "decay: 0.9 momentum: 0.9",
        "either eps or var_eps": "eps: 0.1 var_eps: 0.1",
    }.items():
        refuse(match, bn(fields), x=x)
    refuse("channel axis", bn(), x=normal(3))


def batch_norm(fields, **names):
    return layer("BatchNorm", f"batch_norm_param {{ {fields} }}", **names)


@pytest.mark.parametrize(
    ("fields", "blobs"),
    [
        ("", 3), ("eps: 0.1", 3), ("scale_bias: true", 5), ("scale_bias: false", 3),
        ("scale_filler { value: 2 }", 5), ("bias_filler { value: 2 }", 5),
        ("use_weight_bias: true", 5), ("use_weight_bias: false", 3), ("bias_term: false", 4),
        ("filler { value: 2 } bias_filler { value: 1 }", 5),
    ],
)  # fmt: skip
def test_batch_norm_has_blobs_by_its_fields(fields, blobs):
    net = make_net(batch_norm(fields), {"x": (2, 3, 4, 5)})
    assert [b.shape for b in net.params["y"]] == [(3,), (3,), (1,), (3,), (3,)][:blobs]


def test_intels_batch_norm_is_batch_norm_and_scale():
    x = 2 * normal(2, 3, 4, 5) + 1
    text = batch_norm("use_weight_bias: true filler { value: 2 } bias_filler { value: -1 }")
    net = make_net(text, {"x": x}, phase="TRAIN")
    np.testing.assert_allclose(
        net.forward(x=x)["y"], normalised(x, *moments(x), 1e-5, 2, -1), rtol=0, atol=1e-5
    )
    mean, variance, weight = (blob.data for blob in net.params["y"][:3])
    n = x.size // 3
    np.testing.assert_allclose(mean, moments(x)[0], rtol=1e-5)
    np.testing.assert_allclose(variance, moments(x)[1] * n / (n - 1), rtol=1e-5)
    assert weight == 1


@pytest.mark.parametrize("passes", [1, 2])
def test_nvidias_batch_norm_resumes_bit_for_bit(passes, tmp_path):
    """Its first two passes overwrite the averages: a snapshot tells how many there were."""
    text = (
        dense(4, "x", "h", "first")
        + batch_norm("scale_bias: true", bottoms="h", tops="b")
        + dense(3, "b", "f", name="second")
        + layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    )
    straight, net = make_solver(text)
    for _ in range(passes):
        straight.step()
    straight.snapshot(str(tmp_path / "half"))
    resumed, other = make_solver(text, seed=5, first=passes)
    resumed.restore(str(tmp_path / "half"))
    for solver in (straight, resumed):
        for _ in range(3):
            solver.step()
    assert_params_equal(params_of(other), params_of(net))


@pytest.mark.parametrize(
    "text",
    [
        bn("eps: 0.01", bottoms="c"), bn("bn_mode: INFERENCE", bottoms="c"), bn(bottoms="c"),
        batch_norm("scale_bias: true", bottoms="c"), batch_norm("bias_term: false", bottoms="c"),
        batch_norm("", bottoms="c"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rectifier", ["ReLU", "ReLU6"])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_fusion_changes_nothing(text, phase, rectifier):
    """Behind a convolution, whose weights do it where it can, and before a rectifier."""
    x = 5 * normal(2, 4, 7, 6)
    text = conv("5 kernel_size: 3", tops="c") + text + layer(rectifier, bottoms="y", tops="z")
    results = []
    for keep in ("all", "outputs"):
        net = make_net(text, {"x": x}, phase=phase, keep=keep)
        fill_params(net)
        for blobs in net.params.values():  # variances are positive
            for blob in blobs[1:]:
                blob.data[...] = np.abs(blob.data) + 0.1
        results.append(net.forward(x=x)["z"])
    np.testing.assert_allclose(*results, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "kind",
    [bn("eps: 0.01", bottoms="c", tops="b"), batch_norm("scale_bias: true", bottoms="c", tops="b")],
)
@pytest.mark.parametrize("summed", [False, True])
def test_fused_training_gives_the_same_gradients(kind, summed):
    """Of a residual block, or one without its shortcut."""
    text = conv("5 kernel_size: 3 pad: 1", tops="c") + kind
    text += layer("Eltwise", bottoms="b x", tops="s") if summed else layer("Split", "", "b", "s")
    text += layer("ReLU", bottoms="s", tops="r") + dense(3, "r", "f")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    inputs = {"x": normal(4, 5, 6, 6), "t": np.array([0.0, 2, 1, 1])}
    results = []
    for keep in ("all", "outputs"):
        net = make_net(text, inputs, keep=keep)
        fill_params(net)
        net.forward(**inputs)
        net._core.clear_param_diffs()
        net.backward()
        results.append([b.diff.copy() for blobs in net.params.values() for b in blobs])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(np.abs(want).max(), 1e-3))


# SoftmaxWithLoss


def cross_entropy(scores, labels, weights=None, smoothing=0.0, ignore=None):
    """Mean over valid labels; scores (N, C, ...)."""
    scores = np.moveaxis(scores.astype(float), 1, -1).reshape(-1, scores.shape[1])
    labels = labels.astype(int).ravel()
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    costs = -(1 - smoothing) * logs[np.arange(len(labels)), labels] - smoothing * logs.mean(1)
    costs *= 1 if weights is None else np.asarray(weights)[labels]
    return costs[labels != ignore].mean()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
@pytest.mark.parametrize("weights", [None, (0.5, 2, 3)])
@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 5, 4)])
def test_labels_are_smoothed_and_weighed(shape, ignore, weights, smoothing, isa):
    _core.kernels.set_isa(isa)
    x = 2 * normal(*shape)
    labels = np.random.default_rng(0).integers(0, 3, (shape[0], *shape[2:])).astype("f")
    fields = f"label_smoothing: {smoothing}"
    fields += "" if ignore is None else f" ignore_label: {ignore}"
    if weights:
        fields += " weight_by_label_freqs: true "
        fields += " ".join(f"class_weighting: {w}" for w in weights)
    text = layer("SoftmaxWithLoss", f"loss_param {{ {fields} }}", "x t")
    for phase, used in (("TRAIN", smoothing), ("TEST", 0)):
        loss = run(text, phase=phase, x=x, t=labels)["y"]
        assert loss == pytest.approx(cross_entropy(x, labels, weights, used, ignore), rel=1e-5)


def test_class_weighting_is_looked_at_only_if_asked_for():
    text = layer("SoftmaxWithLoss", "loss_param { class_weighting: 3 class_weighting: 2 }", "x t")
    x, labels = normal(4, 3), np.array([0.0, 2, 1, 1])
    assert run(text, x=x, t=labels)["y"] == pytest.approx(cross_entropy(x, labels), rel=1e-5)


def test_softmax_loss_refuses():
    given = {"x": normal(4, 3), "t": np.zeros(4)}
    for match, fields in {
        "label_smoothing must be from 0 to 1, got 1.5": "label_smoothing: 1.5",
        r"class_weighting is given 1 time\(s\), but the prediction has 3 classes":
            "weight_by_label_freqs: true class_weighting: 1",
    }.items():  # fmt: skip
        refuse(match, layer("SoftmaxWithLoss", f"loss_param {{ {fields} }}", "x t"), **given)


# Half precision


@pytest.mark.parametrize(
    "text",
    [
        layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", "c"),
        layer("ShuffleChannel", "shuffle_channel_param { group: 4 }", "c"),
        layer("Reorg", "", "c"), layer("ReLU6", "", "c"), layer("Mish", "", "c"),
        layer("Normalize", "norm_param { across_spatial: false }", "c"),
        layer("Interp", "interp_param { zoom_factor: 2 }", "c"),
        bn("eps: 0.01", bottoms="c"), batch_norm("scale_bias: true", bottoms="c"),
    ],
)  # fmt: skip
def test_layers_work_in_bfloat16(text):
    x = normal(2, 8, 6, 6)
    results = []
    for precision in ("FLOAT32", "BF16"):
        body = conv("16 kernel_size: 1", tops="c") + text
        net = make_net(body + dense(3, "y", "z"), {"x": x}, phase="TRAIN", precision=precision)
        fill_params(net)
        results.append(net.forward(x=x)["z"])
    np.testing.assert_allclose(*results, rtol=0, atol=0.04 * np.abs(results[0]).max())

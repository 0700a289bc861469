"""Pooling over one to three axes, and spatial pyramids of it, against loops in numpy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error, _core, caffe

ISAS = _core.kernels.available_isas()
GOLDEN = Path(__file__).parent / "golden"


def pooling(fields, **names):
    return layer("Pooling", f"pooling_param {{ {fields} }}", **names)


def counts(size, kernel, stride, pad, floor):
    """Caffe's: rounded up, but no window starts in the padding behind the image."""
    room = size + 2 * pad - kernel
    count = (room // stride if floor else -(-room // stride)) + 1
    return count - 1 if (count - 1) * stride >= size + pad else count


def pool(x, kernel, stride, pad, method, floor=False):
    """Values, and indices of maxima in their planes."""
    sides = [*zip(x.shape[2:], kernel, stride, pad, strict=True)]
    out = [counts(*side, floor) for side in sides]
    y, index = np.zeros((*x.shape[:2], *out)), np.zeros((*x.shape[:2], *out))
    plane = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
    for o in itertools.product(*map(range, out)):
        starts = [i * s - p for i, (_, _, s, p) in zip(o, sides, strict=True)]
        ends = [min(b + k, n + p) for b, (n, k, _, p) in zip(starts, sides, strict=True)]
        inside = tuple(
            slice(max(b, 0), min(e, n)) for b, e, n in zip(starts, ends, x.shape[2:], strict=True)
        )
        window = x[(slice(None), slice(None), *inside)].reshape(*x.shape[:2], -1)
        if method == "AVE":
            area = np.prod([e - b for b, e in zip(starts, ends, strict=True)])
            y[(..., *o)] = window.sum(-1, dtype=np.float64) / area
        else:
            y[(..., *o)] = window.max(-1)
            index[(..., *o)] = plane[inside].reshape(-1)[window.argmax(-1)]
    return y, index


# size, kernel, stride, pad
WINDOWS = (
    ((9,), (3,), (2,), (0,)),
    ((10,), (3,), (2,), (1,)),
    ((7,), (7,), (1,), (0,)),
    ((8, 5), (3, 2), (2, 1), (1, 0)),
    ((30, 22), (17, 16), (3, 2), (5, 3)),  # 272 positions: no byte
    ((5, 6, 7), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    ((5, 4, 6), (3, 2, 3), (2, 1, 3), (1, 1, 2)),
    ((3, 3, 3), (1, 2, 1), (2, 3, 1), (0, 1, 0)),
)


def fields_of(kernel, stride, pad):
    named = {"kernel_size": kernel, "stride": stride, "pad": pad}
    return " ".join(f"{name}: {v}" for name, values in named.items() for v in values)


def net_of(text, shape, channels_last):
    """With a convolution in front that changes nothing but the layout."""
    if not channels_last:
        return make_net(text, {"x": shape})
    same = f"convolution_param {{ num_output: {shape[1]} kernel_size: 1 bias_term: false }}"
    net = make_net(layer("Convolution", same, "z", "x") + text, {"z": shape})
    net.params["x"][0].data.reshape(shape[1], -1)[...] = np.eye(shape[1])
    return net


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels_last", [False, True], ids=["plain", "channels-last"])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: "x".join(map(str, w[0])))
def test_windows(window, method, channels_last, isa):
    _core.kernels.set_isa(isa)
    size, *rest = window
    x = np.round(normal(2, 19, *size), 1)  # with ties: the first of two counts
    for mode in ("CEIL", "FLOOR"):
        text = f"pool: {method} {fields_of(*rest)} round_mode: {mode}"
        tops = "y m" if method == "MAX" else "y"
        net = net_of(pooling(text, tops=tops, name="p"), x.shape, channels_last)
        found = net.forward(**{net.inputs[0]: x})
        want, index = pool(x, *rest, method, mode == "FLOOR")
        assert found["y"].shape == want.shape
        np.testing.assert_allclose(found["y"], want, rtol=1e-5, atol=1e-6)
        if method == "MAX":
            np.testing.assert_array_equal(found["m"], index)


@pytest.mark.parametrize("size", [(6,), (4, 5), (3, 4, 5), (17, 16)])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_global(method, size):
    x = normal(2, 5, *size)
    net = make_net(pooling(f"pool: {method} global_pooling: true"), {"x": x.shape})
    whole = x.reshape(2, 5, -1)
    want = whole.max(-1) if method == "MAX" else whole.mean(-1)
    np.testing.assert_allclose(net.forward(x=x)["y"].reshape(2, 5), want, rtol=1e-5, atol=1e-6)
    net.blobs["x"].reshape(1, 5, *(n + 1 for n in size))
    net.reshape()
    assert net.blobs["y"].shape == (1, 5, *(1,) * len(size))


def test_two_axes_may_be_given_like_three():
    x = normal(1, 2, 7, 8)
    found = [
        make_net(pooling(f"pool: AVE {fields}"), {"x": x.shape}).forward(x=x)["y"]
        for fields in ("kernel_size: 3 kernel_size: 2 stride: 1 stride: 2",
                       "kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2")
    ]  # fmt: skip
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
def test_stochastic(size):
    """In training one of the values, as often as it is large; in testing what that comes to."""
    x = np.random.default_rng(0).uniform(0.5, 2, (1, 4, *size)).astype(np.float32)
    fields = "pool: STOCHASTIC kernel_size: 2 stride: 2"
    train, test = (make_net(pooling(fields), {"x": x.shape}, phase) for phase in ("TRAIN", "TEST"))
    want = test.forward(x=x)["y"]
    draws = np.stack([train.forward(x=x)["y"] for _ in range(2000)])
    assert np.isin(draws, x).all()
    assert (draws.std(0) > 0).all()
    np.testing.assert_allclose(draws.mean(0), want, rtol=0.04)


@pytest.mark.parametrize("case", ["k2s2", "k3s2_ceil", "signed"])
def test_stochastic_as_caffes_gpu_code_has_it(case):
    path = GOLDEN / "layers_derived" / "Pooling" / f"stochastic_test_{case}"
    net = caffe.Net(str(path.with_suffix(".prototxt")), caffe.TEST)
    with np.load(path.with_suffix(".npz")) as arrays:
        for key, value in arrays.items():
            if key.startswith("bottom/"):
                net.blobs[key.removeprefix("bottom/")].data[...] = value
        net.forward()
        tops = [key for key in arrays if key.startswith("top/")]
        for key in tops:
            np.testing.assert_allclose(
                net.blobs[key.removeprefix("top/")].data, arrays[key], rtol=1e-5, atol=1e-6
            )
    assert tops


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("kernel_size: 2", (3, 4), "3 to 5 axes .* 3x4"),
        ("kernel_size: 2", (1, 2, 3, 3, 3, 3), "3 to 5 axes"),
        ("kernel_size: 2 kernel_size: 2", (1, 2, 3, 3, 3), "kernel_size is given 2 times for 3"),
        ("kernel_h: 2 kernel_w: 2", (1, 2, 5), "kernel_h and kernel_w are for 2 spatial axes"),
        ("kernel_h: 2", (1, 2, 5, 5), "kernel_h and kernel_w go together, but only kernel_h"),
        ("kernel_size: 3 pad_w: 1", (1, 2, 5, 5), "pad_h and pad_w go together, but only pad_w"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", (1, 2, 5, 5), "give either kernel"),
        ("kernel_size: 2 pad: 0 pad: 2 pad: 0", (1, 2, 5, 5, 5), "pad 0x2x0 must be smaller"),
        ("kernel_size: 0", (1, 2, 5, 5), "kernel_size must be at least 1, got 0"),
        ("kernel_size: 2 stride: 0", (1, 2, 5, 5), "stride must be at least 1, got 0"),
        ("kernel_size: 4", (1, 2, 5, 3, 5), "kernel 4x4x4 is larger than its padded input 5x3x5"),
        ("global_pooling: true kernel_size: 3", (1, 2, 5), "leave out kernel_size"),
        ("global_pooling: true stride: 2", (1, 2, 5), "pad 0 and stride 1 only"),
        ("pool: STOCHASTIC kernel_size: 2 pad: 1", (1, 2, 5, 5), "no padding, got pad 1x1"),
        ("", (1, 2, 5, 5), "needs kernel_size"),
    ],
)
def test_errors(fields, shape, message):
    with pytest.raises(Error, match=message) as caught:
        make_net(pooling(fields, name="p"), {"x": shape})
    assert 'layer "p" (Pooling)' in str(caught.value)


# SPP


def spp(fields, **names):
    return layer("SPP", f"spp_param {{ {fields} }}", **names)


def pyramid(x, height, method):
    levels = []
    for i in range(height):
        bins = 2**i
        kernel = [-(-n // bins) for n in x.shape[2:]]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True)]
        levels.append(pool(x, kernel, kernel, pad, method)[0].reshape(len(x), -1))
    return np.concatenate(levels, axis=1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels_last", [False, True], ids=["plain", "channels-last"])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("size", "height"), [((8, 8), 4), ((13, 10), 3), ((5, 7), 2), ((20, 17), 3)]
)
def test_pyramid(size, height, method, channels_last, isa):
    _core.kernels.set_isa(isa)
    x = normal(3, 18, *size)
    net = net_of(spp(f"pyramid_height: {height} pool: {method}"), x.shape, channels_last)
    want = pyramid(x, height, method)
    assert want.shape == (3, 18 * (4**height - 1) // 3)
    for _ in range(2):
        np.testing.assert_allclose(
            net.forward(**{net.inputs[0]: x})["y"], want, rtol=1e-5, atol=1e-6
        )


def test_pyramid_of_one_level_is_global_pooling():
    x = normal(2, 3, 5, 7)
    (y,) = make_net(spp("pyramid_height: 1"), {"x": x.shape}).forward(x=x).values()
    np.testing.assert_array_equal(y, x.max((2, 3), keepdims=True))


def test_pyramid_has_one_size_for_all_images():
    net = make_net(spp("pyramid_height: 2"), {"x": (2, 3, 6, 8)})
    net.blobs["x"].reshape(1, 3, 11, 5)
    x = normal(1, 3, 11, 5)
    np.testing.assert_allclose(net.forward(x=x)["y"], pyramid(x, 2, "MAX"))


def test_pyramid_draws_one_value_of_each_window():
    x = np.random.default_rng(0).uniform(0.5, 2, (1, 2, 4, 8)).astype(np.float32)
    fields = "pyramid_height: 2 pool: STOCHASTIC"
    train, test = (make_net(spp(fields), {"x": x.shape}, phase) for phase in ("TRAIN", "TEST"))
    draws = np.stack([train.forward(x=x)["y"] for _ in range(2000)])
    assert np.isin(draws, x).all()
    np.testing.assert_allclose(draws.mean(0), test.forward(x=x)["y"], rtol=0.06)


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("", (1, 2, 5, 5), "pyramid_height must be given"),
        ("pyramid_height: 0", (1, 2, 5, 5), "pyramid_height must be given and positive"),
        ("pyramid_height: 4", (1, 2, 9, 7), "pyramid_height 4 is too large for a bottom of 9x7"),
        ("pyramid_height: 4294967295", (1, 2, 9, 9), "4294967295 is too large"),
        ("pyramid_height: 3", (1, 2, 5, 8), "5 pixels into 4 windows of 2"),
        ("pyramid_height: 2", (1, 2, 5), "4 axes .* 1x2x5"),
        ("pyramid_height: 2 pool: STOCHASTIC", (1, 2, 5, 6), "takes no padding, but 2 windows"),
        ("pyramid_height: 2 pool: MEAN", (1, 2, 5, 5), "MAX, AVE"),
    ],
)
def test_pyramid_errors(fields, shape, message):
    with pytest.raises(Error, match=message):
        make_net(spp(fields, name="p"), {"x": shape})

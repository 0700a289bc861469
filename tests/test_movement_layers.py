"""Layers that pick, cut, repeat and move values: against numpy, on edges, and what they refuse."""

import numpy as np
import pytest
from net_text import conv, dense, fill_params, layer, make_net, normal

from pydl import Error, _core

ISAS = _core.kernels.available_isas()
LAST = conv("4 kernel_size: 1", bottoms="x", tops="h")  # leaves its top channels-last


def forward(text, **inputs):
    return make_net(text, inputs, phase="TEST").forward(**inputs)


def bottom_diffs(text, diffs, **inputs):
    """The gradients of the inputs from those of the tops."""
    net = make_net(text + "force_backward: true", inputs)
    net.forward(**inputs)
    for name, values in diffs.items():
        net.blobs[name].diff[...] = values
    net.backward()
    return {name: net.blobs[name].diff for name in inputs}


# ArgMax


def ranked(x, k, axis):
    """Numbers of the k largest along an axis; of equal ones the later first, as in Caffe."""
    n = x.shape[axis]
    backwards = np.argsort(np.flip(-x, axis), axis=axis, kind="stable")
    return np.take(n - 1 - backwards, range(k), axis=axis)


def argmax(fields):
    return layer("ArgMax", f"argmax_param {{ {fields} }}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_argmax_along_an_axis(axis, k, isa):
    _core.kernels.set_isa(isa)
    x = np.random.default_rng(0).integers(0, 4, (5, 9, 3, 37)).astype(np.float32)
    want = ranked(x, k, axis)
    fields = f"axis: {axis} top_k: {k}"
    np.testing.assert_array_equal(forward(argmax(fields), x=x)["y"], want)
    values = forward(argmax(f"{fields} out_max_val: true"), x=x)["y"]
    np.testing.assert_array_equal(values, np.take_along_axis(x, want, axis))


@pytest.mark.parametrize("shape", [(4,), (3, 7), (2, 3, 5), (2, 3, 2, 3, 2)])
def test_argmax_of_items(shape):
    x = normal(*shape)
    rows = x.reshape(shape[0], -1)
    k = min(2, rows.shape[1])
    want = ranked(rows, k, 1)
    plain = forward(argmax(f"top_k: {k}"), x=x)["y"]
    both = forward(argmax(f"top_k: {k} out_max_val: true"), x=x)["y"]
    axes = max(len(shape), 3)
    assert plain.shape == (shape[0], 1, k, *[1] * (axes - 3))
    assert both.shape == (shape[0], 2, k, *[1] * (axes - 3))
    np.testing.assert_array_equal(plain.reshape(shape[0], k), want)
    np.testing.assert_array_equal(both[:, 0].reshape(shape[0], k), want)
    found = np.take_along_axis(rows, want, 1)
    np.testing.assert_array_equal(both[:, 1].reshape(shape[0], k), found)


@pytest.mark.parametrize("k", [1, 2])
def test_argmax_of_channels_last(k):
    net = make_net(LAST + argmax(f"axis: 1 top_k: {k}").replace('"x"', '"h"'), {"x": (2, 3, 5, 4)})
    fill_params(net)
    y = net.forward(x=normal(2, 3, 5, 4))["y"]
    np.testing.assert_array_equal(y, ranked(net.blobs["h"].data, k, 1))


def test_argmax_finds_nan():
    x = np.float32([[1, np.nan, 5, np.nan, 2], [-np.inf] * 5])
    np.testing.assert_array_equal(forward(argmax("axis: 1 top_k: 3"), x=x)["y"][0], [3, 1, 2])
    np.testing.assert_array_equal(forward(argmax("axis: 1"), x=x)["y"], [[3], [4]])


# BatchReindex

REINDEX = layer("BatchReindex", bottoms="x i")


@pytest.mark.parametrize("numbers", [[2, 0, 2, 1], [1], [], [2.9, 0.4]])
def test_batch_reindex(numbers):
    x, i = normal(3, 2, 5), np.float32(numbers)
    whole = i.astype(int)
    np.testing.assert_array_equal(forward(REINDEX, x=x, i=i)["y"], x[whole])
    dy = normal(len(i), 2, 5, seed=1)
    want = np.zeros_like(x)
    np.add.at(want, whole, dy)
    np.testing.assert_allclose(bottom_diffs(REINDEX, {"y": dy}, x=x, i=i)["x"], want, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 3, np.nan])
def test_batch_reindex_refuses_other_numbers(wrong):
    with pytest.raises(Error, match=r"at \[1\] of the 2 inputs is not in 0 to 2; .* has 3 items"):
        forward(REINDEX, x=normal(3, 2), i=np.float32([0, wrong]))


def test_batch_reindex_checks_numbers_again_before_the_gradient():
    net = make_net(REINDEX + "force_backward: true", {"x": (3, 2), "i": (2,)})
    net.forward(x=normal(3, 2), i=np.float32([0, 1]))
    net.blobs["i"].data[...] = 7
    with pytest.raises(Error, match="index 7"):
        net.backward()


def test_batch_reindex_refuses_numbers_of_two_axes():
    with pytest.raises(Error, match="must have one axis, but is 2x1"):
        make_net(REINDEX, {"x": (3, 2), "i": (2, 1)})


# Crop


def crop(fields="", bottoms="x z"):
    return layer("Crop", f"crop_param {{ {fields} }}", bottoms=bottoms)


@pytest.mark.parametrize(
    ("fields", "like", "begin"),
    [
        ("", (9, 9, 3, 4), (0, 0, 0, 0)),
        ("offset: 1", (2, 4, 3, 4), (0, 0, 1, 1)),
        ("axis: 1 offset: 1 offset: 0 offset: 2", (1, 2, 5, 4), (0, 1, 0, 2)),
        ("axis: 0 offset: 1", (1, 2, 3, 4), (1, 1, 1, 1)),
        ("axis: -1 offset: 3", (0, 0, 0, 3, 7), (0, 0, 0, 3)),
        ("axis: 1", (2, 4, 5, 6), (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_crop(fields, like, begin, channels_last):
    text = crop(fields)
    if channels_last:
        text = LAST + crop(fields, "h z") + layer("TanH", bottoms="y", tops="end")
    net = make_net(text + "force_backward: true", {"x": (2, 4, 5, 6), "z": like})
    fill_params(net)
    net.forward(x=normal(2, 4, 5, 6))
    x, y = net.blobs["h" if channels_last else "x"], net.blobs["y"]
    axis = next(int(w) for w in [*fields.split()[1:2], 2]) if "axis" in fields else 2
    axis %= 4
    shape = (2, 4, 5, 6)[:axis] + tuple(like[axis:4])
    part = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
    np.testing.assert_array_equal(y.data, x.data[part])
    top = net.blobs["end" if channels_last else "y"]
    top.diff[...] = normal(*shape, seed=3)
    net.backward()
    want = np.zeros((2, 4, 5, 6), np.float32)
    want[part] = y.diff
    np.testing.assert_array_equal(x.diff, want)


@pytest.mark.parametrize(
    ("fields", "like", "message"),
    [
        ("offset: 2", (2, 4, 3, 5), "along axis 3, 5 values from offset 2 on are more than the 6"),
        ("axis: 4", (2, 4, 5, 6), "axis 4 is out of range"),
        ("offset: 1 offset: 1 offset: 1", (2, 4, 5, 6), "once for each of the 2 axes from 2 on"),
        ("", (5, 6), "fewer axes than the first, 2x4x5x6"),
        ("offset: 4294967295", (2, 4, 5, 6), "offset 4294967295"),
    ],
)
def test_crop_refuses(fields, like, message):
    with pytest.raises(Error, match=message):
        make_net(crop(fields), {"x": (2, 4, 5, 6), "z": like})


# Filter

FILTER = layer("Filter", bottoms="x z s", tops="y u", name="f")


SELECTIONS = (
    [1, 0, 1, 0, 0], [0, 1, 1, -1, 0.5], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 2],
    [1, 0, 0, 0, 1],
)  # fmt: skip


@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_filter_changes_its_size_from_pass_to_pass(keep):
    inputs = {"x": (5, 3), "z": (5, 2, 2), "s": (5, 1, 1)}
    text = FILTER + dense(4, bottoms="y", tops="v") + layer("TanH", bottoms="v", tops="end")
    net = make_net(text, inputs, phase="TEST", keep=keep)
    full = make_net(dense(4, tops="v") + layer("TanH", bottoms="v"), {"x": (5, 3)}, phase="TEST")
    fill_params(net), fill_params(full)
    x, z = normal(5, 3), normal(5, 2, 2, seed=1)
    want = full.forward(x=x)["y"].copy()
    for chosen in SELECTIONS:
        selector = np.float32(chosen)
        out = net.forward(x=x, z=z, s=selector.reshape(5, 1, 1))
        which = selector != 0
        np.testing.assert_array_equal(out["u"], z[which])
        np.testing.assert_allclose(out["end"], want[which], rtol=1e-5)


@pytest.mark.parametrize("chosen", SELECTIONS)
def test_filter_backward(chosen):
    x, z, selector = normal(5, 3), normal(5, 2, 2, seed=1), np.float32(chosen)
    which = selector != 0
    dy, du = normal(which.sum(), 3, seed=2), normal(which.sum(), 2, 2, seed=3)
    got = bottom_diffs(FILTER, {"y": dy, "u": du}, x=x, z=z, s=selector)
    for name, diff, like in (("x", dy, x), ("z", du, z)):
        want = np.zeros_like(like)
        want[which] = diff
        np.testing.assert_array_equal(got[name], want)


def test_filter_in_training_with_shared_memory():
    """The memory plan is made for the sizes of the pass before; gradients are as with all kept."""
    text = dense(6, tops="h") + layer("Filter", bottoms="h s", tops="y", name="f")
    text += layer("TanH", bottoms="y", tops="v") + dense(3, bottoms="v", tops="w")
    text += layer("Reduction", "reduction_param { operation: SUMSQ } loss_weight: 1", "w", "loss")
    nets = [make_net(text, {"x": (5, 4), "s": (5,)}, keep=keep) for keep in ("all", "outputs")]
    for chosen in SELECTIONS:
        results = []
        for net in nets:
            fill_params(net)
            net._core.clear_param_diffs()
            loss = net.forward(x=normal(5, 4), s=np.float32(chosen))["loss"].copy()
            net.backward()
            diffs = [p.diff.copy() for blobs in net.params.values() for p in blobs]
            results.append([loss, *diffs])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.any(results[0][1]) == np.any(chosen)


@pytest.mark.parametrize(
    ("inputs", "tops", "message"),
    [
        ({"s": (4,)}, "y u", 'bottom "x" must have as many items along axis 0 as the last .* 4'),
        ({"s": (5, 2)}, "y u", "one value for each item, but is 5x2"),
        ({"z": (3, 2)}, "y u", 'bottom "z" must have as many items'),
        ({}, "y", "needs a top for each bottom but the last, which selects: 2, not 1"),
    ],
)
def test_filter_refuses(inputs, tops, message):
    text = layer("Filter", bottoms="x z s", tops=tops, name="f")
    with pytest.raises(Error, match=message):
        make_net(text, {"x": (5, 3), "z": (5, 2, 2), "s": (5,)} | inputs)


def test_filter_needs_a_forward_pass_before_a_backward_pass():
    net = make_net(FILTER + "force_backward: true", {"x": (5, 3), "z": (5, 2), "s": (5,)})
    net.forward(x=normal(5, 3), z=normal(5, 2), s=np.float32([1, 0, 0, 1, 0]))
    net.reshape()
    with pytest.raises(Error, match="reshaped after the last forward pass"):
        net.backward()


# Slice


def cut(fields, tops="a b c"):
    return layer("Slice", f"slice_param {{ {fields} }}", tops=tops, name="s")


@pytest.mark.parametrize(
    ("fields", "axis", "points"),
    [
        ("", 1, [2, 4]),
        ("axis: 0 slice_point: 1 slice_point: 2", 0, [1, 2]),
        ("axis: -1 slice_point: 3 slice_point: 4", 3, [3, 4]),
        ("slice_dim: 2", 2, [1, 2]),
        ("slice_point: 1 slice_point: 6", 1, [1, 6]),  # nothing is left for the last one
    ],
)
@pytest.mark.parametrize("precision", ["FLOAT32", "BF16"])
def test_slice(fields, axis, points, precision):
    x = normal(4, 6, 3, 5).round(1)
    net = make_net(cut(fields) + "force_backward: true", {"x": x}, precision=precision)
    tops = net.forward(x=x)
    for name, want in zip("abc", np.split(x, points, axis), strict=True):
        np.testing.assert_array_equal(tops[name], want)
        net.blobs[name].diff[...] = 2 * want
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, 2 * x)


def test_slice_of_channels_last():
    text = LAST + layer("Slice", bottoms="h", tops="a b", name="s")
    text += layer("Concat", bottoms="b a", tops="y")
    net = make_net(text + "force_backward: true", {"x": (2, 3, 5, 4)})
    fill_params(net)
    net.forward(x=normal(2, 3, 5, 4))
    h = net.blobs["h"].data
    np.testing.assert_array_equal(net.blobs["a"].data, h[:, :2])
    np.testing.assert_array_equal(net.blobs["y"].data, np.roll(h, 2, axis=1))
    net.blobs["y"].diff[...] = dy = normal(2, 4, 5, 4, seed=1)
    net.backward()
    np.testing.assert_array_equal(net.blobs["h"].diff, np.roll(dy, 2, axis=1))


@pytest.mark.parametrize("text", [cut("axis: 0", "y"), layer("Concat")])
def test_one_part_shares_the_memory_of_the_whole(text):
    net = make_net(text + "force_backward: true", {"x": (2, 3)})
    x, y = net.blobs["x"], net.blobs["y"]
    net.forward(x=normal(2, 3))
    assert np.shares_memory(x.data, y.data) and np.shares_memory(x.diff, y.diff)


@pytest.mark.parametrize(
    ("fields", "tops", "message"),
    [
        ("", "a b c d", "cannot cut axis 1 .* 4x6x3 into 4 parts of one size; give slice_point"),
        ("slice_point: 2", "a b c", r"given 1 time\(s\) for 3 tops; 2 expected"),
        ("slice_point: 3 slice_point: 2", "a b c", "slice_point 2 is not in 4 to 6"),
        ("slice_point: 0", "a b", "slice_point 0 is not in 1 to 6"),
        ("slice_point: 7", "a b", "slice_point 7 is not in 1 to 6"),
        ("axis: 2 slice_point: 1 slice_point: 2 slice_point: 3", "a b c d", "cannot be cut into 4"),
        ("axis: 3", "a b", "axis 3 is out of range"),
        ("slice_dim: 3", "a b", "slice_dim 3 is out of range"),
        ("slice_dim: 4294967295", "a b", "slice_dim 4294967295 is out of range"),
        ("axis: 1 slice_dim: 1", "a b", "either axis or slice_dim"),
    ],
)
def test_slice_refuses(fields, tops, message):
    with pytest.raises(Error, match=message):
        make_net(cut(fields, tops), {"x": (4, 6, 3)})


# Tile


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("shape", "axis", "tiles"),
    [
        ((2, 3, 4), 1, 3), ((2, 3), -1, 1), ((3, 1), 1, 1000), ((1, 5), 0, 70), ((4, 7), 1, 33),
        ((2, 3, 5000), 1, 4), ((3,), 0, 2), ((40, 2), 1, 129),
    ],
)  # fmt: skip
def test_tile(shape, axis, tiles, isa):
    _core.kernels.set_isa(isa)
    x = normal(*shape)
    text = layer("Tile", f"tile_param {{ axis: {axis} tiles: {tiles} }}")
    repeats = [1] * len(shape)
    repeats[axis] = tiles
    np.testing.assert_array_equal(forward(text, x=x)["y"], want := np.tile(x, repeats))
    dy = normal(*want.shape, seed=1)
    axis %= len(shape)
    parts = dy.reshape(*shape[:axis], tiles, *shape[axis:]).sum(axis, dtype=np.float64)
    got = bottom_diffs(text, {"y": dy}, x=x)["x"]
    np.testing.assert_allclose(got, parts, rtol=1e-5, atol=1e-5)


def test_tile_in_bf16():
    text = dense(3, tops="h") + layer("Tile", "tile_param { tiles: 4 }", "h", "t") + dense(2, "t")
    net = make_net(text, {"x": (5, 6)}, precision="BF16")
    assert net._core.layer_rows()[-2]["dtype"] == "bfloat16"
    fill_params(net)
    net.forward(x=normal(5, 6))
    np.testing.assert_array_equal(net.blobs["t"].data, np.tile(net.blobs["h"].data, (1, 4)))


@pytest.mark.parametrize("fields", ["", "tiles: 0", "tiles: -2"])
def test_tile_refuses(fields):
    with pytest.raises(Error, match="tiles must be given and positive"):
        make_net(layer("Tile", f"tile_param {{ {fields} }}"), {"x": (2, 3)})


def test_tile_refuses_more_than_fits_in_memory():
    with pytest.raises(Error, match="memory limit"):
        make_net(layer("Tile", "tile_param { tiles: 2147483647 }"), {"x": (1000, 1000)})


# Parameter


def parameter(name, *dims):
    shape = " ".join(f"dim: {d}" for d in dims)
    fields = f'param {{ name: "{name}" }} parameter_param {{ shape {{ {shape} }} }}'
    return layer("Parameter", fields, bottoms="", tops=name)


def test_parameter_gives_its_blob_and_sums_its_gradients():
    text = parameter("p", 2, 3) + layer("Eltwise", bottoms="p x") + "force_backward: true"
    net = make_net(text, {"x": (2, 3)})
    (blob,) = net.params["p"]
    assert blob.shape == (2, 3) and not blob.data.any()
    blob.data[...] = want = normal(2, 3, seed=1)
    x = normal(2, 3)
    np.testing.assert_array_equal(net.forward(x=x)["y"], want + x)
    for times in (1, 2):
        net.blobs["y"].diff[...] = 3
        net.backward()
        np.testing.assert_array_equal(blob.diff, 3.0 * times)


def test_parameter_is_not_changed_by_a_layer_in_place():
    net = make_net(parameter("p", 4) + layer("ReLU", bottoms="p", tops="p", name="r"))
    net.params["p"][0].data[...] = [-1, 2, -3, 4]
    for _ in range(2):
        np.testing.assert_array_equal(net.forward()["p"], [0, 2, 0, 4])


def test_parameter_shared_by_name_and_without_a_shape():
    text = parameter("p", 2) + parameter("p", 2).replace('top: "p"', 'top: "q"').replace(
        'name: "p" type', 'name: "second" type'
    )
    net = make_net(text)
    net.params["p"][0].data[...] = [5, 6]
    np.testing.assert_array_equal(net.forward()["q"], [5, 6])
    scalar = make_net(layer("Parameter", bottoms=""))
    assert scalar.forward()["y"].shape == ()


# Nets of nothing


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (argmax("axis: 2"), {"x": (0, 3, 4)}),
        (argmax("top_k: 2"), {"x": (0, 3)}),
        (REINDEX, {"x": (0, 3), "i": (0,)}),
        (REINDEX, {"x": (3, 0), "i": (2,)}),
        (crop(), {"x": (2, 0, 3, 3), "z": (1, 1, 2, 2)}),
        (crop(), {"x": (2, 1, 3, 3), "z": (1, 1, 0, 2)}),
        (FILTER, {"x": (0, 3), "z": (0, 2), "s": (0,)}),
        (cut("axis: 0"), {"x": (0, 3)}),
        (cut(""), {"x": (2, 0)}),
        (layer("Tile", "tile_param { tiles: 3 }"), {"x": (0, 2)}),
        (layer("Tile", "tile_param { tiles: 3 }"), {"x": (2, 0, 3)}),
        (layer("Reduction"), {"x": (0, 3)}),
        (layer("Reduction", "reduction_param { axis: 1 operation: ASUM }"), {"x": (0, 3)}),
        (layer("MVN"), {"x": (0, 3, 2, 2)}),
        (layer("MVN", "mvn_param { across_channels: true }"), {"x": (2, 0, 2, 2)}),
        (layer("LSTMUnit", bottoms="c g t", tops="y u", name="l"),
         {"c": (1, 0, 3), "g": (1, 0, 12), "t": (1, 0)}),
        (layer("LSTMUnit", bottoms="c g t", tops="y u", name="l"),
         {"c": (1, 2, 0), "g": (1, 2, 0), "t": (1, 2)}),
        (layer("RNN", "recurrent_param { num_output: 3 }", bottoms="x t"),
         {"x": (0, 2, 3), "t": (0, 2)}),
        (layer("RNN", "recurrent_param { num_output: 3 }", bottoms="x t"),
         {"x": (4, 0, 3), "t": (4, 0)}),
        (layer("RNN", "recurrent_param { num_output: 3 }", bottoms="x t"),
         {"x": (4, 2, 0), "t": (4, 2)}),
        (parameter("y", 0, 3), {}),
    ],
)  # fmt: skip
def test_blobs_without_elements(text, inputs, isa):
    _core.kernels.set_isa(isa)
    for keep in ("all", "outputs"):
        net = make_net(text + "force_backward: true", inputs, keep=keep)
        for _ in range(2):
            net.forward()
        net.backward()
        assert all(np.isfinite(net.blobs[name].data).all() for name in net.outputs)

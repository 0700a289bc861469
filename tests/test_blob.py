"""Blobs: numpy views that stay live, layouts, shapes and limits."""

import gc

import numpy as np
import pytest
from net_text import conv, fill_params, layer, make_net, normal

import pydl
from pydl import Error, _core

# Blobs by themselves


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 3, 4, 5), (1, 2, 1, 3, 1), (0, 4)])
def test_new_blob_is_zero(shape):
    blob = _core.Blob(*shape)
    assert blob.shape == shape and blob.count == np.prod(shape, dtype=int)
    for array in (blob.data, blob.diff):
        assert array.shape == shape and array.dtype == np.float32
        assert array.flags.writeable and array.flags.c_contiguous
        assert not array.any()


def test_data_and_diff_are_views_of_their_own():
    blob = _core.Blob(2, 3)
    data = blob.data
    data[...] = normal(2, 3)
    blob.diff[...] = 7
    np.testing.assert_array_equal(blob.data, normal(2, 3))
    np.testing.assert_array_equal(data, normal(2, 3))
    assert np.shares_memory(data, blob.data) and not np.shares_memory(data, blob.diff)


def test_views_outlive_the_blob():
    blob = _core.Blob(1000, 1000)
    data = blob.data
    data[...] = 3
    del blob
    gc.collect()
    assert data.sum() == 3_000_000


def test_reshape():
    blob = _core.Blob(2, 6)
    blob.data[...] = np.arange(12).reshape(2, 6)
    blob.reshape(3, 4)
    np.testing.assert_array_equal(blob.data, np.arange(12).reshape(3, 4))
    blob.reshape([4, 3, 1])
    assert blob.shape == (4, 3, 1)
    blob.reshape(5, 5)
    assert not blob.data.any()
    blob.data[...] = 1
    blob.reshape(2, 2)
    assert blob.data.shape == (2, 2)


def test_old_views_stay_valid_after_reshape():
    blob = _core.Blob(100)
    old = blob.data
    old[...] = 5
    blob.reshape(100_000)
    blob.data[...] = 6
    blob.reshape(3)
    gc.collect()
    assert old.shape == (100,)
    assert np.isfinite(old).all()


@pytest.mark.parametrize("shape", [(-1,), (2, -3), (0, -1), (-1, 0)])
def test_negative_dims(shape):
    with pytest.raises(Error, match="negative"):
        _core.Blob(*shape)


def test_too_many_axes():
    assert _core.Blob(*[1] * 32).count == 1
    with pytest.raises(Error, match="33 axes"):
        _core.Blob(*[1] * 33)


@pytest.mark.parametrize("shape", [(2**40, 2**40, 0), (0, 2**62)])
def test_refuses_an_empty_blob_whose_other_dims_are_beyond_the_limit(shape):
    with pytest.raises(Error, match="larger than the memory limit"):  # numpy has no such arrays
        _core.Blob(*shape)


@pytest.mark.parametrize("shape", [(2**62, 2**62), (2**32, 2**32), (2**63 - 1,), (10**5, 10**6)])
def test_sizes_are_checked_before_memory_is_taken(shape):
    with pytest.raises(Error, match="memory limit"):
        _core.Blob(*shape)


def test_memory_limit():
    pydl.set_memory_limit(4000)
    assert pydl.memory_limit() == 4000
    assert _core.Blob(1000).count == 1000
    with pytest.raises(Error, match=r"shape 1001 .*PYDL_MEMORY_LIMIT"):
        _core.Blob(1001)
    blob = _core.Blob(10)
    blob.data[...] = 1
    with pytest.raises(Error, match="memory limit"):
        blob.reshape(1001)
    assert blob.shape == (10,) and blob.data.sum() == 10, "unchanged"
    with pytest.raises(Error, match="positive"):
        pydl.set_memory_limit(0)


# Blobs of a net

CONVS = (
    conv("5 kernel_size: 3 pad: 1", tops="c1")
    + layer("ReLU", bottoms="c1", tops="c1", name="r1")
    + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "c1", "p1")
    + conv("6 kernel_size: 3", bottoms="p1", tops="c2")
    + layer("Softmax", bottoms="c2", tops="out")
)


def convs(**options):
    net = make_net(CONVS + "force_backward: true", {"x": (2, 3, 8, 9)}, **options)
    fill_params(net)
    return net


def test_channels_last_views_show_nchw_values():
    image = normal(2, 3, 8, 9)
    net = convs()
    net.forward(x=image)
    _core.kernels.set_isa("ref")
    reference = convs()
    reference.forward(x=image)
    seen = [net.blobs[name].channels_last for name in net.blobs]
    assert any(seen), "convolutions work channels-last"
    for name, blob in net.blobs.items():
        want = reference.blobs[name].data
        assert blob.data.shape == blob.shape == want.shape
        np.testing.assert_allclose(blob.data, want, rtol=1e-4, atol=1e-5, err_msg=name)
    _, c, h, w = net.blobs["c1"].shape
    assert net.blobs["c1"].channels_last
    assert net.blobs["c1"].data.strides == (4 * c * h * w, 4, 4 * c * w, 4 * c)


def test_inputs_outputs_and_parameters_are_contiguous():
    net = convs()
    net.forward(x=normal(2, 3, 8, 9))
    arrays = [net.blobs[name].data for name in (*net.inputs, *net.outputs)]
    arrays += [blob.data for blobs in net.params.values() for blob in blobs]
    arrays += [blob.diff for blobs in net.params.values() for blob in blobs]
    assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays)


@pytest.mark.parametrize("name", ["x", "c1", "p1", "c2", "out"])
def test_views_taken_once_follow_every_pass(name):
    """In any layout, data and diff, also in-place chains."""
    net, fresh = convs(), convs()
    data, diff = net.blobs[name].data, net.blobs[name].diff
    for seed in range(3):
        image, gradient = normal(2, 3, 8, 9, seed=seed), normal(*net.blobs["out"].shape, seed=seed)
        for each in (net, fresh):
            each.forward(x=image)
            each.blobs["out"].diff[...] = gradient
            each.backward()
        np.testing.assert_array_equal(data, fresh.blobs[name].data)
        np.testing.assert_array_equal(diff, fresh.blobs[name].diff)
        fresh = convs()


def test_views_taken_before_the_first_pass_do_not_change_results():
    plain, watched = convs(), convs()
    views = [(blob.data, blob.diff) for blob in watched.blobs.values()]
    views += [(b.data, b.diff) for blobs in watched.params.values() for b in blobs]
    for net in (plain, watched):
        net.forward(x=normal(2, 3, 8, 9))
        net.blobs["out"].diff[...] = normal(*net.blobs["out"].shape)
        net.backward()
    for name in plain.blobs:
        np.testing.assert_array_equal(plain.blobs[name].data, watched.blobs[name].data)
        np.testing.assert_array_equal(plain.blobs[name].diff, watched.blobs[name].diff)
    for name, blobs in plain.params.items():
        for i, blob in enumerate(blobs):
            np.testing.assert_array_equal(blob.diff, watched.params[name][i].diff)


@pytest.mark.parametrize("name", ["c1", "p1"])
def test_writing_to_a_view_in_the_middle_of_a_net(name):
    """Later layers read what was written, whatever the layout."""
    net = convs()
    net.forward(x=normal(2, 3, 8, 9))
    view = net.blobs[name].data
    changed = normal(*view.shape, seed=5)
    view[...] = changed
    start = net._core.layer_index("p1" if name == "c1" else "c2")
    net._core.forward(start, net._core.layer_count - 1)
    other = convs()
    other.forward(x=normal(2, 3, 8, 9, seed=9))
    other.blobs[name].data[...] = changed
    other._core.forward(start, other._core.layer_count - 1)
    np.testing.assert_array_equal(net.blobs["out"].data, other.blobs["out"].data)
    np.testing.assert_array_equal(view, changed)


def test_writing_to_a_parameter_counts_at_once():
    """Packed copies of the weights are made again."""
    net = convs()
    weights = net.params["c2"][0].data
    image = normal(2, 3, 8, 9)
    net.forward(x=image)
    before = net.blobs["c2"].data.copy()
    net.params["c2"][1].data[...] = 0
    weights *= 0
    net.forward(x=image)
    assert before.any() and not net.blobs["c2"].data.any()
    weights += 1  # the view taken long ago
    net.forward(x=image)
    assert net.blobs["c2"].data.any()


def test_views_outlive_the_net():
    net = convs()
    net.forward(x=normal(2, 3, 8, 9))
    views = {name: blob.data for name, blob in net.blobs.items()}
    params = [blob.data for blobs in net.params.values() for blob in blobs]
    copies = {name: view.copy() for name, view in views.items()}
    sums = [param.sum() for param in params]
    del net
    gc.collect()
    noise = [np.full((100, 100), np.nan, np.float32) for _ in range(50)]
    for name, view in views.items():
        np.testing.assert_array_equal(view, copies[name])
    assert [param.sum() for param in params] == sums and len(noise) == 50


def test_blobs_outlive_the_net():
    net = convs()
    blob, param = net.blobs["c1"], net.params["c1"][0]
    net.forward(x=normal(2, 3, 8, 9))
    want = blob.data.copy()
    del net
    gc.collect()
    np.testing.assert_array_equal(blob.data, want)
    assert param.data.any()


def test_reshaped_net_gives_what_a_new_one_gives():
    net = convs()
    for shape in ((2, 3, 8, 9), (5, 3, 8, 9), (1, 3, 12, 7), (2, 3, 8, 9)):
        image = normal(*shape)
        outputs = net.forward(x=image)
        fresh = make_net(CONVS, {"x": shape})
        fill_params(fresh)
        want = fresh.forward(x=image)
        np.testing.assert_array_equal(outputs["out"], want["out"])
        for name in net.blobs:
            np.testing.assert_array_equal(net.blobs[name].data, fresh.blobs[name].data)


def test_reshape_with_views_held():
    net = convs()
    old = {name: blob.data for name, blob in net.blobs.items()}
    net.blobs["x"].reshape(4, 3, 10, 10)
    net.reshape()
    assert net.blobs["c1"].shape == (4, 5, 10, 10)
    net.forward(x=normal(4, 3, 10, 10))
    assert old["c1"].shape == (2, 5, 8, 9), "old views keep their shape and memory"
    assert net.blobs["c1"].data.any()
    fresh = make_net(CONVS, {"x": (4, 3, 10, 10)})
    fill_params(fresh)
    np.testing.assert_array_equal(
        fresh.forward(x=normal(4, 3, 10, 10))["out"], net.blobs["out"].data
    )


def test_memory_does_not_grow_with_the_number_of_shapes():
    net = make_net(CONVS, {"x": (20, 3, 8, 9)}, phase="TEST")
    net.forward(x=normal(20, 3, 8, 9))
    before = net._core.activation_bytes
    for batch in (*range(19, 0, -1), 20, 20):
        net.forward(x=normal(batch, 3, 8, 9))
    assert net._core.activation_bytes <= before


def test_blob_names():
    net = convs()
    assert list(net.blobs) == ["x", "c1", "p1", "c2", "out"] and len(net.blobs) == 5
    assert "c1" in net.blobs and "c3" not in net.blobs
    with pytest.raises(KeyError, match='did you mean "c1"'):
        net.blobs["c11"]
    with pytest.raises(Error, match='no blob "zzz"'):
        net.blobs["zzz"]
    assert net.blobs.get("zzz") is None

"""pycaffe's Net: parts, passes over all or some layers, weights, states."""

import gc
from collections import OrderedDict

import numpy as np
import pytest
from net_text import conv, dense, input_layers, layer

from pydl import caffe, prototxt
from pydl.errors import Error

SIMPLE = """
name: "simple"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { num: 5 channels: 2 height: 3 width: 4 num: 5 channels: 1 height: 1 width: 1
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 11 kernel_size: 2 pad: 3
    weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 2 } }
  param { decay_mult: 1 } param { decay_mult: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip_blob"
  inner_product_param { num_output: 13 weight_filler { type: "gaussian" std: 2.5 }
    bias_filler { type: "constant" value: -3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip_blob" bottom: "label" top: "loss" }
"""
SCORES = input_layers({"data": (4, 3)}) + dense(2, "data", "scores")


@pytest.fixture
def write(tmp_path):
    def write(text, name="net.prototxt"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def simple(write):
    return caffe.Net(write(SIMPLE), caffe.TRAIN)


# ---- parts ----
def test_names_and_layers(simple):
    assert simple._layer_names == ["data", "conv", "ip", "loss"]
    assert [x.type for x in simple.layers] == [
        "DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss",
    ]  # fmt: skip
    assert list(simple.layer_dict) == simple._layer_names
    assert [x.type for x in simple.layer_dict.values()] == [x.type for x in simple.layers]
    assert simple.top_names == OrderedDict(
        [("data", ["data", "label"]), ("conv", ["conv"]), ("ip", ["ip_blob"]), ("loss", ["loss"])]
    )
    assert simple.bottom_names == OrderedDict(
        [("data", []), ("conv", ["data"]), ("ip", ["conv"]), ("loss", ["ip_blob", "label"])]
    )
    assert list(simple.params) == ["conv", "ip"]
    assert isinstance(simple.params, OrderedDict) and isinstance(simple.blobs, OrderedDict)
    assert (simple.inputs, simple.outputs) == ([], ["loss"])
    assert simple.blob_loss_weights["loss"] == 1 and simple.blob_loss_weights["conv"] == 0


def test_numbers_of_blobs(simple):
    names = simple._blob_names
    assert names == list(simple.blobs)
    assert [simple._blobs[i] for i in simple._outputs] == [simple.blobs["loss"]]
    assert [names[i] for i in simple._bottom_ids(3)] == ["ip_blob", "label"]
    assert [names[i] for i in simple._top_ids(0)] == ["data", "label"]
    assert simple._inputs == []
    assert simple._blob_loss_weights[names.index("loss")] == 1


def test_blobs_and_params_are_the_same_objects_each_time(simple):
    assert simple.blobs["conv"] is simple.blobs["conv"]
    assert simple.params["conv"][0] is simple.params["conv"][0]
    assert simple.params["conv"][0] is simple.layer_dict["conv"].blobs[0]


def test_outputs_are_in_alphabetical_order(write):
    text = SCORES.replace('top: "scores"', 'top: "z"') + dense(2, "data", "b") + dense(1, "z", "a")
    assert caffe.Net(write(text), caffe.TEST).outputs == ["a", "b"]


def test_legacy_sizes_of_a_blob(simple):
    blob = simple.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 2, 3, 4)
    assert (blob.count, tuple(blob.shape)) == (120, (5, 2, 3, 4))
    ip = simple.blobs["ip_blob"]
    assert (ip.num, ip.channels, ip.height, ip.width) == (5, 13, 1, 1)
    blob.reshape(1, 2, 3, 4, 5)
    with pytest.raises(Error, match="up to 4 axes; this one has 5"):
        _ = blob.num


def test_a_scalar_is_an_array_without_axes(simple):
    loss = simple.forward()["loss"]
    assert loss.shape == () and loss > 0


def test_arrays_outlive_their_net(write):
    net = caffe.Net(write(SIMPLE), caffe.TRAIN)
    net.forward()
    net.backward()
    params = [blob for blobs in net.params.values() for blob in blobs]
    blobs = list(net.blobs.values())
    views = [blob.data for blob in params + blobs] + [blob.diff for blob in params + blobs]
    before = [view.copy() for view in views]
    hooks = net.layers
    del net
    gc.collect()
    np.random.rand(10**6)
    for view, was in zip(views, before, strict=True):
        np.testing.assert_array_equal(view, was)
    for blob in params + blobs:
        blob.data.sum() + blob.diff.sum()
    assert hooks[1].blobs[0].data.shape == (11, 2, 2, 2)


# ---- how it is built ----
@pytest.mark.parametrize("keywords", [False, True])
def test_constructors(write, tmp_path, keywords):
    path, weights = write(SIMPLE), str(tmp_path / "weights")
    first = caffe.Net(path, caffe.TRAIN)
    first.save(weights)
    caffe.set_random_seed(7)
    if keywords:
        nets = [caffe.Net(path, caffe.TEST, weights=weights),
                caffe.Net(network_file=path, phase=caffe.TEST, level=0, stages=None,
                          weights=weights)]  # fmt: skip
    else:
        nets = [caffe.Net(path, weights, caffe.TEST), caffe.Net(path, caffe.TEST, 0, [], weights)]
    for net in nets:
        assert net.phase == "TEST"
        for name, blobs in first.params.items():
            for mine, theirs in zip(net.params[name], blobs, strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)


def test_constructor_errors(write):
    path = write(SIMPLE)
    with pytest.raises(Error, match="needs a phase"):
        caffe.Net(path)
    with pytest.raises(Error, match="needs a phase"):
        caffe.Net(path, 5)
    with pytest.raises(TypeError, match="phase twice"):
        caffe.Net(path, caffe.TEST, phase=caffe.TEST)
    with pytest.raises(TypeError, match="'phases'"):
        caffe.Net(path, phases=caffe.TEST)
    with pytest.raises(TypeError, match="1 arguments too many"):
        caffe.Net(path, "weights", caffe.TEST, 3)
    with pytest.raises(Error, match="no such file"):
        caffe.Net("nowhere.prototxt", caffe.TEST)


def test_a_message_instead_of_a_file():
    net = caffe.Net(prototxt.parse(SIMPLE), caffe.TRAIN)
    assert net.name == "simple"

    class Foreign:
        def __str__(self):
            return SIMPLE

    assert caffe.Net(Foreign(), caffe.TRAIN)._layer_names == net._layer_names


def test_seed(write):
    path = write(SIMPLE)

    def weights(seed):
        caffe.set_random_seed(seed)
        return [caffe.Net(path, caffe.TRAIN).params["conv"][0].data for _ in range(2)]

    first, second = weights(3)
    np.testing.assert_array_equal(weights(3), [first, second])
    assert (first != second).any(), "the next net is another"
    assert (weights(4)[0] != first).any()


def test_without_a_seed_each_net_is_another(write, monkeypatch):
    monkeypatch.setattr("pydl.caffe.settings._seeds", None)
    path = write(SIMPLE)
    first, second = (caffe.Net(path, caffe.TRAIN).params["conv"][0].data for _ in range(2))
    assert (first != second).any()


RULES = "".join(
    f"""layer {{ name: "{name}" type: "DummyData" top: "{name}" {rules}
    dummy_data_param {{ shape {{ dim: 1 }} }} }}"""
    for name, rules in {
        "always": "",
        "level0": "include { min_level: 0 max_level: 0 }",
        "level1": "include { min_level: 1 }",
        "upto2": "include { max_level: 2 }",
        "a": 'include { stage: "A" }',
        "b": 'include { stage: "B" }',
        "ab": 'include { stage: "A" stage: "B" }',
        "not_a": 'exclude { stage: "A" }',
        "train": "include { phase: TRAIN }",
    }.items()
)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "always level0 upto2 not_a"),
        ({"level": 0}, "always level0 upto2 not_a"),
        ({"level": 1}, "always level1 upto2 not_a"),
        ({"level": 3}, "always level1 not_a"),
        ({"stages": ["A"]}, "always level0 upto2 a"),
        ({"stages": ["B"]}, "always level0 upto2 b not_a"),
        ({"stages": ["A", "B"]}, "always level0 upto2 a b ab"),
        ({"phase": caffe.TRAIN, "stages": []}, "always level0 upto2 not_a train"),
    ],
)
def test_levels_and_stages(write, given, names):
    net = caffe.Net(write(RULES), **{"phase": caffe.TEST, **given})
    assert net._layer_names == names.split()


ALL_IN_ONE = """
layer { name: "train_data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } shape { dim: 1 } } }
layer { name: "val_data" type: "DummyData" top: "data" top: "label"
  include { phase: TEST stage: "val" }
  dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } shape { dim: 1 } } }
layer { name: "deploy_data" type: "Input" top: "data" include { phase: TEST stage: "deploy" }
  input_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  include { phase: TRAIN } include { phase: TEST stage: "val" } }
layer { name: "pred" type: "Softmax" bottom: "ip" top: "pred"
  include { phase: TEST stage: "deploy" } }
"""


@pytest.mark.parametrize(
    ("phase", "stages", "outputs"),
    [(caffe.TRAIN, None, ["loss"]), (caffe.TEST, ["val"], ["loss"]),
     (caffe.TEST, ["deploy"], ["pred"])],
)  # fmt: skip
def test_one_file_for_training_validation_and_use(write, phase, stages, outputs):
    net = caffe.Net(write(ALL_IN_ONE), phase, stages=stages)
    assert list(net.blobs["data"].shape) == [1, 1, 10, 10]
    assert net.outputs == outputs
    net.forward()


# ---- passes ----
def test_forward_and_backward(simple):
    first = simple.forward()
    simple.backward()
    assert list(first) == ["loss"]
    assert np.abs(simple.params["conv"][0].diff).max() > 0


def test_forward_of_one_layer(simple):
    conv_blob, (weights, bias) = simple.blobs["conv"], simple.params["ip"]
    conv_blob.data[...] = np.random.rand(*conv_blob.data.shape)
    outputs = simple.forward(start="ip", end="ip", blobs=["conv"])
    assert list(outputs) == ["ip_blob", "conv"]
    want = conv_blob.data.reshape(5, -1) @ weights.data.T + bias.data
    np.testing.assert_allclose(outputs["ip_blob"], want, rtol=1e-3, atol=1e-5)
    assert outputs["ip_blob"].ctypes.data == simple.blobs["ip_blob"].data.ctypes.data


def test_backward_of_one_layer(simple):
    simple.forward()
    ip = simple.blobs["ip_blob"]
    ip.diff[...] = np.random.rand(*ip.diff.shape)
    diffs = simple.backward(start="ip", end="ip", diffs=["ip_blob"])
    assert list(diffs) == ["conv", "ip_blob"]
    want = (ip.diff @ simple.params["ip"][0].data).reshape(diffs["conv"].shape)
    np.testing.assert_allclose(diffs["conv"], want, rtol=1e-3, atol=1e-4)


def test_layers_by_number_give_their_loss(simple):
    loss = simple._forward(0, 3)
    assert loss == pytest.approx(float(simple.blobs["loss"].data))
    assert simple._forward(1, 2) == 0
    simple._backward(3, 2)
    with pytest.raises(Error, match="layers 0 to 4 are not all in 0 to 3"):
        simple._forward(0, 4)


def test_unknown_layer_and_blob(simple):
    with pytest.raises(Error, match='no layer "iq"; did you mean "ip"'):
        simple.forward(start="iq")
    with pytest.raises(KeyError):
        simple.forward(blobs=["iq"])


def test_inputs_and_diffs_by_name(write):
    text = "force_backward: true " + SCORES
    net = caffe.Net(write(text), caffe.TEST)
    data = np.random.rand(4, 3)
    scores = net.forward(data=data)["scores"]
    weights = net.params["scores"][0].data
    np.testing.assert_allclose(scores, data @ weights.T, rtol=1e-5, atol=1e-6)
    diff = np.random.rand(4, 2)
    got = net.backward(scores=diff)["data"]
    np.testing.assert_allclose(got, diff @ weights, rtol=1e-5, atol=1e-6)
    with pytest.raises(Error, match="arrays for datum do not match the inputs"):
        net.forward(datum=data)
    with pytest.raises(Error, match="arrays for data do not match the outputs"):
        net.backward(data=data)
    with pytest.raises(Error, match=r"has shape \(5, 3\), but its blob \(4, 3\); give 4 records"):
        net.forward(data=np.zeros((5, 3)))
    with pytest.raises(Error, match="give 4 records"):
        net.backward(scores=np.zeros((1, 2)))


def test_any_number_of_records(write):
    net = caffe.Net(write("force_backward: true " + SCORES), caffe.TEST)
    data, diff = np.random.rand(10, 3), np.random.rand(10, 2)
    weights = net.params["scores"][0].data
    outputs = net.forward_all(data=data, blobs=["data"])
    assert set(outputs) == {"data", "scores"}
    np.testing.assert_allclose(outputs["data"], data, rtol=1e-6)
    np.testing.assert_allclose(outputs["scores"], data @ weights.T, rtol=1e-5, atol=1e-6)
    blobs, diffs = net.forward_backward_all(data=data, scores=diff, diffs=["scores"])
    np.testing.assert_allclose(blobs["scores"], data @ weights.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffs["data"], diff @ weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffs["scores"], diff, rtol=1e-6)
    assert len(net.forward_all(data=data[:8])["scores"]) == 8
    assert len(net.forward_all(data=data[:1])["scores"]) == 1


def test_batches(write):
    net = caffe.Net(write(SCORES), caffe.TEST)
    batches = list(net._batch({"data": np.arange(18.0).reshape(6, 3)}))
    assert [batch["data"].shape for batch in batches] == [(4, 3), (4, 3)]
    np.testing.assert_array_equal(batches[1]["data"][2:], 0)
    assert list(net._batch({})) == []


def test_reshape(write):
    net = caffe.Net(write(SCORES), caffe.TEST)
    net.blobs["data"].reshape(7, 3)
    assert net.blobs["scores"].shape == (4, 2)
    net.reshape()
    assert net.blobs["scores"].shape == (7, 2)
    net.blobs["data"].reshape(2, 3)
    assert net.forward(data=np.ones((2, 3)))["scores"].shape == (2, 2)


def test_callbacks(simple):
    calls = []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(simple, when)(lambda index, when=when: calls.append((when, index)))
    simple.forward(start="ip")
    simple.backward(end="ip")
    assert calls == [
        ("before_forward", 2), ("after_forward", 2), ("before_forward", 3), ("after_forward", 3),
        ("before_backward", 3), ("after_backward", 3), ("before_backward", 2),
        ("after_backward", 2),
    ]  # fmt: skip

    def fails(index):
        raise KeyError(index)

    simple.before_forward(fails)
    with pytest.raises(KeyError, match="0"):
        simple.forward()


def test_clear_param_diffs(simple):
    simple.forward()
    simple.backward()
    diff = simple.params["conv"][0].diff
    assert diff.max() > 0
    simple.clear_param_diffs()
    assert (diff == 0).all()


def test_set_input_arrays(write):
    net = caffe.Net(write(
        layer("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 }",
              bottoms="", tops="data label", name="m")
    ), caffe.TEST)  # fmt: skip
    data = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32))
    for batch in (0, 1, 0):
        outputs = net.forward()
        np.testing.assert_array_equal(outputs["data"], data[2 * batch : 2 * batch + 2])
        np.testing.assert_array_equal(outputs["label"].ravel(), [2 * batch, 2 * batch + 1])
    net._set_input_arrays(data[::-1], np.zeros((4, 1, 1, 1)))
    np.testing.assert_array_equal(net.forward()["data"], data[:1:-1])
    with pytest.raises(Error, match="multiple of the batch size 2"):
        net.set_input_arrays(data[:3], np.zeros(3))
    other = caffe.Net(write(SCORES), caffe.TEST)
    with pytest.raises(Error, match='must be a MemoryData layer, but "data" is of type Input'):
        other.set_input_arrays(data, np.zeros(4))


def test_keep_outputs(write):
    net = caffe.Net(write(SIMPLE), caffe.TRAIN, keep="outputs")
    assert net.forward()["loss"] > 0
    with pytest.raises(Error, match="is not kept"):
        _ = net.blobs["conv"]


# ---- weights ----
def test_save_and_read(simple, tmp_path, write):
    for path, save, read in (
        (tmp_path / "no_suffix", "save", "copy_from"),
        (tmp_path / "weights.data", "save_hdf5", "load_hdf5"),
        (tmp_path / "again", "save_hdf5", "copy_from"),
    ):
        if save == "save_hdf5":
            pytest.importorskip("h5py")
        getattr(simple, save)(str(path))
        other = caffe.Net(write(SIMPLE, "other.prototxt"), caffe.TRAIN)
        for blobs in other.params.values():
            for blob in blobs:
                blob.data[...] = 0
        getattr(other, read)(str(path))
        for name, blobs in simple.params.items():
            for mine, theirs in zip(other.params[name], blobs, strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)


def test_gradients_in_hdf5(simple, tmp_path):
    h5py = pytest.importorskip("h5py")
    simple.forward()
    simple.backward()
    simple.save_hdf5(str(tmp_path / "weights.h5"), write_diff=True)
    with h5py.File(tmp_path / "weights.h5") as file:
        for kind in ("data", "diff"):
            want = getattr(simple.params["ip"][1], kind)
            np.testing.assert_array_equal(file[kind]["ip"]["1"], want)
    simple.save_hdf5(str(tmp_path / "plain.h5"))
    with h5py.File(tmp_path / "plain.h5") as file:
        assert "diff" not in file


def test_weights_of_other_layers_are_passed_over(simple, tmp_path, write):
    path = tmp_path / "weights"
    simple.save(path)
    other = caffe.Net(write(SIMPLE.replace('"ip"', '"fc"')), caffe.TRAIN)
    before = other.params["fc"][0].data.copy()
    other.copy_from(path)
    np.testing.assert_array_equal(other.params["conv"][0].data, simple.params["conv"][0].data)
    np.testing.assert_array_equal(other.params["fc"][0].data, before)
    unlike = caffe.Net(write(SCORES), caffe.TEST)
    with pytest.warns(RuntimeWarning, match="none of its layers"):
        unlike.copy_from(path)


def test_weights_that_do_not_fit(simple, tmp_path, write):
    path = tmp_path / "weights"
    simple.save(path)
    with pytest.raises(Error, match='layer "ip".*13x792 there, 14x792 in the net'):
        caffe.Net(write(SIMPLE.replace("num_output: 13", "num_output: 14")), path, caffe.TEST)
    with pytest.raises(Error, match="no such file"):
        simple.copy_from(tmp_path / "nothing")


def test_share_with(simple, write):
    other = caffe.Net(write(SIMPLE), caffe.TEST)
    other.share_with(simple)
    simple.params["ip"][0].data[...] = 5
    assert (other.params["ip"][0].data == 5).all()


def test_net_surgery(write):
    """A classifier's inner product becomes a convolution: Caffe's fully convolutional cast."""
    small = caffe.Net(write(
        input_layers({"data": (1, 3, 5, 5)}) + conv("4 kernel_size: 3", bottoms="data", tops="c")
        + dense(2, "c", "fc")
    ), caffe.TEST)  # fmt: skip
    large = caffe.Net(write(
        input_layers({"data": (1, 3, 5, 5)}) + conv("4 kernel_size: 3", bottoms="data", tops="c")
        + conv("2 kernel_size: 3", bottoms="c", tops="fc_conv")
    ), caffe.TEST)  # fmt: skip
    large.params["c"][0].data[...] = small.params["c"][0].data
    large.params["fc_conv"][0].data.flat = small.params["fc"][0].data.flat
    large.params["fc_conv"][1].data[...] = small.params["fc"][1].data
    data = np.random.rand(1, 3, 5, 5)
    one = small.forward(data=data)["fc"].copy()
    many = large.forward(data=data)["fc_conv"]
    np.testing.assert_allclose(many.ravel(), one.ravel(), rtol=1e-4, atol=1e-6)
    large.blobs["data"].reshape(1, 3, 8, 9)
    large.reshape()
    picture = np.random.rand(1, 3, 8, 9)
    scores = large.forward(data=picture)["fc_conv"]
    assert scores.shape == (1, 2, 4, 5)
    corner = small.forward(data=picture[:, :, 3:, 4:])["fc"]
    np.testing.assert_allclose(scores[0, :, 3, 4], corner[0], rtol=1e-4, atol=1e-6)

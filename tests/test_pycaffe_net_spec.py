"""NetSpec: nets written as Python expressions."""

import copy
from pathlib import Path

import pytest

from pydl import caffe
from pydl.caffe import layers as L
from pydl.caffe import params as P
from pydl.caffe import to_proto
from pydl.caffe.net_spec import assign_proto, param_name_dict
from pydl.caffe.proto import caffe_pb2, text_format
from pydl.errors import Error

GOLDEN = Path(__file__).parent / "golden" / "net_spec"


def lenet(batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[{"dim": [batch_size, 1, 28, 28]}, {"dim": [batch_size, 1, 1, 1]}],
        transform_param={"scale": 1.0 / 255},
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler={"type": "xavier"})
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, weight_filler={"type": "xavier"})
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler={"type": "xavier"})
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


def anonymous_lenet(batch_size):
    data, label = L.DummyData(
        shape=[{"dim": [batch_size, 1, 28, 28]}, {"dim": [batch_size, 1, 1, 1]}],
        transform_param={"scale": 1.0 / 255},
        ntop=2,
    )
    conv1 = L.Convolution(data, kernel_size=5, num_output=20, weight_filler={"type": "xavier"})
    pool1 = L.Pooling(conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    ip1 = L.InnerProduct(pool1, num_output=500, weight_filler={"type": "xavier"})
    relu1 = L.ReLU(ip1, in_place=True)
    ip2 = L.InnerProduct(relu1, num_output=10, weight_filler={"type": "xavier"})
    return L.SoftmaxWithLoss(ip2, label).to_proto()


@pytest.mark.parametrize("name", ["auto_names", "lenet_like"])
def test_golden_programs(name):
    """The text that Caffe's own module gives, but for how many digits protobuf prints."""
    caffe.install()
    names = {"caffe": caffe}
    exec((GOLDEN / f"{name}.py.txt").read_text(), names)
    want = (GOLDEN / f"{name}.prototxt").read_text()
    got = str(names["proto"])
    read = [text_format.Merge(text, caffe_pb2.NetParameter()) for text in (got, want)]
    assert read[0] == read[1]
    assert [line.split(":")[0] for line in got.splitlines()] == [
        line.split(":")[0] for line in want.splitlines()
    ]


@pytest.mark.parametrize("make", [lenet, anonymous_lenet])
def test_nets_build(make):
    proto = make(50)
    assert proto.layer[4].bottom == proto.layer[4].top, "in place"
    net = caffe.Net(proto, caffe.TEST)
    assert len(net.layers) == 7
    assert net.blobs[proto.layer[0].top[0]].shape == (50, 1, 28, 28)


def test_names():
    assert [layer.name for layer in lenet(2).layer] == [
        "data", "conv1", "pool1", "ip1", "relu1", "ip2", "loss",
    ]  # fmt: skip
    assert [layer.name for layer in anonymous_lenet(2).layer] == [
        "DummyData1", "Convolution1", "Pooling1", "InnerProduct1", "ReLU1", "InnerProduct2",
        "SoftmaxWithLoss1",
    ]  # fmt: skip
    assert list(anonymous_lenet(2).layer[0].top) == ["DummyData1", "DummyData2"]


def test_a_layer_without_tops():
    n = caffe.NetSpec()
    n.data = L.DummyData(shape={"dim": [3]})
    n.unused = L.Silence(n.data, ntop=0)
    silence = n.to_proto().layer[1]
    assert (silence.name, list(silence.bottom), list(silence.top)) == ("unused", ["data"], [])
    caffe.Net(n.to_proto(), caffe.TEST)


def test_only_what_a_top_needs():
    n = caffe.NetSpec()
    n.a = L.DummyData(shape={"dim": [3]})
    n.b = L.TanH(n.a)
    n.c = L.Sigmoid(n.a)
    assert [layer.type for layer in to_proto(n.c).layer] == ["DummyData", "Sigmoid"]
    assert [layer.type for layer in to_proto(n.c, n.b).layer] == ["DummyData", "Sigmoid", "TanH"]
    assert [layer.name for layer in n.to_proto().layer] == ["a", "b", "c"]


def test_as_a_dictionary():
    n = caffe.NetSpec()
    n["x/y"] = L.DummyData(shape={"dim": [3]})
    n.update(z=L.TanH(n["x/y"]))
    assert n.keys() == ["x/y", "z"] and n.vals()[1] is n.z
    assert "z" in n and "w" not in n and not hasattr(n, "w")
    assert n.to_proto().layer[1].bottom == ["x/y"]
    del n["z"]
    assert n.keys() == ["x/y"]
    assert copy.copy(n).keys() == ["x/y"]


def test_where_parameters_go():
    data = L.Input(shape={"dim": [1, 4]})
    layer = to_proto(L.InnerProduct(
        data, num_output=3, axis=-1, param=[{"lr_mult": 1}, {"lr_mult": 2, "name": "b"}],
        include={"phase": caffe.TRAIN, "stage": ["a", "b"]}, loss_weight=0.5,
        inner_product_param={"bias_term": False}, propagate_down=[True],
    )).layer[1]  # fmt: skip
    assert (layer.inner_product_param.num_output, layer.inner_product_param.axis) == (3, -1)
    assert layer.inner_product_param.bias_term is False
    assert [p.lr_mult for p in layer.param] == [1, 2] and layer.param[1].name == "b"
    assert list(layer.include[0].stage) == ["a", "b"] and layer.include[0].phase == caffe.TRAIN
    assert list(layer.loss_weight) == [0.5] and list(layer.propagate_down) == [True]
    assert not hasattr(L.Input, "__wrapped__")


def test_python_layers():
    layer = to_proto(L.Python(module="m", layer="C", param_str=repr({"a": 1}))).layer[0]
    assert layer.python_param.module == "m" and layer.python_param.param_str == "{'a': 1}"


def test_assign_proto():
    net = caffe_pb2.NetParameter()
    assign_proto(net, "name", "n")
    assign_proto(net, "input", "a")
    assign_proto(
        net, "layer", {"name": "c", "convolution_param": {"kernel_size": 3, "pad": [1, 2]}}
    )
    assign_proto(net, "layer", [{"name": "d"}, {"name": "e"}])
    assign_proto(net, "state", {"phase": caffe.TEST})
    assert [layer.name for layer in net.layer] == ["c", "d", "e"]
    assert list(net.layer[0].convolution_param.pad) == [1, 2]
    assert (net.name, list(net.input), net.state.phase) == ("n", ["a"], caffe.TEST)


def test_type_names():
    names = param_name_dict()
    assert names["Convolution"] == "convolution" and names["InnerProduct"] == "inner_product"
    assert names["LRN"] == "lrn" and names["PReLU"] == "prelu" and names["HDF5Data"] == "hdf5_data"


def test_errors():
    with pytest.raises(TypeError, match="TanH: bottom 0 is not a top .* of type str"):
        L.TanH("data")
    with pytest.raises(TypeError, match="of type tuple"):
        L.TanH(L.DummyData(ntop=2))
    with pytest.raises(Error, match="Pooling has no parameter 'kernel'"):
        to_proto(L.Pooling(L.Input(), kernel=3))
    with pytest.raises(AttributeError):
        _ = P.Pooling.MEAN
    with pytest.raises(AttributeError, match="no top 'nothing'"):
        _ = caffe.NetSpec().nothing

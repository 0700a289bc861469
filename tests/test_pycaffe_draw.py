"""pycaffe's draw."""

from pathlib import Path

import pytest

from pydl import caffe, prototxt
from pydl.caffe import draw
from pydl.caffe.proto import caffe_pb2, text_format
from pydl.errors import Error

FULL = sorted((Path(__file__).parent / "golden" / "nets_full").glob("*.prototxt"))


@pytest.fixture(params=["protobuf", "pydl"])
def lenet(request):
    text = next(p for p in FULL if p.stem == "lenet_train").read_text()
    if request.param == "pydl":
        return prototxt.parse(text)
    return text_format.Merge(text, caffe_pb2.NetParameter())


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_nets_are_drawn(path, tmp_path):
    net = text_format.Merge(path.read_text(), caffe_pb2.NetParameter())
    draw.draw_net_to_file(net, tmp_path / "net.svg", "TB")
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    assert draw.draw_net(net, "LR", ext="svg").startswith(b"<svg")


def test_png(lenet):
    pytest.importorskip("cairosvg", exc_type=ImportError)
    assert draw.draw_net(lenet, "LR").startswith(b"\x89PNG")


def test_phase_and_multipliers(lenet):
    shown = draw.draw_net(lenet, "LR", ext="svg", phase=caffe.TRAIN, display_lrm=True).decode()
    assert "lr_mult 1, 2" in shown
    assert "Accuracy" not in draw.draw_net(lenet, "LR", "svg", phase=caffe.TRAIN).decode()


def test_labels(lenet):
    layers = {layer.name: layer for layer in lenet.layer}
    assert draw.get_edge_label(layers["conv1"]) == "20"
    assert draw.get_edge_label(layers["ip1"]) == "500"
    assert draw.get_edge_label(layers["relu1"]) == ""
    assert draw.get_layer_label(layers["conv1"], "TB") == (
        "conv1 (Convolution) kernel size: 5 stride: 1 pad: 0"
    )
    assert draw.get_layer_label(layers["pool1"], "LR") == (
        r"pool1\n(MAX Pooling)\nkernel size: 2\nstride: 2\npad: 0"
    )
    assert draw.get_layer_label(layers["relu1"], "LR") == r"relu1\n(ReLU)"
    assert "lr mult: 1, 2" in draw.get_layer_label(layers["ip1"], "TB", display_lrm=True)
    assert draw.get_layer_lr_mult(layers["relu1"]) == ""


def test_styles():
    assert draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
    kinds = {draw.choose_color_by_layertype(t) for t in ("Convolution", "Pooling", "InnerProduct")}
    assert len(kinds) == 3 and all(colour.startswith("#") for colour in kinds)
    assert draw.BLOB_STYLE["shape"] == "octagon"


def test_pydot_graph(lenet):
    pytest.importorskip("pydot")
    graph = draw.get_pydot_graph(lenet, "LR", phase=caffe.TRAIN)
    names = {node.get_name().strip('"') for node in graph.get_nodes()}
    assert {"conv1_Convolution", "conv1_blob", "relu1_ReLU"} <= names
    ends = {(e.get_source().strip('"'), e.get_destination().strip('"')) for e in graph.get_edges()}
    assert {("conv1_Convolution", "conv1_blob"), ("conv1_blob", "pool1_Pooling")} <= ends
    assert "digraph" in graph.to_string()


def test_without_pydot(lenet, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydot", None)
    with pytest.raises(Error, match="pip install pydot"):
        draw.get_pydot_graph(lenet, "LR")

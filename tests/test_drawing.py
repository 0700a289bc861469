"""Pictures of nets: what is in them, and that boxes do not overlap."""

import builtins
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from net_text import layer

from pydl import drawing, prototxt
from pydl.drawing.graph import net_graph
from pydl.drawing.layout import layout
from pydl.errors import Error

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
PHASED = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { batch_size: 64 } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { batch_size: 100 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "scores"
  param { lr_mult: 1 } param { lr_mult: 2 } inner_product_param { num_output: 10 } }
layer { name: "relu" type: "ReLU" bottom: "scores" top: "scores" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss"
  exclude { phase: TEST } }
layer { name: "accuracy" type: "Accuracy" bottom: "scores" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""


def texts(svg):
    return [node.text for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def names(graph):
    return [[row.name for row in box.rows] for box in graph.boxes]


def edges(graph):
    return {(graph.boxes[e.source].rows[0].name, graph.boxes[e.target].rows[0].name): e.blobs
            for e in graph.edges}  # fmt: skip


def test_layers_in_place_are_inside_the_box_they_work_on():
    graph = net_graph(prototxt.parse(PHASED), phase="TRAIN")
    assert names(graph) == [["train"], ["ip", "relu"], ["loss"]]
    assert edges(graph) == {
        ("train", "ip"): ["data"], ("ip", "loss"): ["scores"], ("train", "loss"): ["label"],
    }  # fmt: skip
    assert [graph.label(e) for e in graph.edges] == ["data", "scores", "label"]


def test_a_blob_read_before_it_is_changed_in_place_keeps_its_own_box():
    graph = net_graph(prototxt.parse(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "a" type: "TanH" bottom: "x" top: "a" }'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }'
        'layer { name: "b" type: "TanH" bottom: "x" top: "b" }'
    ))  # fmt: skip
    assert names(graph) == [["x"], ["a"], ["r"], ["b"]]
    assert set(edges(graph)) == {("x", "a"), ("x", "r"), ("r", "b")}


def test_without_a_phase_each_layer_is_tied_to_those_of_its_phase():
    graph = net_graph(prototxt.parse(PHASED))
    assert ("train", "accuracy") not in edges(graph)
    assert ("test", "loss") not in edges(graph)
    assert {("train", "loss"), ("test", "accuracy"), ("train", "ip"), ("test", "ip")} <= set(
        edges(graph)
    )
    assert [row.detail for box in graph.boxes for row in box.rows] == [
        "batch 64, TRAIN", "batch 100, TEST", "→ 10", "", "not TEST", "TEST",
    ]  # fmt: skip


def test_phases_by_number_and_their_errors():
    assert names(net_graph(prototxt.parse(PHASED), phase=1))[0] == ["test"]
    with pytest.raises(Error, match="phase 'TRIAN' is not one of TRAIN, TEST"):
        net_graph(prototxt.parse(PHASED), phase="TRIAN")


def test_learning_rate_multipliers():
    net = prototxt.parse(PHASED)
    assert "InnerProduct → 10, lr_mult 1, 2" in texts(drawing.render(net, lr_mult=True))
    assert "InnerProduct → 10" in texts(drawing.render(net))


@pytest.mark.parametrize(
    ("params", "type", "detail"),
    [
        ("convolution_param { num_output: 8 kernel_size: 3 }", "Convolution", "3x3 → 8"),
        ("convolution_param { num_output: 8 kernel_h: 1 kernel_w: 5 pad_w: 2 group: 4 }",
         "Convolution", "1x5 → 8, pad 0x2, group 4"),
        ("convolution_param { num_output: 8 kernel_size: 3 stride: 2 pad: 2 dilation: 2 }",
         "Convolution", "3x3 → 8, stride 2, pad 2, dilation 2"),
        ("pooling_param { pool: AVE kernel_size: 3 stride: 2 }", "Pooling",
         "AVE 3x3, stride 2"),
        ("pooling_param { global_pooling: true }", "Pooling", "MAX global"),
        ("lrn_param { local_size: 3 }", "LRN", "size 3"),
        ("dropout_param { dropout_ratio: 0.4 }", "Dropout", "0.4"),
        ("reshape_param { shape { dim: 0 dim: -1 } }", "Reshape", "0x-1"),
        ("", "ReLU", ""),
        ("recurrent_param { num_output: 8 }", "GRU", "→ 8"),
        ("multi_head_attention_param { num_heads: 4 }", "MultiHeadAttention", "heads 4"),
        ("sequence_attention_param { num_hidden: 6 }", "SequenceAttention", "ADDITIVE → 6"),
        ("sequence_attention_param { score: DOT }", "SequenceAttention", "DOT"),
        ("rbm_param { num_hidden: 5 }", "RBM", "→ 5"),
        ("group_norm_param { num_groups: 3 }", "GroupNorm", "groups 3"),
        ("maxout_param { pieces: 3 }", "Maxout", "of 3"),
    ],
)  # fmt: skip
def test_details(params, type, detail):
    graph = net_graph(prototxt.parse(layer(type, params)))
    assert graph.boxes[-1].rows[0].detail == detail


@pytest.mark.parametrize("rankdir", drawing.DIRECTIONS)
@pytest.mark.parametrize("name", ["googlenet_deploy", "lenet_train"])
def test_boxes_do_not_overlap_and_edges_lead_on(name, rankdir):
    graph = net_graph(prototxt.load_net(GOLDEN / "nets_full" / f"{name}.prototxt"))
    sizes = [(80 + 7 * (i % 5), 30 + 5 * (i % 3)) for i in range(len(graph.boxes))]
    plan = layout(sizes, [(e.source, e.target) for e in graph.edges], rankdir)
    corners = [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(plan.centres, sizes, strict=True)
    ]
    assert min(c[0] for c in corners) >= 0
    assert min(c[1] for c in corners) >= 0
    assert max(c[2] for c in corners) <= plan.width
    assert max(c[3] for c in corners) <= plan.height
    for i, a in enumerate(corners):
        for b in corners[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    axis, sign = ("LR" in rankdir or "RL" in rankdir) ^ 1, 1 if rankdir in ("TB", "LR") else -1
    for edge, path in zip(graph.edges, plan.paths, strict=True):
        steps = [sign * point[axis] for point in path]
        assert steps == sorted(steps)
        assert sign * plan.centres[edge.source][axis] < steps[0]
        assert steps[-1] < sign * plan.centres[edge.target][axis]


def test_branches_cross_no_more_than_they_must():
    """Two ways from one box to another, given in an order that would cross them."""
    sizes = [(50, 20)] * 6
    plan = layout(sizes, [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5)], "TB")
    x = [centre[0] for centre in plan.centres]
    assert (x[1] < x[2]) == (x[4] < x[3])


def test_svg_is_well_formed_whatever_the_names():
    net = prototxt.parse('name: "a<b>&\\"c\\"" layer { name: "<x>&" type: "Input" top: "x" '
                         "input_param { shape { dim: 1 } } }")  # fmt: skip
    assert texts(drawing.render(net)) == ["<x>&", "Input 1"]


def test_a_message_of_another_kind_is_read_by_its_text():
    class Foreign:
        def __str__(self):
            return PHASED

    assert drawing.render(Foreign()) == drawing.render(prototxt.parse(PHASED))


def test_dot_text():
    text = drawing.render(prototxt.parse(PHASED), "dot", phase="TRAIN", rankdir="LR").decode()
    assert "rankdir=LR" in text
    assert re.search(r'n1 \[label="ip: InnerProduct → 10\\nrelu: ReLU"', text)
    assert 'n0 -> n2 [label="label"];' in text
    bare = drawing.render(prototxt.parse(PHASED), "dot", edge_labels=False).decode()
    assert "[label=" not in bare.split("->", 1)[1]


def test_files(tmp_path):
    pytest.importorskip("cairosvg", exc_type=ImportError)
    net = prototxt.parse(PHASED)
    for suffix, start in (("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"dig")):
        path = tmp_path / f"net.{suffix}"
        drawing.save(net, path)
        assert path.read_bytes().startswith(start)


def test_errors(tmp_path, monkeypatch):
    net = prototxt.parse(PHASED)
    with pytest.raises(Error, match='format "jpeg"; there are svg, png, pdf, dot'):
        drawing.save(net, tmp_path / "net.jpeg")
    with pytest.raises(Error, match='rankdir "UP" is not one of TB, BT, LR, RL'):
        drawing.render(net, rankdir="UP")
    with pytest.raises(Error, match='net "empty" has no layers'):
        drawing.render(prototxt.parse('name: "empty"'))
    no_cairo(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Error, match=r'pip install "pydl\[draw\]"'):
        drawing.render(net, "png")


def test_png_by_graphviz(tmp_path, monkeypatch):
    no_cairo(monkeypatch)
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\ncat\necho $1\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    result = drawing.render(prototxt.parse(PHASED), "png")
    assert result.startswith(b"digraph")
    assert result.endswith(b"-Tpng\n")
    dot.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(Error, match="broken"):
        drawing.render(prototxt.parse(PHASED), "png")


def no_cairo(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cairosvg":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)

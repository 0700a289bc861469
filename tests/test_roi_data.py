"""py-faster-rcnn's RoIDataLayer: nets that name it load, and train when its tops are filled."""

import sys

import numpy as np
import pytest
from data_files import message
from net_text import conv, dense, layer, make_net

import pydl
from pydl import prototxt


def roi_data(tops, param_str="'num_classes': 3"):
    python = f"""python_param {{ module: "roi_data_layer.layer" layer: "RoIDataLayer"
        param_str: "{param_str}" }}"""
    return layer("Python", python, bottoms="", tops=tops, name="input-data")


FASTER = (
    roi_data("data im_info gt_boxes")
    + conv("8 kernel_size: 3 pad: 1 stride: 16", bottoms="data", tops="conv")
    + conv("18 kernel_size: 1", bottoms="conv", tops="rpn_cls_score")
    + conv("36 kernel_size: 1", bottoms="conv", tops="rpn_bbox_pred")
    + layer("Python", """python_param { module: "rpn.anchor_target_layer"
        layer: "AnchorTargetLayer" param_str: "'feat_stride': 16" }""",
        "rpn_cls_score gt_boxes im_info data",
        "rpn_labels rpn_bbox_targets rpn_bbox_inside_weights rpn_bbox_outside_weights")
    + layer("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }", "rpn_cls_score",
            "pairs")
    + layer("SoftmaxWithLoss", "loss_param { ignore_label: -1 normalize: true }",
            "pairs rpn_labels", "rpn_cls_loss")
    + layer("SmoothL1Loss", "smooth_l1_loss_param { sigma: 3 }",
            "rpn_bbox_pred rpn_bbox_targets rpn_bbox_inside_weights rpn_bbox_outside_weights",
            "rpn_loss_bbox")
)  # fmt: skip
TARGETS = "bbox_targets bbox_inside_weights bbox_outside_weights"
FAST = (
    roi_data(f"data rois labels {TARGETS}")
    + conv("4 kernel_size: 3 pad: 1 stride: 16", bottoms="data", tops="conv")
    + layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 }",
            "conv rois", "pool")
    + dense(3, "pool", "cls_score")
    + dense(12, "pool", "bbox_pred")
    + layer("SoftmaxWithLoss", bottoms="cls_score labels", tops="loss_cls")
    + layer("SmoothL1Loss", bottoms=f"bbox_pred {TARGETS}", tops="loss_bbox")
)  # fmt: skip


def shapes(net, tops):
    return [tuple(net.blobs[top].shape) for top in tops.split()]


def test_shapes_as_py_faster_rcnn_begins_with():
    net = make_net(FASTER)
    assert net.inputs == ["data", "im_info", "gt_boxes"]
    assert shapes(net, "data im_info gt_boxes") == [(1, 3, 600, 1000), (1, 3), (1, 5)]
    net = make_net(FAST)
    assert shapes(net, "data rois labels") == [(2, 3, 600, 1000), (1, 5), (1,)]
    assert shapes(net, TARGETS) == [(1, 12)] * 3
    net = make_net(roi_data("data rois labels", "") + layer("Silence", bottoms="data rois labels",
                                                            tops=""))  # fmt: skip
    assert shapes(net, "rois labels") == [(1, 5), (1,)]


def train(text, inputs, tmp_path, steps=30):
    (tmp_path / "train.prototxt").write_text(text)
    (tmp_path / "solver.prototxt").write_text(
        'train_net: "train.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" random_seed: 1'
    )
    solver = pydl.Solver(tmp_path / "solver.prototxt")
    losses = []
    for _ in range(steps):
        for name, value in inputs.items():
            solver.net.blobs[name].reshape(*value.shape)
            solver.net.blobs[name].data[...] = value
        losses.append(solver.step(1))
    return losses


def test_faster_rcnn_trains(tmp_path):
    rng = np.random.default_rng(0)
    inputs = {
        "data": rng.standard_normal((1, 3, 192, 256)),
        "im_info": np.array([[192.0, 256, 1]]),
        "gt_boxes": np.array([[10.0, 20, 140, 150, 1], [120, 30, 250, 160, 2]]),
    }
    losses = train(FASTER, inputs, tmp_path)
    assert losses[-1] < 0.7 * losses[0]


def test_fast_rcnn_trains(tmp_path):
    rng = np.random.default_rng(0)
    corners = [[0, 0, 60, 60], [30, 30, 120, 90], [5, 5, 100, 100], [0, 0, 20, 20]]
    inputs = {
        "data": rng.standard_normal((2, 3, 112, 128)),
        "rois": np.c_[[0, 0, 1, 1], corners],
        "labels": np.array([1, 0, 2, 0]),
        **{name: rng.uniform(0, 1, (4, 12)).round() for name in TARGETS.split()},
    }
    losses = train(FAST, inputs, tmp_path)
    assert losses[-1] < 0.7 * losses[0]


def test_its_own_program_is_used_where_it_is(tmp_path, monkeypatch):
    package = tmp_path / "roi_data_layer"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layer.py").write_text(
        "import pydl.caffe as caffe\n"
        "class RoIDataLayer(caffe.Layer):\n"
        "    def setup(self, bottom, top): top[0].reshape(2, 4)\n"
        "    def reshape(self, bottom, top): pass\n"
        "    def forward(self, bottom, top): top[0].data[...] = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = roi_data("data") + layer("Silence", bottoms="data", tops="")
    try:
        assert "Python" in message(make_net, text)  # a program, which needs leave
        net = make_net(text, allow_python=True)
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, np.full((2, 4), 7))
    finally:
        for name in [name for name in sys.modules if name.startswith("roi_data_layer")]:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("tops", "param_str", "problem"),
    [
        ("data bbox_targets", "", "num_classes must be given and positive"),
        ("data bbox_targets", "'num_classes': [3]", "num_classes must be given and positive"),
        ("data boxes", "", 'RoIDataLayer has no top "boxes"; it has data, im_info, gt_boxes'),
        ("data", "'num_classes'", "cannot read"),
    ],
)
def test_says_what_is_wrong(tops, param_str, problem):
    said = message(prototxt.net_spec, prototxt.parse(roi_data(tops, param_str)))
    assert problem in said and 'layer "input-data" (Python)' in said

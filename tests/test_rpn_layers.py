"""Region proposal networks: Proposal, AnchorTarget and ProposalTarget against numpy, the Python
layers they stand for, and bad input."""

import itertools

import numpy as np
import pytest
from net_text import input_layers, layer, make_net

import pydl
from pydl import Error, prototxt
from pydl.prototxt.native_python import read_param_str

# Anchors of base 16 as the paper's authors print them, with pixels counted from 1.
PUBLISHED = [[-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200],
             [-55, -55, 72, 72], [-119, -119, 136, 136], [-247, -247, 264, 264],
             [-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360]]  # fmt: skip


def anchors_of(base, ratios, scales):
    found = []
    for ratio, scale in itertools.product(ratios, scales):
        width = np.round(np.sqrt(base * base / ratio))
        sides = np.array([width, np.round(width * ratio)]) * scale
        centre = (base - 1) / 2
        found.append([*(centre - (sides - 1) / 2), *(centre + (sides - 1) / 2)])
    return np.array(found)


def all_anchors(anchors, h, w, stride):
    """(h * w * A, 4)"""
    shifts = [[x * stride, y * stride] * 2 for y in range(h) for x in range(w)]
    return (np.array(shifts)[:, None] + anchors).reshape(-1, 4)


def sides(boxes):
    return boxes[..., 2:] - boxes[..., :2] + 1


def overlaps(a, b):
    inside = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.prod(np.maximum(inside + 1, 0), -1)
    return shared / (np.prod(sides(a), -1)[:, None] + np.prod(sides(b), -1)[None] - shared)


def deltas_between(a, b):
    centre = [x[:, :2] + sides(x) / 2 for x in (a, b)]
    return np.hstack([(centre[1] - centre[0]) / sides(a), np.log(sides(b) / sides(a))])


def by_position(blob, numbers):
    """(1, A * numbers, H, W) as (H * W * A, numbers)."""
    return blob[0].transpose(1, 2, 0).reshape(-1, numbers)


# Proposal

SMALL = {"feat_stride": 4, "base_size": 8, "ratio": [0.5, 1, 2], "scale": [1, 2]}
IMAGE = np.float32([[40, 60, 1.5]])


def fields_of(name, values):
    parts = [f"{k}: {v}" for k, given in values.items() for v in np.ravel(given)]
    return f"{name} {{ {' '.join(parts)} }}"


def propose(scores, deltas, info=IMAGE, phase="TEST", tops="rois scores", **params):
    inputs = {"s": scores, "d": deltas, "i": info}
    fields = fields_of("proposal_param", SMALL | params)
    text = layer("Proposal", fields, bottoms="s d i", tops=tops, name="proposal")
    return make_net(input_layers(inputs) + text, phase=phase).forward(s=scores, d=deltas, i=info)


def proposed(scores, deltas, info, min_size, pre, post, threshold):
    """[(score, box)] by the definition."""
    count = scores.shape[1] // 2
    boxes = all_anchors(anchors_of(8, SMALL["ratio"], SMALL["scale"]), *scores.shape[2:], 4)
    d, size = by_position(deltas, 4), sides(boxes)
    centre = boxes[:, :2] + size / 2 + d[:, :2] * size
    half = np.exp(d[:, 2:]) * size / 2
    boxes = np.hstack([centre - half, centre + half])
    boxes = np.clip(boxes, 0, np.tile(info[0, 1::-1] - 1, 2))
    score = by_position(scores[:, count:], 1).ravel()
    keep = (sides(boxes) >= min_size * info[0, 2]).all(1)
    boxes, score = boxes[keep], score[keep]
    order = np.argsort(-score, kind="stable")[:pre]
    boxes, score, found = boxes[order], score[order], []
    for i in range(len(boxes)):
        if all(overlaps(boxes[i : i + 1], boxes[j : j + 1])[0, 0] <= threshold for j in found):
            found.append(i)
    return score[found[:post]], boxes[found[:post]]


def network_output(seed=0, h=6, w=7, count=6):
    rng = np.random.default_rng(seed)
    return (rng.random((1, 2 * count, h, w)).astype(np.float32),
            0.3 * rng.standard_normal((1, 4 * count, h, w)).astype(np.float32))  # fmt: skip


@pytest.mark.parametrize(
    ("min_size", "pre", "post", "threshold"),
    [(4, 100, 30, 0.7), (8, 6000, 300, 0.3), (1, 20, 5, 0.5), (4, 0, 0, 0.9)],
)
def test_proposals(min_size, pre, post, threshold):
    scores, deltas = network_output()
    found = propose(scores, deltas, min_size=min_size, pre_nms_topn=pre, post_nms_topn=post,
                    nms_thresh=threshold)  # fmt: skip
    score, boxes = proposed(scores, deltas, IMAGE, min_size, pre or None, post or None, threshold)
    assert len(score) > 4
    np.testing.assert_allclose(found["scores"], score[:, None], rtol=1e-6)
    np.testing.assert_allclose(found["rois"][:, 1:], boxes, rtol=1e-5, atol=1e-4)
    assert (found["rois"][:, 0] == 0).all()


def test_standard_anchors_are_the_published_ones():
    """A regression of 0 proposes the anchors themselves, in a picture that holds them."""
    scores = np.zeros((1, 18, 60, 60), np.float32)
    deltas = np.zeros((1, 36, 60, 60), np.float32)
    scores[0, 9:, 30, 30] = np.arange(9, 0, -1)
    text = layer("Proposal", "proposal_param { post_nms_topn: 9 nms_thresh: 1 min_size: 0 }",
                 bottoms="s d i", tops="rois", name="proposal")  # fmt: skip
    inputs = {"s": scores, "d": deltas, "i": np.float32([[960, 960, 1]])}
    rois = make_net(input_layers(inputs) + text, phase="TEST").forward(**inputs)["rois"]
    # Half a side to each side of the centre, as the transformation has it: one pixel more.
    want = np.add(PUBLISHED, [479, 479, 480, 480])
    np.testing.assert_allclose(rois[:, 1:], want, atol=1e-3)


def test_proposals_of_several_images():
    pairs = [network_output(seed) for seed in (1, 2)]
    scores, deltas = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    info = np.float32([[40, 60, 1], [30, 50, 1]])
    rois = propose(scores, deltas, info, min_size=4, post_nms_topn=10)["rois"]
    for n, (s, d) in enumerate(pairs):
        alone = propose(s, d, info[n : n + 1], min_size=4, post_nms_topn=10)["rois"]
        np.testing.assert_array_equal(rois[rois[:, 0] == n][:, 1:], alone[:, 1:])


def test_numbers_of_proposals_by_phase():
    scores, deltas = network_output(h=60, w=80)
    info = np.float32([[240, 320, 1]])
    counts = {
        phase: len(propose(scores, deltas, info, phase, min_size=1, nms_thresh=1)["rois"])
        for phase in ("TRAIN", "TEST")
    }
    assert counts == {"TRAIN": 2000, "TEST": 300}


def test_nan_is_no_proposal():
    scores, deltas = network_output()
    want = propose(scores, deltas, min_size=4)
    scores[0, 6 + 2, 3, 3], deltas[0, 4 * 1, 2, 2] = np.nan, np.nan
    found = propose(scores, deltas, min_size=4)
    assert np.isfinite(found["rois"]).all() and np.isfinite(found["scores"]).all()
    assert abs(len(found["rois"]) - len(want["rois"])) <= 3
    scores[...] = np.nan
    assert propose(scores, deltas, min_size=4)["rois"].shape == (0, 5)


def test_nothing_proposed_goes_through_a_head():
    scores, deltas = network_output()
    inputs = {"s": scores, "d": deltas, "i": IMAGE, "x": np.ones((1, 3, 10, 15), np.float32)}
    text = layer("Proposal", fields_of("proposal_param", SMALL | {"min_size": 1000}),
                 bottoms="s d i", tops="rois", name="proposal")  # fmt: skip
    text += layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }",
                  bottoms="x rois", tops="pooled")  # fmt: skip
    text += layer("InnerProduct", "inner_product_param { num_output: 4 }", "pooled", "scores")
    text += layer("ReLU", bottoms="scores", tops="scores", name="relu")
    text += layer("Softmax", bottoms="scores", tops="prob")
    for keep in ("all", "outputs"):
        net = make_net(input_layers(inputs) + text, phase="TEST", keep=keep)
        assert net.forward(**inputs)["prob"].shape == (0, 4)


@pytest.mark.parametrize(
    ("info", "message"),
    [([[0, 60, 1]], "image 0 is 0 high and 60 wide"), ([[40, np.nan, 1]], "an image has at least"),
     ([[40, 60, 0]], "at scale 0")],
)  # fmt: skip
def test_empty_images_are_refused(info, message):
    with pytest.raises(Error, match=message):
        propose(*network_output(), np.float32(info))


def test_proposal_says_what_does_not_fit():
    scores, deltas = network_output()
    with pytest.raises(Error, match="3 ratios and 2 scales make 6 anchors, which take scores"):
        propose(scores[:, :10], deltas)
    with pytest.raises(Error, match="im_info must have a row"):
        propose(scores, deltas, np.ones((1, 2), np.float32))
    with pytest.raises(Error, match="ratio must be positive, got -1"):
        propose(scores, deltas, ratio=[-1])
    with pytest.raises(Error, match="feat_stride and base_size must be positive"):
        propose(scores, deltas, feat_stride=0)


# AnchorTarget

TRUTH = np.float32([[4, 4, 19, 19, 1], [22, 8, 47, 30, 2]])
TARGETS = "labels targets inside outside"


def targets(truth=TRUTH, h=10, w=15, info=IMAGE, seed=1, **params):
    inputs = {"s": np.zeros((1, 12, h, w), np.float32), "g": np.float32(truth), "i": info}
    text = layer("AnchorTarget", fields_of("anchor_target_param", SMALL | params),
                 bottoms="s g i", tops=TARGETS, name="target")  # fmt: skip
    found = make_net(input_layers(inputs) + text, seed=seed).forward(**inputs)
    labels = found["labels"].reshape(6, h, w).transpose(1, 2, 0).ravel()
    return labels, *(by_position(found[name], 4) for name in TARGETS.split()[1:])


def wanted_labels(truth, h, w, info, border=0, high=0.7, low=0.3):
    boxes = all_anchors(anchors_of(8, SMALL["ratio"], SMALL["scale"]), h, w, 4)
    limit = info[0, 1::-1] + border
    inside = (boxes[:, :2] >= -border).all(1) & (boxes[:, 2:] < limit).all(1)
    over = np.where(inside[:, None], overlaps(boxes, truth[:, :4]), 0)
    labels = np.where(over.max(1) < low, 0, -1)
    labels[(over == over.max(0)).any(1) | (over.max(1) >= high)] = 1
    return np.where(inside, labels, -1), boxes, over


def test_anchor_targets():
    labels, deltas, inside, outside = targets(batch_size=100_000, fg_fraction=1)
    want, boxes, over = wanted_labels(TRUTH, 10, 15, IMAGE)
    np.testing.assert_array_equal(labels, want)
    assert {-1, 0, 1} == set(labels)
    positive = labels == 1
    best = TRUTH[over.argmax(1)][:, :4]
    np.testing.assert_allclose(
        deltas[positive], deltas_between(boxes, best)[positive], rtol=1e-5, atol=1e-6
    )
    assert (inside[positive] == 1).all() and (inside[~positive] == 0).all()
    np.testing.assert_allclose(outside[labels >= 0], 1 / (labels >= 0).sum(), rtol=1e-6)
    assert (outside[labels < 0] == 0).all()


def test_anchor_targets_are_a_random_choice_that_repeats():
    everything, *_ = targets(batch_size=100_000, fg_fraction=1, positive_overlap=0.4)
    labels, _, inside, outside = targets(batch_size=20, positive_overlap=0.4)
    assert (labels == 1).sum() == 10 and (labels == 0).sum() == 10
    assert (everything[labels >= 0] == labels[labels >= 0]).all()
    np.testing.assert_allclose(outside[labels >= 0], 1 / 20, rtol=1e-6)
    assert (inside.sum(1) > 0).sum() == 10
    again, *_ = targets(batch_size=20, positive_overlap=0.4)
    other, *_ = targets(batch_size=20, positive_overlap=0.4, seed=2)
    np.testing.assert_array_equal(labels, again)
    assert (labels != other).any()


def test_anchor_targets_with_a_share_for_objects():
    labels, _, inside, outside = targets(positive_weight=0.25, bbox_inside_weights=[1, 2, 3, 4])
    np.testing.assert_allclose(outside[labels == 1][:, 0].sum(), 0.25, rtol=1e-5)
    np.testing.assert_allclose(outside[labels == 0][:, 0].sum(), 0.75, rtol=1e-5)
    assert (inside[labels == 1] == [1, 2, 3, 4]).all()


def test_anchor_targets_clobbered():
    tiny = [[20, 20, 21, 21, 1]]
    assert (targets(tiny, batch_size=100_000)[0] == 1).any()
    assert not (targets(tiny, batch_size=100_000, clobber_positives="true")[0] == 1).any()


@pytest.mark.parametrize(
    "truth",
    [np.zeros((0, 5)), [[9, 9, 5, 5, 1]], [[500, 500, 540, 540, 1]], [[-90, -90, -60, -60, 2]]],
    ids=["none", "without area", "outside", "outside before"],
)
def test_anchors_of_an_image_without_objects_are_of_none(truth):
    labels, deltas, inside, outside = targets(truth)
    assert (labels <= 0).all() and (labels == 0).sum() == 256
    assert np.isfinite(deltas).all() and (inside == 0).all() and (outside >= 0).all()


def test_an_image_smaller_than_its_anchors_has_no_targets():
    labels, _, _, outside = targets(info=np.float32([[5, 5, 1]]))
    assert (labels == -1).all() and (outside == 0).all()


def test_bad_ground_truth():
    with pytest.raises(Error, match=r"rows \[x1, y1, x2, y2, label\].* got 2x4"):
        targets(TRUTH[:, :4])
    with pytest.raises(Error, match="ground truth 1 is .*nan.* must be finite"):
        targets([TRUTH[0], [1, 2, np.nan, 4, 1]])


# ProposalTarget

ROIS = np.float32([[0, *box] for box in (
    (4, 4, 19, 19), (5, 5, 20, 20), (3, 4, 19, 22), (22, 8, 47, 30), (24, 10, 46, 30),
    (10, 10, 30, 30), (12, 2, 24, 20), (40, 0, 59, 12), (0, 30, 12, 39), (15, 15, 40, 35),
)])  # fmt: skip
CHOSEN = "chosen labels targets inside outside"


def sample(rois=ROIS, truth=TRUTH, seed=1, net_only=False, **params):
    inputs = {"r": np.float32(rois), "g": np.float32(truth)}
    params = {"num_classes": 4, "bg_thresh_lo": 0} | params
    text = layer("ProposalTarget", fields_of("proposal_target_param", params),
                 bottoms="r g", tops=CHOSEN, name="target")  # fmt: skip
    found = make_net(input_layers(inputs) + text, seed=seed).forward(**inputs)
    return tuple(found[name] for name in CHOSEN.split())


def test_all_regions():
    rois, labels, deltas, inside, outside = sample(batch_size=-1)
    everything = np.vstack([ROIS, np.insert(TRUTH[:, :4], 0, 0, 1)])
    over = overlaps(everything[:, 1:], TRUTH[:, :4])
    best, objects = over.argmax(1), over.max(1) >= 0.5
    order = np.append(np.flatnonzero(objects), np.flatnonzero(~objects))
    np.testing.assert_array_equal(rois, everything[order])
    np.testing.assert_array_equal(labels, np.where(objects, TRUTH[best, 4], 0)[order])
    assert deltas.shape == inside.shape == outside.shape == (12, 16)
    want = deltas_between(everything[:, 1:], TRUTH[best, :4])[order]
    for row, label in enumerate(labels.astype(int)):
        slot = slice(4 * label, 4 * label + 4)
        expected = np.zeros(16)
        expected[slot] = want[row] if label else 0
        np.testing.assert_allclose(deltas[row], expected, rtol=1e-4, atol=1e-6)
        expected[slot] = 1 if label else 0
        np.testing.assert_array_equal(inside[row], expected)
        np.testing.assert_array_equal(outside[row], expected)


def test_chosen_regions():
    rois, labels, *_ = sample(batch_size=6, fg_fraction=0.5)
    assert (labels > 0).tolist() == [True] * 3 + [False] * 3
    again = sample(batch_size=6, fg_fraction=0.5)[0]
    np.testing.assert_array_equal(rois, again)
    others = [sample(batch_size=6, fg_fraction=0.5, seed=s)[0] for s in (2, 3)]
    assert any((rois != other).any() for other in others)
    assert len(sample(batch_size=6, fg_fraction=0)[0]) == 5, "no more than there are"


def test_normalized_targets():
    means, stds = [0.5, 0, 0, 0.25], [0.1, 0.1, 0.2, 0.2]
    plain = sample(batch_size=-1)[2][1, 4:8]
    scaled = sample(batch_size=-1, bbox_normalize_means=means, bbox_normalize_stds=stds)[2]
    np.testing.assert_allclose(scaled[1, 4:8], (plain - means) / stds, rtol=1e-4, atol=1e-5)


def test_targets_for_all_classes_together():
    _, labels, deltas, *_ = sample(batch_size=-1, num_classes=2, class_agnostic="true")
    assert labels.max() == 2 and deltas.shape == (12, 8)
    assert (deltas[:, :4] == 0).all() and (deltas[labels > 0][:, 4:] != 0).any()


def test_an_image_without_objects_gives_background():
    for truth in (np.zeros((0, 5)), [[9, 9, 5, 5, 1]]):
        rois, labels, deltas, *_ = sample(truth=truth, bg_thresh_lo=0.1)
        np.testing.assert_array_equal(rois, ROIS)
        assert (labels == 0).all() and (deltas == 0).all()
    assert sample(np.zeros((0, 5)), np.zeros((0, 5)))[0].shape == (0, 5)
    assert len(sample(np.zeros((0, 5)))[0]) == 2, "the objects themselves"


def test_background_between_the_thresholds():
    _, labels, *_ = sample(batch_size=-1, bg_thresh_lo=0.1)
    assert (labels == 0).sum() < (sample(batch_size=-1)[1] == 0).sum()


def test_proposal_target_says_what_does_not_fit():
    with pytest.raises(Error, match="num_classes must be given and at least 2"):
        sample(num_classes=1)
    with pytest.raises(Error, match="ground truth has label 2, but num_classes is 2"):
        sample(num_classes=2)
    with pytest.raises(Error, match="region 3 is of image 1"):
        sample(np.where(np.arange(10)[:, None] == 3, [[1, 0, 0, 5, 5]], ROIS))
    with pytest.raises(Error, match="take four numbers each, got 2"):
        sample(bbox_normalize_stds=[1, 2])
    with pytest.raises(Error, match="must be positive, got -0.1"):
        sample(bbox_normalize_stds=[0.1, 0.1, -0.1, 0.2])


# py-faster-rcnn's prototxt

PYTHON = """
layer {{ name: "x" type: "Python" {blobs}
  python_param {{ module: "{module}" layer: "{layer}" param_str: "{param_str}" }} }}
"""


def python_net(module, class_name, param_str, bottoms, tops):
    blobs = " ".join([f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops.split()])
    text = PYTHON.format(blobs=blobs, module=module, layer=class_name, param_str=param_str)
    return make_net(input_layers(bottoms) + text)


def test_python_layers_of_py_faster_rcnn_are_native():
    shapes = {"s": (1, 18, 8, 8), "d": (1, 36, 8, 8), "i": (1, 3)}
    net = python_net("rpn.proposal_layer", "ProposalLayer", "'feat_stride': 16", shapes, "rois")
    assert net._core.spec["layers"][-1]["type"] == "Proposal"
    shapes = {"s": (1, 24, 8, 8), "g": (2, 5), "i": (1, 3), "data": (1, 3, 128, 128)}
    net = python_net("rpn.anchor_target_layer", "AnchorTargetLayer",
                     "{'feat_stride': 16, 'scales': [4, 8, 16, 32]}", shapes, TARGETS)  # fmt: skip
    assert net.blobs["targets"].shape == (1, 48, 8, 8)
    shapes = {"r": (9, 5), "g": (2, 5)}
    for classes in (21, 2):
        net = python_net("rpn.proposal_target_layer", "ProposalTargetLayer",
                         f"'num_classes': {classes}", shapes, CHOSEN)  # fmt: skip
        spec = net._core.spec["layers"][-1]
        assert spec["type"] == "ProposalTarget"
        agnostic = spec["params"]["proposal_target_param"].get("class_agnostic", False)
        assert agnostic == (classes == 2)


def test_a_param_str_that_cannot_be_read_says_where():
    shapes = {"s": (1, 18, 8, 8), "d": (1, 36, 8, 8), "i": (1, 3)}
    for text, message in (
        ("'feat_strid': 16", r':\d+: layer "x" \(Python\): param_str: unknown key "feat_strid"; '
         'did you mean "feat_stride"'), ("16", "cannot read '16'"),
        ("'feat_stride': open('x')", "is no number"),
    ):  # fmt: skip
        with pytest.raises(Error, match=message):
            python_net("rpn.proposal_layer", "ProposalLayer", text, shapes, "rois")


def test_other_python_layers_still_need_leave():
    with pytest.raises(Error, match="allow_python"):
        python_net("rpn.proposal_layer", "OtherLayer", "", {"s": (1, 2)}, "y")


@pytest.mark.parametrize(
    ("text", "values"),
    [("'feat_stride': 16", {"feat_stride": 16}), ("", {}),
     ("feat_stride: 8\nscales: [1, 2.5]", {"feat_stride": 8, "scales": [1, 2.5]}),
     ("{'a': -1, \"b\": (3, 4)}", {"a": -1, "b": [3, 4]}),
     ("'scales': !!python/tuple [4, 8]", {"scales": [4, 8]})],
)  # fmt: skip
def test_param_str(text, values):
    assert read_param_str(text) == values


def test_the_written_prototxt_keeps_the_python_layer():
    text = PYTHON.format(blobs='top: "y"', module="rpn.proposal_layer", layer="ProposalLayer",
                         param_str="")  # fmt: skip
    message = prototxt.parse(text)
    prototxt.net_spec(message)
    assert message.layer[0].type == "Python"
    assert pydl.prototxt.net_spec(message)["layers"][0]["type"] == "Proposal"


# Whole nets as their authors wrote them, with few channels

CONV = (
    "num_output: {} kernel_size: {} pad: {} weight_filler {{ type: 'gaussian' std: 0.05 }}".format
)


def convolution(bottom, top, outputs, kernel=1):
    fields = f"convolution_param {{ {CONV(outputs, kernel, kernel // 2)} }}"
    return layer("Convolution", fields, bottom, top)


def python(module, bottoms, tops, param_str):
    name = "".join(word.capitalize() for word in module.split("_"))
    fields = f'module: "rpn.{module}" layer: "{name}" param_str: "{param_str}"'
    return layer("Python", f"python_param {{ {fields} }}", bottoms, tops, name=module)


def proposals(phase="TRAIN"):
    """The part that Faster R-CNN and R-FCN share: 3 anchors of 16 to 64 pixels a side."""
    anchors = "{'feat_stride': 8, 'scales': [1, 2, 4], 'ratios': [1]}"
    shape = "reshape_param {{ shape {{ dim: 0 dim: {} dim: -1 dim: 0 }} }}".format
    pool = "pooling_param { pool: MAX kernel_size: 8 stride: 8 }"
    return (
        layer("Pooling", pool, "data", "pooled") + convolution("pooled", "conv5_3", 8, 3)
        + convolution("conv5_3", "rpn_cls_score", 6) + convolution("conv5_3", "rpn_bbox_pred", 12)
        + layer("Reshape", shape(2), "rpn_cls_score", "rpn_cls_score_reshape")
        + python("anchor_target_layer", "rpn_cls_score gt_boxes im_info data",
                 "rpn_labels rpn_targets rpn_inside rpn_outside", anchors)
        + layer("SoftmaxWithLoss", "loss_weight: 1 propagate_down: 1 propagate_down: 0 "
                "loss_param { ignore_label: -1 normalize: true }",
                "rpn_cls_score_reshape rpn_labels", "rpn_cls_loss")
        + layer("SmoothL1Loss", "loss_weight: 1 smooth_l1_loss_param { sigma: 3 }",
                "rpn_bbox_pred rpn_targets rpn_inside rpn_outside", "rpn_loss_bbox")
        + layer("Softmax", bottoms="rpn_cls_score_reshape", tops="rpn_cls_prob")
        + layer("Reshape", shape(6), "rpn_cls_prob", "rpn_cls_prob_reshape")
        + python("proposal_layer", "rpn_cls_prob_reshape rpn_bbox_pred im_info", "rpn_rois",
                 anchors)
    )  # fmt: skip


def faster_rcnn():
    losses = "labels targets inside outside"
    return (
        proposals()
        + python("proposal_target_layer", "rpn_rois gt_boxes", f"rois {losses}", "'num_classes': 4")
        + layer("ROIPooling", "roi_pooling_param { pooled_w: 3 pooled_h: 3 spatial_scale: 0.125 }",
                "conv5_3 rois", "pool5")
        + layer("InnerProduct", "inner_product_param { num_output: 4 "
                "weight_filler { type: 'xavier' } }", "pool5", "cls_score")
        + layer("InnerProduct", "inner_product_param { num_output: 16 "
                "weight_filler { type: 'xavier' } }", "pool5", "bbox_pred")
        + layer("SoftmaxWithLoss", "propagate_down: 1 propagate_down: 0 loss_weight: 1",
                "cls_score labels", "loss_cls")
        + layer("SmoothL1Loss", "loss_weight: 1", "bbox_pred targets inside outside", "loss_bbox")
    )  # fmt: skip


def rfcn():
    """With online hard example mining and one box regression for all classes."""
    psroi = ("psroi_pooling_param {{ spatial_scale: 0.125 output_dim: {} group_size: 3 }}").format
    mean = "pooling_param { pool: AVE kernel_size: 3 stride: 3 }"
    fixed = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 16 }"
    no = "propagate_down: false "
    return (
        proposals()
        + python("proposal_target_layer", "rpn_rois gt_boxes", "rois labels targets inside outside",
                 "'num_classes': 2")
        + convolution("conv5_3", "rfcn_cls", 4 * 9) + convolution("conv5_3", "rfcn_bbox", 8 * 9)
        + layer("PSROIPooling", psroi(4), "rfcn_cls rois", "cls_rois")
        + layer("PSROIPooling", psroi(8), "rfcn_bbox rois", "bbox_rois")
        + layer("Pooling", mean, "cls_rois", "cls_score")
        + layer("Pooling", mean, "bbox_rois", "bbox_pred")
        + layer("SoftmaxWithLossOHEM", 3 * "loss_weight: 0 " + 2 * no, "cls_score labels",
                "temp_loss_cls temp_prob_cls per_roi_loss_cls", name="per_roi_cls")
        + layer("SmoothL1LossOHEM", 2 * "loss_weight: 0 " + 3 * no, "bbox_pred targets inside",
                "temp_loss_bbox per_roi_loss_bbox", name="per_roi_bbox")
        + layer("Eltwise", 2 * no, "per_roi_loss_cls per_roi_loss_bbox", "per_roi_loss")
        + layer("BoxAnnotatorOHEM", 4 * no + "box_annotator_ohem_param { roi_per_img: 16 "
                "ignore_label: -1 }", "rois per_roi_loss labels inside",
                "labels_ohem weights_ohem", name="annotator")
        + layer("Silence", bottoms="outside temp_loss_cls temp_prob_cls temp_loss_bbox", tops="",
                name="silence")
        + layer("SoftmaxWithLoss", "loss_weight: 1 loss_param { ignore_label: -1 } "
                "propagate_down: true propagate_down: false", "cls_score labels_ohem", "loss_cls")
        + layer("Accuracy", "accuracy_param { ignore_label: -1 } " + 2 * no,
                "cls_score labels_ohem", "accuracy")
        + layer("SmoothL1LossOHEM", f"loss_weight: 1 {fixed} propagate_down: true {2 * no}",
                "bbox_pred targets weights_ohem", "loss_bbox")
    )  # fmt: skip


OBJECTS = np.float32([[10, 12, 50, 47, 1], [60, 30, 90, 80, 3]])


def train_step(text, objects=OBJECTS, keep="all"):
    """The losses and gradients of a pass over a picture of 96 x 128 pixels."""
    inputs = {"data": np.random.default_rng(0).random((1, 3, 96, 128)),
              "im_info": np.float32([[96, 128, 1]]), "gt_boxes": np.float32(objects)}  # fmt: skip
    net = make_net(input_layers(inputs) + text, keep=keep)
    net.forward(**inputs)
    net.backward()
    gradients = [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
    return net, gradients


@pytest.mark.parametrize("make", [faster_rcnn, rfcn])
def test_whole_nets_train(make):
    net, gradients = train_step(make())
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients)
    assert net.blobs["labels"].data.max() == 3
    for (_, again), keep in ((train_step(make()), "all"), (train_step(make(), keep="outputs"), "")):
        for a, b in zip(gradients, again, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7, err_msg=f"{keep}")


@pytest.mark.parametrize("make", [faster_rcnn, rfcn])
def test_whole_nets_train_on_a_picture_without_objects(make):
    net, gradients = train_step(make(), np.zeros((0, 5)))
    assert all(np.isfinite(g).all() for g in gradients)
    assert net.blobs["labels"].data.max() == 0
    assert net.blobs["loss_bbox"].data == 0 and net.blobs["rpn_loss_bbox"].data == 0


def test_hard_examples_of_a_whole_net():
    net, _ = train_step(rfcn())
    loss, labels = (net.blobs[n].data.ravel() for n in ("per_roi_loss", "labels_ohem"))
    hardest = np.argsort(-loss, kind="stable")[:16]
    assert (labels >= 0).sum() == 16 and (labels[hardest] >= 0).all()
    np.testing.assert_array_equal(labels[hardest], net.blobs["labels"].data.ravel()[hardest])

"""NMS against plain Python: which boxes stay, gradients, and bad input."""

import numpy as np
import pytest
from data_files import message
from detection_reference import overlap
from net_text import layer, make_net, normal

from pydl.gradient_check import check_gradients


def boxes_and_scores(count=40, seed=0, size=10.0):
    rng = np.random.default_rng(seed)
    first, sides = rng.uniform(0, size, (count, 2)), rng.uniform(0.2, 0.5, (count, 2)) * size
    return np.concatenate([first, first + sides], 1), rng.uniform(0, 1, count)


def keep(boxes, order, threshold, most=None, eta=1.0, extra=0.0):
    """The greedy choice, one box at a time."""
    grown = np.add(boxes, [0, 0, extra, extra])
    kept = []
    for i in order:
        if most is not None and len(kept) == most:
            break
        if all(overlap(grown[i], grown[j]) <= threshold for j in kept):
            kept.append(int(i))
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def nms(fields, boxes, scores=None, tops="y s i"):
    inputs = {"b": boxes} if scores is None else {"b": boxes, "p": scores}
    text = layer("NMS", f"nms_param {{ {fields} }}", " ".join(inputs), tops)
    out = make_net(text, inputs).forward(**inputs)
    return [out[name] for name in tops.split()]


OPTIONS = {
    "default": ("", {"threshold": 0.3}, slice(None)),
    "threshold": ("nms_threshold: 0.1", {"threshold": 0.1}, slice(None)),
    "its other name": ("iou_threshold: 0.1", {"threshold": 0.1}, slice(None)),
    "top_k": ("nms_threshold: 0.2 top_k: 12", {"threshold": 0.2}, slice(12)),
    "keep_top_k": ("keep_top_k: 4", {"threshold": 0.3, "most": 4}, slice(None)),
    "keep none": ("keep_top_k: 0", {"threshold": 0.3, "most": 0}, slice(None)),
    "eta": ("nms_threshold: 0.9 eta: 0.7", {"threshold": 0.9, "eta": 0.7}, slice(None)),
    "pixels": ("pixels: true", {"threshold": 0.3, "extra": 1.0}, slice(None)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_which_boxes_stay(name):
    fields, options, looked_at = OPTIONS[name]
    boxes, scores = boxes_and_scores()
    want = keep(boxes, np.argsort(-scores)[looked_at], **options)
    kept, of_them, places = nms(fields, boxes, scores)
    np.testing.assert_array_equal(places, want)
    np.testing.assert_array_equal(kept, boxes[want].astype(np.float32).reshape(-1, 4))
    np.testing.assert_array_equal(of_them, scores[want].astype(np.float32))
    assert name == "keep none" or 0 < len(want) < len(boxes)


def test_only_scores_above_a_threshold():
    boxes, scores = boxes_and_scores()
    (kept,) = nms("confidence_threshold: 0.8 nms_threshold: 1", boxes, scores, "y")
    assert len(kept) == (scores > 0.8).sum()


def test_each_batch_item_by_itself():
    boxes, scores = boxes_and_scores()
    items = np.random.default_rng(1).integers(0, 3, len(boxes)) * 2.0
    kept, of_them, places = nms("", np.c_[items, boxes], scores.reshape(-1, 1, 1))
    want = []
    for item in (0, 2, 4):
        own = np.flatnonzero(items == item)
        want += keep(boxes, own[np.argsort(-scores[own])], 0.3)
    np.testing.assert_array_equal(places, want)
    assert kept.shape == (len(want), 5) and of_them.shape == (len(want), 1, 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_boxes_in_order_without_scores(axis):
    """Synopsys' form; corners may be turned around."""
    boxes, scores = boxes_and_scores()
    boxes = boxes[np.argsort(-scores)]
    turned = boxes.copy()
    turned[::3] = turned[::3][:, [2, 1, 0, 3]]
    turned[::4] = turned[::4][:, [0, 3, 2, 1]]
    given = turned.T if axis else turned
    fields = f"iou_threshold: 0.2 axis: {axis}"
    want = keep(boxes, range(len(boxes)), 0.2)
    np.testing.assert_array_equal(nms(fields, given, tops="y")[0], want)
    np.testing.assert_array_equal(nms(f"{fields} top_k: 5", given, tops="y")[0], want[:5])


def test_equal_scores_and_what_is_no_box():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 5, 5], [np.nan, 0, 1, 1], [7, 7, 8, 8]])
    scores = np.array([0.5, 0.5, 0.5, 0.5, np.nan])
    _, _, places = nms("", boxes, scores)
    np.testing.assert_array_equal(places, [0, 2])


def test_no_boxes():
    kept, of_them, places = nms("", np.zeros((0, 4)), np.zeros(0))
    assert kept.shape == (0, 4) and of_them.shape == places.shape == (0,)


def test_the_number_of_boxes_changes():
    boxes, scores = boxes_and_scores()
    text = layer("NMS", "", "b p", "y")
    net = make_net(text, {"b": boxes, "p": scores})
    apart = 20.0 * np.arange(40)[:, None] + boxes
    assert len(net.forward(b=apart, p=scores)["y"]) == 40
    assert len(net.forward(b=boxes[:1], p=scores[:1])["y"]) == 1


@pytest.mark.parametrize("tops", ["y", "y s", "y s i"])
def test_gradients_go_to_the_boxes_that_stay(tops):
    boxes, scores = boxes_and_scores()
    inputs = {"b": boxes, "p": scores}
    net = make_net(f"force_backward: true {layer('NMS', '', 'b p', tops)}", inputs)
    net.forward(**inputs)
    places = keep(boxes, np.argsort(-scores), 0.3)
    want = {"b": np.zeros((40, 4), np.float32), "p": np.zeros(40, np.float32)}
    for name, top in zip("bp", tops.split(), strict=False):
        want[name][places] = net.blobs[top].diff[...] = normal(*net.blobs[top].shape, seed=7)
    net.backward()
    for name, gradient in want.items():
        np.testing.assert_array_equal(net.blobs[name].diff, gradient)


def test_gradient_where_all_stay():
    boxes, _ = boxes_and_scores(8)
    apart = boxes + 30 * np.arange(8)[:, None]
    scores = np.random.default_rng(3).permutation(8) / 4  # a step changes no order
    check_gradients(layer("NMS", "", "b p", "y s", name="n"), {"b": apart, "p": scores})


@pytest.mark.parametrize(
    ("fields", "boxes", "scores", "tops", "problem"),
    [
        ("nms_threshold: -1", (3, 4), (3,), "y", "nms_threshold must not be negative"),
        ("eta: 2", (3, 4), (3,), "y", "eta must be above 0 and at most 1"),
        ("", (3, 6), (3,), "y", "with the batch item in front, got 3x6"),
        ("", (3, 4), (4,), "y", "needs a score for each of 3 boxes, got 4"),
        ("", (3, 4), (3, 2), "y", "needs a score for each of 3 boxes, got 3x2"),
        ("axis: 1", (3, 4), (3,), "y", "axis must be 0 where there are scores, got 1"),
        ("axis: 2", (3, 4), None, "y", "axis must be 0 or 1, got 2"),
        ("", (3, 5), None, "y", "without scores it needs boxes (R, 4)"),
        ("", (3, 4), None, "y s", "give the scores as a second bottom"),
        ("keep_top_k: 3", (3, 4), None, "y", "without them top_k is how many boxes are kept"),
        ("threshold: 3", (3, 4), None, "y", 'did you mean "nms_threshold"'),
    ],
)  # fmt: skip
def test_says_what_is_wrong(fields, boxes, scores, tops, problem):
    inputs = {"b": boxes} | ({} if scores is None else {"p": scores})
    text = layer("NMS", f"nms_param {{ {fields} }}", " ".join(inputs), tops, name="n")
    assert problem in message(make_net, text, inputs)


def test_a_batch_item_that_is_none():
    boxes = np.array([[0.0, 0, 0, 1, 1], [-1, 0, 0, 1, 1]])
    assert "row 1 of the boxes is of batch item -1" in message(nms, "", boxes, np.ones(2))

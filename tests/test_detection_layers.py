"""PriorBox, DetectionOutput, MultiBoxLoss, SmoothL1Loss and DetectionEvaluate: values against plain
Python, gradients, and what goes wrong."""

import itertools

import numpy as np
import pytest
from data_files import message
from detection_reference import detection_output, multibox_loss, overlap
from net_text import layer, make_net

from pydl import Error, _core
from pydl.gradient_check import check_gradients

CODES = ("CORNER", "CENTER_SIZE", "CORNER_SIZE")
CLASSES = 4


def run(text, inputs, **options):
    """The outputs of a net of Input layers and `text`."""
    return make_net(text, inputs, **options).forward(**inputs)


def prior_blob(count=24, seed=0, reach=0.1):
    """(1, 2, 4 count): boxes, some of them reaching out of the image, and variances."""
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(0, 1, (count, 2)), rng.uniform(0.1, 0.5, (count, 2))
    boxes = np.concatenate([center - size / 2, center + size / 2], 1)
    boxes = boxes.clip(-reach, 1 + reach)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (count, 1))
    return np.stack([boxes, variances]).reshape(1, 2, -1).astype(np.float32)


def truth_blob(seed=1, images=(0, 0, 2, 2, 2), difficult=(0, 1, 0, 0, 1)):
    """(1, 1, G, 8)"""
    rng = np.random.default_rng(seed)
    rows = []
    for k, (image, hard) in enumerate(zip(images, difficult, strict=True)):
        first, size = rng.uniform(0.05, 0.5, 2), rng.uniform(0.2, 0.45, 2)
        rows.append([image, 1 + k % (CLASSES - 1), 0, *first, *(first + size), hard])
    return np.array(rows, np.float32).reshape(1, 1, -1, 8)


# ---- PriorBox ----


def prior_box(fields, features=(1, 2, 2, 3), image=(1, 3, 40, 60)):
    inputs = {"x": np.zeros(features), "d": np.zeros(image)}
    (top,) = run(layer("PriorBox", f"prior_box_param {{ {fields} }}", "x d"), inputs).values()
    return top


def test_prior_box():
    top = prior_box("min_size: 10.9 max_size: 22 aspect_ratio: 4 variance: 0.1 variance: 0.2 "
                    "variance: 0.3 variance: 0.4")  # fmt: skip
    assert top.shape == (1, 2, 2 * 3 * 4 * 4)
    boxes = top[0, 0].reshape(2, 3, 4, 4)  # row, column, prior, corner
    sizes = [(10, 10), (220**0.5, 220**0.5), (20, 5), (5, 20)]
    for (row, column), (k, (width, height)) in itertools.product(
        np.ndindex(2, 3), enumerate(sizes)
    ):
        x, y = (column + 0.5) * 20, (row + 0.5) * 20
        want = [(x - width / 2) / 60, (y - height / 2) / 40, (x + width / 2) / 60,
                (y + height / 2) / 40]  # fmt: skip
        np.testing.assert_allclose(boxes[row, column, k], want, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(
        top[0, 1].reshape(-1, 4), np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (24, 1))
    )


def test_prior_box_of_each_min_size_with_clip():
    top = prior_box("min_size: 30 min_size: 50 clip: true flip: false aspect_ratio: 2")
    boxes = top[0, 0].reshape(-1, 4, 4)
    assert boxes.min() == 0 and boxes.max() == 1
    np.testing.assert_array_equal(top[0, 1], np.float32(0.1))
    assert prior_box("min_size: 30 step: 8 offset: 0", clip := (1, 1, 1, 1))[0, 0, 2] > 0, clip


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("", "min_size must be given"),
        ("min_size: 0", "min_size must be positive"),
        ("min_size: 10 max_size: 10", "max_size must be above its min_size: 10 is not above 10"),
        ("min_size: 10 max_size: 20 max_size: 30", "max_size is given 2 times for 1"),
        ("min_size: 10 variance: 0.1 variance: 0.2", "variance must be given once or 4 times"),
        ("min_size: 10 variance: -1", "variance must be positive"),
        ("min_size: 10 img_h: 4", "give both of img_h and img_w"),
        ("min_size: 10 img_size: 4 img_h: 4 img_w: 4", "give img_size or img_h and img_w"),
        ("min_size: 10 step: 0", "must be positive"),
        ("min_size: 10 aspect_ratio: 0", "aspect_ratio must be positive"),
    ],
)
def test_prior_box_says_what_is_wrong(fields, problem):
    assert problem in message(prior_box, fields)


def test_prior_box_needs_images():
    assert "must be N x C x H x W" in message(prior_box, "min_size: 3", (2, 3))


# ---- DetectionOutput ----

OUTPUTS = {
    "center": {"code": "CENTER_SIZE", "threshold": 0.45, "least": 0.3},
    "corner top_k": {"code": "CORNER", "threshold": 0.45, "top_k": 5, "least": 0.2},
    "corner_size keep": {"code": "CORNER_SIZE", "threshold": 0.4, "keep": 7, "least": 0.1},
    "variance in target": {"code": "CENTER_SIZE", "encoded": True, "least": 0.3, "threshold": 0.5},
    "eta": {"code": "CENTER_SIZE", "threshold": 0.9, "eta": 0.8, "least": 0.2},
    "not shared": {"code": "CENTER_SIZE", "share": False, "least": 0.3, "keep": 20},
    "no background": {"code": "CENTER_SIZE", "share": False, "background": -1, "least": 0.4},
    "no background, shared": {"code": "CENTER_SIZE", "background": -1, "least": 0.4},
    "background 2": {"code": "CENTER_SIZE", "background": 2, "least": 0.4, "top_k": 3},
    "all": {"code": "CORNER", "threshold": 0.2},
    "keep none": {"code": "CORNER", "keep": 0},
    "none found": {"code": "CORNER", "least": 2},
}  # fmt: skip


def detection_text(*, code="CORNER", share=True, background=0, threshold=0.3, top_k=None, eta=1.0,
                   keep=-1, least=None, encoded=False, classes=CLASSES):  # fmt: skip
    nms = f"nms_threshold: {threshold} eta: {eta}" + (f" top_k: {top_k}" if top_k else "")
    fields = (
        f"num_classes: {classes} code_type: {code} share_location: {str(share).lower()} "
        f"background_label_id: {background} nms_param {{ {nms} }} keep_top_k: {keep} "
        f"variance_encoded_in_target: {str(encoded).lower()} "
        + (f"confidence_threshold: {least}" if least is not None else "")
    )
    return layer("DetectionOutput", f"detection_output_param {{ {fields} }}", "loc conf prior")


def predictions(images=3, priors=24, share=True, seed=2):
    rng = np.random.default_rng(seed)
    loc = rng.normal(0, 0.5, (images, priors * (1 if share else CLASSES) * 4))
    conf = rng.uniform(0, 1, (images, priors * CLASSES)).round(2)  # ties
    return {
        "loc": loc.astype(np.float32),
        "conf": conf.astype(np.float32),
        "prior": prior_blob(priors),
    }


@pytest.mark.parametrize("isa", _core.kernels.available_isas())
@pytest.mark.parametrize("name", OUTPUTS)
def test_detection_output(name, isa):
    _core.kernels.set_isa(isa)
    options = OUTPUTS[name]
    inputs = predictions(share=options.get("share", True))
    if "keep" in options:  # no ties at the cut
        inputs["conf"] += np.linspace(0, 1e-3, inputs["conf"].size).reshape(inputs["conf"].shape)
    (got,) = run(detection_text(**options), inputs, keep="outputs").values()
    want = detection_output(*inputs.values(), classes=CLASSES, **options)
    assert got.shape == (1, 1, *want.shape)
    np.testing.assert_array_equal(got[0, 0, :, :2], want[:, :2])
    np.testing.assert_allclose(got[0, 0], want, rtol=1e-4, atol=1e-5)


def test_detection_output_of_many_boxes():
    """So many that those dropped are left out of further looks."""
    inputs = predictions(1, 3000)
    options = {"code": "CENTER_SIZE", "threshold": 0.6, "least": 0.5}
    (got,) = run(detection_text(**options), inputs).values()
    for c in range(1, CLASSES):
        rows = got[0, 0][got[0, 0, :, 1] == c]
        assert (np.diff(rows[:, 2]) <= 0).all()
        pairs = [overlap(a, b) for a, b in itertools.combinations(rows[:, 3:].tolist(), 2)]
        assert max(pairs) <= 0.6 + 1e-6
        assert len(rows) > 100


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_detection_output_passes_over_what_is_not_finite(bad):
    inputs = predictions(1, 10)
    plain = run(detection_text(least=0.0, threshold=1.0), inputs)["y"]
    inputs["loc"][0, :4] = bad
    inputs["conf"][0, 4:8] = np.nan
    (got,) = run(detection_text(least=0.0, threshold=1.0), inputs).values()
    assert np.isfinite(got).all()
    assert got.shape[2] == plain.shape[2] - 2 * (CLASSES - 1)


def test_detection_output_changes_its_size():
    inputs = predictions()
    net = make_net(detection_text(least=0.5), inputs)
    sizes = [
        net.forward(**{**inputs, "conf": inputs["conf"] * f})["y"].shape[2] for f in (1, 0.6, 0, 1)
    ]
    assert sizes[0] > sizes[1] > sizes[2] == 3 and sizes[3] == sizes[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "num_classes must be given"),
        ("num_classes: 4 nms_param { nms_threshold: -1 }", "nms_threshold must not be negative"),
        ("num_classes: 4 nms_param { eta: 0 }", "eta must be above 0"),
        ("num_classes: 5", "scores must have 120 values per image for 24 priors, 5 for each"),
        ("num_classes: 4 share_location: false", "locations must have 384 values per image"),
    ],
)
def test_detection_output_says_what_is_wrong(text, problem):
    text = layer("DetectionOutput", f"detection_output_param {{ {text} }}", "loc conf prior")
    assert problem in message(run, text, predictions())


def test_detection_output_checks_its_priors():
    inputs = predictions() | {"prior": np.zeros((1, 96))}
    assert "priors must be 1 x 2 x 4 times" in message(run, detection_text(), inputs)


# ---- MultiBoxLoss ----

LOSSES = {
    "SSD": {"code": "CENTER_SIZE"},
    "corner bipartite": {"bipartite": True},
    "corner_size L2": {"code": "CORNER_SIZE", "loc_loss": "L2", "loc_weight": 0.5},
    "variance in target": {"code": "CENTER_SIZE", "in_target": True},
    "corner, variance in target": {"in_target": True, "loc_loss": "L2"},
    "no difficult": {"code": "CENTER_SIZE", "difficult": False},
    "all negatives": {"code": "CENTER_SIZE", "mining": "NONE", "norm": "FULL"},
    "few negatives": {
        "code": "CENTER_SIZE",
        "ratio": 0.7,
        "neg_overlap": 0.2,
        "norm": "BATCH_SIZE",
    },
    "logistic": {"code": "CENTER_SIZE", "conf_loss": "LOGISTIC"},
    "logistic, all negatives": {"conf_loss": "LOGISTIC", "mining": "NONE"},
    "hard examples": {"code": "CENTER_SIZE", "mining": "HARD_EXAMPLE", "sample": 9},
    "hard examples apart": {
        "code": "CENTER_SIZE",
        "mining": "HARD_EXAMPLE",
        "sample": 6,
        "nms": 0.5,
    },
    "hard examples of priors": {
        "code": "CENTER_SIZE",
        "mining": "HARD_EXAMPLE",
        "sample": 6,
        "nms": 0.4,
        "nms_priors": True,
    },
    "match predictions": {"code": "CENTER_SIZE", "match_priors": False, "threshold": 0.4},
    "not shared": {"code": "CENTER_SIZE", "share": False, "mining": "NONE"},
    "not shared, predictions": {
        "code": "CORNER",
        "share": False,
        "mining": "NONE",
        "match_priors": False,
        "conf_loss": "LOGISTIC",
    },
    "inside": {"bp_inside": True, "threshold": 0.3},
    "inside predictions": {"bp_inside": True, "match_priors": False, "threshold": 0.3},
    "leave out": {"code": "CENTER_SIZE", "leave_out": True},
    "background 3": {"code": "CENTER_SIZE", "background": 3},
    "no normalisation": {"code": "CENTER_SIZE", "norm": "NONE"},
}


def loss_text(*, code="CORNER", share=True, background=0, loc_loss="SMOOTH_L1",
              conf_loss="SOFTMAX", loc_weight=1.0, bipartite=False, threshold=0.5,
              match_priors=True, difficult=True, mining="MAX_NEGATIVE", ratio=3.0, neg_overlap=0.5,
              in_target=False, leave_out=False, sample=64, bp_inside=False, agnostic=False,
              norm="VALID", nms=None, nms_priors=False, classes=CLASSES):  # fmt: skip
    def flag(value):
        return str(value).lower()

    fields = (
        f"num_classes: {classes} code_type: {code} share_location: {flag(share)} "
        f"background_label_id: {background} loc_loss_type: {loc_loss} conf_loss_type: {conf_loss} "
        f"loc_weight: {loc_weight} match_type: {'BIPARTITE' if bipartite else 'PER_PREDICTION'} "
        f"overlap_threshold: {threshold} use_prior_for_matching: {flag(match_priors)} "
        f"use_difficult_gt: {flag(difficult)} mining_type: {mining} neg_pos_ratio: {ratio} "
        f"neg_overlap: {neg_overlap} encode_variance_in_target: {flag(in_target)} "
        f"ignore_cross_boundary_bbox: {flag(leave_out)} sample_size: {sample} "
        f"bp_inside: {flag(bp_inside)} map_object_to_agnostic: {flag(agnostic)} "
        f"use_prior_for_nms: {flag(nms_priors)} "
        + (f"nms_param {{ nms_threshold: {nms} top_k: 1000 }}" if nms is not None else "")
    )
    return layer(
        "MultiBoxLoss",
        f"loss_param {{ normalization: {norm} }} multibox_loss_param {{ {fields} }}",
        "loc conf prior gt",
    )


def loss_inputs(share=True, seed=3, **truth):
    inputs = predictions(share=share, seed=seed)
    inputs["loc"] *= 0.5
    conf = np.random.default_rng(seed).normal(0, 2, inputs["conf"].shape)
    return inputs | {"conf": conf.astype(np.float32), "gt": truth_blob(**truth)}


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_multibox_loss(name, seed):
    options = LOSSES[name]
    inputs = loss_inputs(share=options.get("share", True), seed=seed)
    if options.get("background") == 3:
        inputs["gt"][..., 1] -= 1
    (got,) = run(loss_text(**options), inputs).values()
    values = list(inputs.values())
    want = multibox_loss(*values, classes=CLASSES, **options)
    np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_multibox_loss_gradients(name):
    options = LOSSES[name]
    inputs = loss_inputs(share=options.get("share", True))
    if options.get("background") == 3:
        inputs["gt"][..., 1] -= 1
    check_gradients(loss_text(**options), inputs, samples=60)


def test_multibox_loss_agnostic():
    inputs = loss_inputs()
    inputs["conf"] = inputs["conf"][:, : 24 * 2]
    options = {"code": "CENTER_SIZE", "agnostic": True}
    (got,) = run(loss_text(classes=2, **options), inputs).values()
    want = multibox_loss(*inputs.values(), classes=2, **options)
    np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.parametrize("top_k", [0, 1, 3, 1000])
def test_hard_examples_among_top_k(top_k):
    """Boxes without area count among top_k, though none of them is picked."""
    inputs = loss_inputs()
    options = {"code": "CENTER_SIZE", "mining": "HARD_EXAMPLE", "nms": 0.9, "nms_priors": True}
    text = loss_text(**options).replace("top_k: 1000", f"top_k: {top_k}")
    inputs["prior"][0, 0, :4] = [0.9, 0.9, 0.901, 0.901]
    inputs["conf"][:, :CLASSES] = [-9, *[9] * (CLASSES - 1)]  # the worst of each image
    without = {**inputs, "conf": inputs["conf"].copy()}
    without["conf"][:, :CLASSES] = [99, *[0] * (CLASSES - 1)]  # the best of each: costs nothing
    (got,) = run(text, inputs).values()
    (want,) = run(text.replace(f"top_k: {top_k}", f"top_k: {max(top_k - 1, 0)}"), without).values()
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert (got > 0) == (top_k > 1)


def test_multibox_loss_without_truth():
    inputs = loss_inputs()
    inputs["gt"] = np.full((1, 1, 1, 8), -1.0)
    net = make_net("force_backward: true " + loss_text(code="CENTER_SIZE"), inputs)
    assert net.forward(**inputs)["y"] == 0
    net.backward()
    assert not net.blobs["loc"].diff.any() and not net.blobs["conf"].diff.any()


def test_multibox_loss_of_boxes_without_area():
    inputs = loss_inputs()
    inputs["gt"][0, 0, :2, 5:7] = inputs["gt"][0, 0, :2, 3:5]
    inputs["prior"][0, 0, 2:4] = inputs["prior"][0, 0, :2]
    assert np.isfinite(run(loss_text(code="CENTER_SIZE"), inputs)["y"])


def change(inputs, row, column, value):
    inputs["gt"][0, 0, row, column] = value
    return inputs


@pytest.mark.parametrize(
    ("row", "column", "value", "problem"),
    [
        (1, 1, 0, "row 1 of the ground truth is of class 0, the background's"),
        (1, 1, 9, "an object of class 9; num_classes is 4"),
        (0, 0, 3, "row 0 of the ground truth is for image 3 of a batch of 3"),
        (2, 1, np.nan, "class nan in row 2 of the ground truth is no whole number"),
        (2, 0, 0.5, "image 0.5 in row 2"),
    ],
)
def test_multibox_loss_checks_the_truth(row, column, value, problem):
    inputs = change(loss_inputs(), row, column, value)
    assert problem in message(run, loss_text(), inputs)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"background": 4}, "background_label_id 4 must be one of the 4 classes"),
        ({"share": False}, "mining needs share_location true"),
        ({"ratio": 0}, "neg_pos_ratio must be positive"),
        ({"agnostic": True}, "map_object_to_agnostic"),
        ({"mining": "HARD_EXAMPLE", "sample": 0}, "sample_size must be positive"),
        ({"nms": -1}, "nms_threshold must not be negative"),
    ],
)  # fmt: skip
def test_multibox_loss_says_what_is_wrong(options, problem):
    inputs = loss_inputs(share=options.get("share", True))
    assert problem in message(run, loss_text(**options), inputs)


def test_multibox_loss_checks_variances():
    inputs = loss_inputs()
    inputs["prior"][0, 1] = 0
    assert "variance 0" in message(run, loss_text(), inputs)


def test_old_form_of_mining():
    inputs = loss_inputs()
    text = loss_text(code="CENTER_SIZE").replace(
        "mining_type: MAX_NEGATIVE", "do_neg_mining: false"
    )
    (got,) = run(text, inputs).values()
    want = multibox_loss(*inputs.values(), classes=CLASSES, code="CENTER_SIZE", mining="NONE")
    np.testing.assert_allclose(got, want, rtol=2e-5)
    text = loss_text().replace("mining_type", "do_neg_mining: false mining_type")
    assert "do_neg_mining contradicts mining_type" in message(run, text, inputs)


# ---- SmoothL1Loss ----


@pytest.mark.parametrize("sigma", [None, 3.0])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_smooth_l1_loss(count, sigma):
    rng = np.random.default_rng(5)
    inputs = {name: rng.normal(0, 1, (3, 5, 7)).astype(np.float32) for name in "abcd"[:count]}
    field = f"smooth_l1_loss_param {{ sigma: {sigma} }}" if sigma else ""
    text = layer("SmoothL1Loss", field, " ".join(inputs))
    inner, outer = inputs.get("c", 1.0), inputs.get("d", 1.0)
    d, square = inner * (inputs["a"] - inputs["b"]), (sigma or 1.0) ** 2
    value = np.where(np.abs(d) < 1 / square, square * d * d / 2, np.abs(d) - 0.5 / square)
    np.testing.assert_allclose(run(text, inputs)["y"], (outer * value).sum() / 3, rtol=1e-5)
    inputs = {name: value.astype(np.float64) for name, value in inputs.items()}
    check_gradients(text, inputs)


def test_smooth_l1_loss_says_what_is_wrong():
    inputs = {"a": np.zeros((2, 3)), "b": np.zeros((3, 2))}
    assert 'bottom "b" must have as many rows' in message(
        run, layer("SmoothL1Loss", "", "a b"), inputs
    )
    text = layer("SmoothL1Loss", "smooth_l1_loss_param { sigma: 0 }", "a b")
    assert "sigma must be positive" in message(run, text, {"a": np.zeros(2), "b": np.zeros(2)})


# ---- DetectionEvaluate ----

FOUND = [  # image, label, score, box
    (0, 1, 0.9, 0.1, 0.1, 0.5, 0.5),  # right
    (0, 1, 0.8, 0.1, 0.1, 0.48, 0.5),  # found already
    (0, 2, 0.7, 0.1, 0.1, 0.5, 0.5),  # of another class
    (1, 1, 0.6, 0.2, 0.2, 0.6, 0.6),  # difficult
    (1, 3, 0.5, 0.6, 0.6, 0.9, 0.9),  # right
]
KNOWN = [
    (0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0),
    (1, 1, 0, 0.2, 0.2, 0.6, 0.6, 1),
    (1, 3, 0, 0.6, 0.6, 0.9, 0.88, 0),
    (1, 3, 1, 0.1, 0.6, 0.3, 0.9, 0),
]


def evaluate(found, known, fields=""):
    inputs = {
        "d": np.array(found, np.float32).reshape(1, 1, -1, 7),
        "gt": np.array(known, np.float32).reshape(1, 1, -1, 8),
    }
    fields = f"detection_evaluate_param {{ num_classes: {CLASSES} {fields} }}"
    return run(layer("DetectionEvaluate", fields, "d gt"), inputs)["y"][0, 0]


def test_detection_evaluate():
    rows = evaluate(FOUND, KNOWN)
    np.testing.assert_array_equal(rows[:3], [[-1, 1, 2, -1, -1], [-1, 2, 0, -1, -1],
                                             [-1, 3, 2, -1, -1]])  # fmt: skip
    np.testing.assert_array_equal(rows[3:, 3:], [[1, 0], [0, 1], [0, 1], [1, 0], [1, 0]])
    np.testing.assert_allclose(rows[3:, 2], [0.9, 0.8, 0.7, 0.6, 0.5])


def test_detection_evaluate_without_difficult_boxes():
    rows = evaluate(FOUND, KNOWN, "evaluate_difficult_gt: false")
    assert rows[0, 2] == 1
    np.testing.assert_array_equal(rows[3:, 3:], [[1, 0], [0, 1], [0, 1], [0, 0], [1, 0]])


def test_detection_evaluate_in_pixels(tmp_path):
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("a 100 200\nb 50 50\n")
    fields = f'name_size_file: "{sizes}" overlap_threshold: 0.96'
    rows = evaluate(FOUND, KNOWN, fields)
    # (31 x 30) / (31 x 31) pixels in image b.
    np.testing.assert_array_equal(rows[3:, 3], [1, 0, 0, 1, 0])
    missing = f'name_size_file: "{tmp_path}/none"'
    assert "cannot be read" in message(evaluate, FOUND, KNOWN, missing)


def test_detection_evaluate_of_nothing():
    rows = evaluate([(0, -1, -1, -1, -1, -1, -1)], [[-1] * 8])
    assert rows.shape == (3, 5) and not rows[:, 2].any()


def test_detection_evaluate_says_what_is_wrong():
    assert "of the background's class" in message(evaluate, [(0, 0, 1, 0, 0, 1, 1)], KNOWN)
    assert "class 4; num_classes is 4" in message(evaluate, [(0, 4, 1, 0, 0, 1, 1)], KNOWN)
    assert "overlap_threshold must be" in message(evaluate, FOUND, KNOWN, "overlap_threshold: 0")


def test_a_detector_learns():
    """Predictions of one layer, found again from boxes drawn at random."""
    inputs = loss_inputs()
    net = make_net("force_backward: true " + loss_text(code="CENTER_SIZE"), inputs)
    values = {name: inputs[name].copy() for name in ("loc", "conf")}
    losses = []
    for _ in range(120):
        losses.append(float(net.forward(**{**inputs, **values})["y"]))
        net.backward()
        for name, value in values.items():
            value -= 2 * net.blobs[name].diff
    assert losses[-1] < 0.1 * losses[0]
    scores = np.exp(values["conf"].reshape(-1, CLASSES))
    scores /= scores.sum(1, keepdims=True)
    found = {"loc": values["loc"], "conf": scores.reshape(3, -1), "prior": inputs["prior"]}
    text = detection_text(code="CENTER_SIZE", threshold=0.45, least=0.5)
    rows = run(text, found)["y"][0, 0]
    for known in inputs["gt"][0, 0]:
        best = max(overlap(r[3:], known[3:7]) for r in rows if tuple(r[:2]) == tuple(known[:2]))
        assert best > 0.8


def test_errors_name_the_layer():
    with pytest.raises(Error, match=r'layer "y" \(MultiBoxLoss\)'):
        run(loss_text(ratio=0), loss_inputs())


# ---- ONNX ----

NO_ONNX = ("eta", "not shared", "no background", "none found", "keep none")
ONNX_OUTPUTS = {name: options for name, options in OUTPUTS.items() if name not in NO_ONNX}


def onnx_outputs(net, inputs):
    onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from pydl.onnx import to_model

    model = to_model(net)
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = {i.name for i in session.get_inputs()}
    return session.run(None, {k: v.astype(np.float32) for k, v in inputs.items() if k in names})


@pytest.mark.parametrize("name", ONNX_OUTPUTS)
def test_onnx_detection_output(name):
    options = ONNX_OUTPUTS[name]
    inputs = predictions(1 if "keep" in options else 3)
    inputs["conf"] += np.linspace(0, 1e-3, inputs["conf"].size).reshape(inputs["conf"].shape)
    net = make_net(detection_text(**options), inputs, phase="TEST")
    want = net.forward(**inputs)["y"]
    (got,) = onnx_outputs(net, inputs)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_onnx_says_what_it_cannot():
    for options, problem in (
        ({"eta": 0.5}, "an eta below 1"),
        ({"share": False}, "share_location false"),
        ({"keep": 5}, "batches of one image"),
    ):
        inputs = predictions(share=options.get("share", True))
        net = make_net(detection_text(**options), inputs, phase="TEST")
        assert problem in message(onnx_outputs, net, inputs)


def test_onnx_prior_box_and_smooth_l1():
    inputs = {"x": np.zeros((1, 2, 3, 4)), "d": np.zeros((1, 3, 60, 80))}
    text = layer("PriorBox", "prior_box_param { min_size: 10 max_size: 20 aspect_ratio: 2 }", "x d")
    net = make_net(text, inputs, phase="TEST")
    np.testing.assert_array_equal(onnx_outputs(net, inputs)[0], net.forward()["y"])
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(0, 1, (3, 5)) for name in "abcd"}
    text = layer("SmoothL1Loss", "smooth_l1_loss_param { sigma: 2 }", "a b c d")
    net = make_net(text, inputs, phase="TEST")
    np.testing.assert_allclose(onnx_outputs(net, inputs)[0], net.forward(**inputs)["y"], rtol=1e-5)

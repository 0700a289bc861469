"""YOLOv2's layers against numpy: Region as darknet has it, RegionLoss by its formula."""

import numpy as np
import pytest
from net_text import layer, make_net, normal

import pydl
from pydl import Error, prototxt
from pydl.gradient_check import check_gradients

BIASES = [1.0, 1.5, 2.5, 2.0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def overlap(a, b):
    """Of boxes given by centre and size."""
    sides = [
        max(0, min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
            - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2))
        for i in (0, 1)
    ]  # fmt: skip
    both = sides[0] * sides[1]
    either = a[2] * a[3] + b[2] * b[3] - both
    return both / either if either > 0 else 0


def box(scores, i, j, anchor, size):
    height, width = size
    return [
        (j + sigmoid(scores[0])) / width,
        (i + sigmoid(scores[1])) / height,
        np.exp(scores[2]) * BIASES[2 * anchor] / width,
        np.exp(scores[3]) * BIASES[2 * anchor + 1] / height,
    ]


def region(fields="", biases=True):
    numbers = " ".join(f"biases: {b}" for b in BIASES) if biases else ""
    params = f"region_param {{ classes: 3 anchors: 2 {numbers} {fields} }}"
    return layer("Region", params)


def expected_rows(x, thresh, nms, softmax=True):
    """(16, H, W) -> (H W 2, 8)"""
    _, height, width = x.shape
    rows = []
    for i in range(height):
        for j in range(width):
            for a in range(2):
                scores = x[8 * a : 8 * a + 8, i, j].astype(np.float64)
                classes = np.exp(scores[5:] - scores[5:].max())
                classes = classes / classes.sum() if softmax else sigmoid(scores[5:])
                probability = sigmoid(scores[4]) * classes
                probability[probability <= thresh] = 0
                rows.append([*box(scores, i, j, a, (height, width)), sigmoid(scores[4]),
                             *probability])  # fmt: skip
    rows = np.array(rows)
    for c in range(5, 8) if nms else ():
        kept = []
        for row in sorted(np.flatnonzero(rows[:, c]), key=lambda r: -rows[r, c]):
            if all(overlap(rows[row], rows[k]) <= nms for k in kept):
                kept.append(row)
            else:
                rows[row, c] = 0
    return rows


class TestRegion:
    @pytest.mark.parametrize("kind", ["softmax", "logistic"])
    @pytest.mark.parametrize(("thresh", "nms"), [(0.2, 0), (0.1, 0.4), (0, 0.1)])
    def test_forward(self, kind, thresh, nms):
        x = 1.5 * normal(1, 16, 3, 4)
        fields = f"{kind}: true thresh: {thresh} nms_threshold: {nms}"
        net = make_net(region(fields), {"x": x.shape}, phase="TEST")
        y = net.forward(x=x)["y"]
        np.testing.assert_allclose(
            y, expected_rows(x[0], thresh, nms, kind == "softmax"), rtol=1e-5, atol=1e-6
        )

    def test_several_images_and_channels_last(self):
        x = normal(2, 16, 3, 4)
        fields = "softmax: true thresh: 0.05 nms_threshold: 0.3"
        y = make_net(region(fields), {"x": x.shape}).forward(x=x)["y"].copy()
        assert y.shape == (2, 24, 8)
        for n in range(2):
            np.testing.assert_allclose(y[n], expected_rows(x[n], 0.05, 0.3), rtol=1e-5, atol=1e-6)
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # as behind OpenCV's Permute
        other = make_net(region(fields), {"x": last.shape}).forward(x=last)["y"]
        np.testing.assert_array_equal(other, y)

    def test_anchors_are_a_blob_that_does_not_learn(self):
        net = make_net(region("softmax: true", biases=False), {"x": (1, 16, 2, 2)})
        (blob,) = net.params["y"]
        np.testing.assert_array_equal(blob.data, np.ones(4))
        blob.data[...] = BIASES
        x = normal(1, 16, 2, 2)
        np.testing.assert_allclose(
            net.forward(x=x)["y"], expected_rows(x[0], 0.2, 0.4), rtol=1e-5, atol=1e-6
        )
        with pytest.raises(Error, match="has a gradient"):
            check_gradients(region("softmax: true"), {"x": (1, 16, 2, 2)})

    @pytest.mark.parametrize(
        ("fields", "shape", "words"),
        [
            ("", (1, 16, 2, 2), "give softmax: true"),
            ("softmax: true", (1, 15, 2, 2), r"16 channels \(2 anchors of 5 \+ 3 values\)"),
            ("softmax: true coords: 5", (1, 16, 2, 2), "coords must be 4, got 5"),
            ("softmax: true biases: 1", (1, 16, 2, 2), "biases has 5 numbers; 4 are needed"),
        ],
    )
    def test_what_does_not_fit(self, fields, shape, words):
        with pytest.raises(Error, match=words):
            make_net(region(fields), {"x": shape})

    def test_scores_that_are_none(self):
        x = np.full((1, 16, 2, 2), np.nan, np.float32)
        y = make_net(region("softmax: true"), {"x": x.shape}).forward(x=x)["y"]
        assert not (y[:, 5:] > 0).any()


FIELDS = "num: 2 num_class: 3 " + " ".join(f"biases: {b}" for b in BIASES)


def region_loss(fields=""):
    return layer("RegionLoss", f"region_loss_param {{ {FIELDS} {fields} }}", bottoms="x objects")


def expected_loss(x, objects, rescore=True, bias_match=True, softmax=True, thresh=0.2, draw=True,
                  scales=(1, 0.5, 1, 5)):  # fmt: skip
    """The formula in region_loss.cpp, in plain loops."""
    object_scale, noobject_scale, class_scale, coord_scale = scales
    total = 0.0
    batch, _, height, width = x.shape
    x = x.astype(np.float64)
    size = (height, width)

    def squares(scores, target, scale):
        got = [sigmoid(scores[0]), sigmoid(scores[1]), scores[2], scores[3]]
        return scale / 2 * sum((g - t) ** 2 for g, t in zip(got, target, strict=True))

    for n in range(batch):
        truth = []
        for row in objects[n].reshape(-1, 5):
            if row[3] == 0:
                break
            truth.append(row)
        owner = {}
        for row in truth:
            j, i = int(row[1] * width), int(row[2] * height)
            best, anchor = 0, 0
            for a in range(2):
                sizes = [BIASES[2 * a] / width, BIASES[2 * a + 1] / height]
                if not bias_match:
                    sizes = box(x[n, 8 * a : 8 * a + 8, i, j], i, j, a, size)[2:]
                found = overlap([0, 0, *sizes], [0, 0, *row[3:]])
                if found > best:
                    best, anchor = found, a
            owner[i, j, anchor] = row
        for i in range(height):
            for j in range(width):
                for a in range(2):
                    s = x[n, 8 * a : 8 * a + 8, i, j]
                    own = box(s, i, j, a, size)
                    if (i, j, a) not in owner:
                        if draw:
                            total += squares(s, [0.5, 0.5, 0, 0], 0.01)
                        best = max((overlap(own, row[1:]) for row in truth), default=0)
                        if not best > thresh:
                            total += noobject_scale / 2 * sigmoid(s[4]) ** 2
                        continue
                    label, cx, cy, w, h = owner[i, j, a]
                    target = [cx * width - j, cy * height - i, np.log(w * width / BIASES[2 * a]),
                              np.log(h * height / BIASES[2 * a + 1])]  # fmt: skip
                    total += squares(s, target, coord_scale * (1 if rescore else 2 - w * h))
                    goal = overlap(own, [cx, cy, w, h]) if rescore else 1
                    total += object_scale / 2 * (sigmoid(s[4]) - goal) ** 2
                    if softmax:
                        p = np.exp(s[5:]) / np.exp(s[5:]).sum()
                        total -= class_scale * np.log(p[int(label)])
                    else:
                        hot = np.arange(3) == label
                        p = sigmoid(s[5:])
                        total -= class_scale * np.log(np.where(hot, p, 1 - p)).sum()
    return total / batch


OBJECTS = np.float32([
    [[1, 0.3, 0.4, 0.5, 0.6], [2, 0.9, 0.1, 0.2, 0.3], [0, 0.55, 0.55, 0.9, 0.5], [0] * 5],
    [[0, 0.5, 0.5, 0.3, 0.3], [0] * 5, [2, 0.1, 0.1, 0.1, 0.1], [0] * 5],
])  # fmt: skip


class TestRegionLoss:
    @pytest.mark.parametrize(
        ("fields", "options"),
        [
            ("", {}),
            ("rescore: false", {"rescore": False}),
            ("bias_match: 0", {"bias_match": False}),
            ("softmax: 0 thresh: 0.6", {"softmax": False, "thresh": 0.6}),
            ("object_scale: 5 noobject_scale: 1 class_scale: 2 coord_scale: 1",
             {"scales": (5, 1, 2, 1)}),
        ],
    )  # fmt: skip
    def test_forward(self, fields, options):
        inputs = {"x": normal(2, 16, 3, 4), "objects": OBJECTS}
        for phase in ("TRAIN", "TEST"):
            net = make_net(region_loss(fields), inputs, phase=phase)
            want = expected_loss(inputs["x"], OBJECTS, **options, draw=phase == "TRAIN")
            assert float(net.forward(**inputs)["y"]) == pytest.approx(want, rel=1e-5)

    @pytest.mark.parametrize("fields", ["rescore: false", "rescore: false softmax: false"])
    def test_gradient(self, fields):
        # With rescore, and at thresh, the loss depends on overlaps, which count as constants.
        inputs = {"x": normal(2, 16, 3, 4), "objects": OBJECTS}
        check_gradients(region_loss(f"{fields} thresh: 2"), inputs)

    def test_overlaps_are_constants(self):
        inputs = {"x": normal(2, 16, 3, 4), "objects": OBJECTS}
        gradients = []
        for fields in ("object_scale: 0", "object_scale: 7"):
            net = make_net("force_backward: true " + region_loss(fields), inputs)
            net.forward(**inputs)
            net.backward()
            gradients.append(net.blobs["x"].diff.copy())
        same = np.ones(16, bool)
        same[[4, 12]] = False  # the objects' scores
        np.testing.assert_array_equal(gradients[0][:, same], gradients[1][:, same])
        assert (gradients[0][:, ~same] != gradients[1][:, ~same]).any()

    def test_anchors_are_drawn_to_their_boxes_at_first(self):
        inputs = {"x": normal(2, 16, 3, 4), "objects": OBJECTS}
        net = make_net(region_loss(), inputs)
        first = float(net.forward(**inputs)["y"])
        state = net._core.layer_state()
        assert state["y"] == [2]
        net._core.set_layer_state({**state, "y": [12800]})
        later = float(net.forward(**inputs)["y"])
        assert first == pytest.approx(expected_loss(inputs["x"], OBJECTS), rel=1e-5)
        assert later == pytest.approx(expected_loss(inputs["x"], OBJECTS, draw=False), rel=1e-5)

    def test_without_objects(self):
        inputs = {"x": normal(1, 16, 2, 2), "objects": np.zeros((1, 10), np.float32)}
        loss = float(make_net(region_loss(), inputs).forward(**inputs)["y"])
        assert loss == pytest.approx(expected_loss(inputs["x"], inputs["objects"]), rel=1e-5)

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ([3, 0.5, 0.5, 0.1, 0.1], r"label 3 at \[0, 0, 0\] .* is not in 0 to 2"),
            ([0, 1, 0.5, 0.1, 0.1], "the centre 1, 0.5"),
            ([0, 0.5, -0.1, 0.1, 0.1], "the centre 0.5, -0.1"),
            ([0, 0.5, 0.5, 0.1, 0], "a positive size"),
            ([0, 0.5, 0.5, np.nan, 0.1], "a positive size"),
        ],
    )
    def test_objects_that_are_none(self, row, words):
        inputs = {"x": normal(1, 16, 2, 2), "objects": np.float32([[row, [0] * 5]])}
        with pytest.raises(Error, match=words):
            make_net(region_loss(), inputs).forward(**inputs)

    @pytest.mark.parametrize(
        ("fields", "shapes", "words"),
        [
            ("biases: 1", ((1, 16, 2, 2), (1, 5)), "biases has 5 numbers; 4 are needed"),
            ("coords: 3", ((1, 16, 2, 2), (1, 5)), "coords must be 4"),
            ("class_map: 'a'", ((1, 16, 2, 2), (1, 5)), "YOLO9000"),
            ("", ((1, 17, 2, 2), (1, 5)), "needs scores with 16 channels"),
            ("", ((1, 16, 2, 2), (1, 6)), "rows of 5 numbers"),
            ("", ((1, 16, 2, 2), (2, 5)), "for each of 1 images"),
        ],
    )
    def test_what_does_not_fit(self, fields, shapes, words):
        with pytest.raises(Error, match=words):
            make_net(region_loss(fields), dict(zip(("x", "objects"), shapes, strict=True)))


def test_a_small_yolo_learns_to_find_squares():
    """Bright squares and bars on noise: boxes of the right class that overlap the truth."""
    net = """
        layer { name: "in" type: "Input" top: "x" top: "objects"
          input_param { shape { dim: 8 dim: 1 dim: 24 dim: 24 } shape { dim: 8 dim: 5 } } }
        layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param {
          num_output: 16 kernel_size: 5 stride: 2 pad: 2 weight_filler { type: "msra" } } }
        layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
        layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" convolution_param {
          num_output: 32 kernel_size: 3 stride: 2 pad: 1 weight_filler { type: "msra" } } }
        layer { name: "r2" type: "ReLU" bottom: "c2" top: "c2" }
        layer { name: "c3" type: "Convolution" bottom: "c2" top: "c3" convolution_param {
          num_output: 32 kernel_size: 3 stride: 2 pad: 1 weight_filler { type: "msra" } } }
        layer { name: "r3" type: "ReLU" bottom: "c3" top: "c3" }
        layer { name: "scores" type: "Convolution" bottom: "c3" top: "scores" convolution_param {
          num_output: 14 kernel_size: 1 weight_filler { type: "gaussian" std: 0.05 } } }
    """
    anchors = "biases: 0.8 biases: 0.8 biases: 1.5 biases: 0.8"
    loss = f"""layer {{ name: "loss" type: "RegionLoss" bottom: "scores" bottom: "objects"
        top: "loss" region_loss_param {{ num: 2 num_class: 2 {anchors} thresh: 0.6 rescore: false
        object_scale: 5 noobject_scale: 1 coord_scale: 1 }} }}"""
    solver = prototxt.new("SolverParameter", base_lr=0.002, type="Adam", momentum=0.9)
    solver.lr_policy, solver.random_seed = "fixed", 3
    solver.train_net_param.CopyFrom(prototxt.parse(net + loss))
    solver = pydl.Solver(solver)
    rng = np.random.default_rng(0)

    def pictures():
        x = 0.1 * rng.standard_normal((8, 1, 24, 24)).astype(np.float32)
        objects = np.zeros((8, 5), np.float32)
        for n in range(8):
            label = rng.integers(2)
            h, w = (6, 6) if label == 0 else (6, 12)
            top, left = rng.integers(0, 24 - h), rng.integers(0, 24 - w)
            x[n, 0, top : top + h, left : left + w] += 1
            objects[n] = label, (left + w / 2) / 24, (top + h / 2) / 24, w / 24, h / 24
        return x, objects

    for _ in range(500):
        x, objects = pictures()
        solver.net.blobs["x"].data[...] = x
        solver.net.blobs["objects"].data[...] = objects
        solver.step(1)
    found = layer("Region", f"region_param {{ classes: 2 anchors: 2 softmax: true {anchors} }}",
                  bottoms="scores", tops="boxes")  # fmt: skip
    deploy = pydl.Net(prototxt.parse(net + found), phase="TEST")
    for name, blobs in solver.net.params.items():
        for mine, trained in zip(deploy.params[name], blobs, strict=True):
            mine.data[...] = trained.data
    x, objects = pictures()
    rows = deploy.forward(x=x, objects=objects)["boxes"]
    right = 0
    for n in range(8):
        best = rows[n][rows[n, :, 5:].max(1).argmax()]
        right += best[5:].argmax() == objects[n, 0] and overlap(best, objects[n, 1:]) > 0.5
    assert right >= 7

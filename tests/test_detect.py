"""Detectors from the outside: pydl detect, solvers with eval_type "detection", pydl test."""

import csv

import numpy as np
import pytest
from cli_tools import run_pydl
from data_files import encoded, message

import pydl
from pydl.data import write_annotated_lmdb
from pydl.formats.annotated import label_map_text
from pydl.tools.detections import Detection, detect, draw

pytest.importorskip("PIL", reason="Pillow is not installed (extra image)")

# A square that is brighter than its surroundings is found by its brightness: one prior at each of
# 4 x 4 places, whose class score is the mean of its cell.
HEAD = """
layer { name: "cell" type: "Pooling" bottom: "data" top: "cell"
  pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "conf" type: "Convolution" bottom: "cell" top: "conf"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "rows" type: "Reshape" bottom: "conf" top: "rows"
  reshape_param { shape { dim: 0 dim: 2 dim: 16 } } }
layer { name: "prob" type: "Softmax" bottom: "rows" top: "prob" softmax_param { axis: 1 } }
layer { name: "two" type: "Slice" bottom: "prob" top: "none" top: "some" slice_param { axis: 1 } }
layer { name: "none4" type: "Reshape" bottom: "none" top: "none4"
  reshape_param { shape { dim: 0 dim: 16 dim: 1 } } }
layer { name: "some4" type: "Reshape" bottom: "some" top: "some4"
  reshape_param { shape { dim: 0 dim: 16 dim: 1 } } }
layer { name: "both" type: "Concat" bottom: "none4" bottom: "some4" top: "both"
  concat_param { axis: 2 } }
layer { name: "flat" type: "Flatten" bottom: "both" top: "flat" }
layer { name: "prior" type: "PriorBox" bottom: "cell" bottom: "data" top: "prior"
  prior_box_param { min_size: 8 } }
layer { name: "loc" type: "Convolution" bottom: "cell" top: "loc" param { lr_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 1 bias_term: false
    weight_filler { type: "constant" } } }
layer { name: "place" type: "Flatten" bottom: "loc" top: "place" }
layer { name: "found" type: "DetectionOutput" bottom: "place" bottom: "flat" bottom: "prior"
  top: "found" detection_output_param { num_classes: 2 code_type: CENTER_SIZE
    confidence_threshold: 0.3 nms_param { nms_threshold: 0.45 } } }
"""
DEPLOY = (
    """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }"""
    + HEAD
)
TEST = """layer { name: "data" type: "AnnotatedData" top: "data" top: "label"
  data_param { source: "squares_lmdb" batch_size: 2 }
  transform_param { mean_value: 100 scale: 0.1 } }""" + HEAD + """
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "eval"
  detection_evaluate_param { num_classes: 2 } }
layer { name: "quiet" type: "Silence" bottom: "data" }
"""  # fmt: skip


def scene(cells, size=32):
    """A dark picture with bright cells of the 4 x 4, as (3, size, size)."""
    image = np.full((3, size, size), 20, np.uint8)
    step = size // 4
    for row, column in cells:
        image[:, row * step : (row + 1) * step, column * step : (column + 1) * step] = 220
    return image


def boxes(cells):
    return [[1, column / 4, row / 4, (column + 1) / 4, (row + 1) / 4] for row, column in cells]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    (tmp_path / "test.prototxt").write_text(TEST)
    net = pydl.Net(tmp_path / "deploy.prototxt")
    weights = np.zeros((2, 3, 1, 1), np.float32)
    weights[1] = 0.5
    net.params["conf"][0].data[...] = weights
    net.save(tmp_path / "net.caffemodel")
    (tmp_path / "map.prototxt").write_text(label_map_text({0: "background", 1: "square"}))
    pixels = scene([(0, 1), (3, 2)], 64)[::-1].transpose(1, 2, 0)
    (tmp_path / "photo.png").write_bytes(encoded(np.ascontiguousarray(pixels)))
    return tmp_path


def run_detect(files, *args):
    return run_pydl("detect", "-model", "deploy.prototxt", "-weights", "net.caffemodel", "-mean",
                    "100", "-scale", "0.1", *args, cwd=files)  # fmt: skip


def test_detect_draws(files):
    from PIL import Image

    done = run_detect(files, "-label_map", "map.prototxt", "photo.png", "found.png")
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines()[:2])
    assert lines == ["square 1.0000 16.0 0.0 32.0 16.0", "square 1.0000 32.0 48.0 48.0 64.0"]
    before, after = (np.asarray(Image.open(files / f"{name}.png").convert("RGB"))
                     for name in ("photo", "found"))  # fmt: skip
    changed = (before != after).any(2)
    assert changed[48:64, 32].all() and changed[63, 32:48].all()  # sides of a box
    assert not changed[20:40, :10].any()


def test_detect_lists(files):
    done = run_detect(files, "photo.png", "found.csv")
    assert done.returncode == 0, done.stderr
    with open(files / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["1", "1"]
    assert {(row["xmin"], row["ymax"]) for row in rows} == {("16.0", "16.0"), ("32.0", "64.0")}


def test_detect_finds_nothing(files):
    done = run_detect(files, "-threshold", "1.5", "photo.png", "found.csv")
    assert done.returncode == 0 and "Nothing found" in done.stdout


def test_detect_says_what_is_wrong(files):
    done = run_detect(files, "photo.png", "found.abc")
    assert done.returncode == 1 and "OUTPUT ends in .png, .jpg or .csv" in done.stderr
    done = run_detect(files, "none.png", "found.png")
    assert done.returncode == 1 and "none.png: cannot be read" in done.stderr
    done = run_detect(files, "-label_map", "deploy.prototxt", "photo.png", "found.png")
    assert done.returncode == 1 and "deploy.prototxt:1" in done.stderr
    done = run_pydl("detect", "photo.png", "found.png", cwd=files)
    assert done.returncode == 1 and ".csv or .h5" in done.stderr
    (files / "plain.prototxt").write_text(DEPLOY.split('layer { name: "found"')[0])
    net = pydl.Net(files / "plain.prototxt")
    assert "no DetectionOutput (SSD) or Region" in message(detect, net, scene([]))


def test_detect_in_python(files):
    net = pydl.Net(files / "deploy.prototxt", files / "net.caffemodel")
    (found,) = detect(net, scene([(2, 0)], 40), mean=100, scale=0.1)
    assert found.label == 1 and found.box == pytest.approx((0, 20, 10, 30))
    assert detect(net, scene([]), mean=100, scale=0.1) == []
    gray = draw(scene([])[:1], [Detection(1, 0.5, (-5, 3, 99, 40))], {1: "cat"})
    assert gray.size == (32, 32) and gray.mode == "RGB"


# ---- scores ----


def squares(folder):
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    cells = [[(0, 0), (2, 3)], [(1, 1)], [], [(3, 3), (0, 2), (2, 1), (1, 0)]]
    images = [scene(bright) for bright in cells]
    write_annotated_lmdb(folder / "squares_lmdb", images, [boxes(bright) for bright in cells])


def test_pydl_test(files):
    squares(files)
    done = run_pydl("test", "-model", "test.prototxt", "-weights", "net.caffemodel", "-iterations",
                    "2", cwd=files)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "eval = 1\n" in done.stdout and "eval/class1 = 1" in done.stdout


SOLVER = """net: "test.prototxt" test_iter: 2 test_interval: 10 base_lr: 0.1 max_iter: 0
eval_type: "detection" %s"""


def test_solver(files, monkeypatch):
    squares(files)
    monkeypatch.chdir(files)
    more = 'show_per_class_result: true ap_version: "11point"'
    (files / "solver.prototxt").write_text(SOLVER % more)
    solver = pydl.Solver("solver.prototxt")
    solver.test_nets[0].load("net.caffemodel")
    assert solver.test() == {"eval": 1.0, "eval/class1": 1.0}
    solver.test_nets[0].params["conf"][0].data[...] = 0  # everything is found by half
    assert 0 < solver.test()["eval"] < 0.6


def test_solver_shows_the_precision(files):
    squares(files)
    (files / "solver.prototxt").write_text(SOLVER % "")
    done = run_pydl("train", "-solver", "solver.prototxt", "-weights", "net.caffemodel", "-plot",
                    "none", cwd=files)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "eval = 1.0000" in done.stdout


def test_solver_says_what_is_wrong(files, monkeypatch):
    squares(files)
    monkeypatch.chdir(files)
    for field, problem in (
        ('eval_type: "detektion"', 'unknown eval_type "detektion"; did you mean "detection"'),
        ('ap_version: "12point"', 'unknown ap_version "12point"'),
        ('eval_type: "classification"', 'eval_type: "detection"'),
    ):
        text = SOLVER.replace('eval_type: "detection" ', "") if "eval" in field else SOLVER
        (files / "solver.prototxt").write_text(text % field)
        solver = pydl.Solver("solver.prototxt")
        solver.test_nets[0].load("net.caffemodel")
        assert problem in message(solver.test)


# ---- other families: nets whose last layers are fed with numbers ----
QUIET = 'layer {{ name: "quiet" type: "Silence" {} }}'


def fed(text, size, **blobs):
    """A net with an image as input and, as Parameter layers, blobs of these values."""
    image = prototxt_of("Input", "data", f"input_param {{ {shape_of((1, 3, *size))} }}")
    layers = [
        prototxt_of("Parameter", name, f"parameter_param {{ {shape_of(np.shape(values))} }}")
        for name, values in blobs.items()
    ]
    net = pydl.Net(pydl.prototxt.parse(image + "".join(layers) + text))
    for name, values in blobs.items():
        net.params[name][0].data[...] = values
    return net


def prototxt_of(kind, name, fields):
    return f'layer {{ name: "{name}" type: "{kind}" top: "{name}" {fields} }}\n'


def shape_of(shape):
    return f"shape {{ {' '.join(f'dim: {n}' for n in shape)} }}"


@pytest.mark.parametrize("agnostic", [False, True])
def test_nets_that_score_regions(agnostic):
    """On a picture of 40 x 80, which goes in twice as large; R-FCN has boxes for all classes."""
    rois = np.float32([[0, 20, 20, 59, 39], [0, 22, 20, 61, 39], [0, 100, 10, 119, 49]])
    prob = np.float32([[0.1, 0.9, 0], [0.2, 0.8, 0], [0.3, 0.1, 0.6]])
    deltas = np.zeros((3, 2 if agnostic else 3, 4), np.float32)
    deltas[:2, 1] = [0.25, 0, 0, np.log(2)]  # a quarter of its width to the right, twice as high
    info = prototxt_of("Input", "im_info", f"input_param {{ {shape_of((1, 3))} }}")
    quiet = QUIET.format('bottom: "data" bottom: "im_info" bottom: "rois"')
    blobs = {"rois": rois, "cls_prob": prob, "bbox_pred": deltas.reshape(3, -1)}
    net = fed(info + quiet, (80, 160), **blobs)
    found = detect(net, np.zeros((3, 40, 80), np.uint8))
    assert [(d.label, round(d.score, 3)) for d in found] == [(1, 0.9), (2, 0.6)]
    np.testing.assert_allclose(found[0].box, [15, 5, 34.5, 24.5], atol=1e-5)
    np.testing.assert_allclose(np.array(net.blobs["im_info"].data), [[80, 160, 2]])
    if not agnostic:
        np.testing.assert_allclose(found[1].box, [50, 5, 59.5, 24.5], atol=1e-5)


def test_yolo():
    """One cell of 2 x 2 has an object of the second class, as large as its anchor."""
    scores = np.full((1, 7, 2, 2), -20, np.float32)
    scores[0, :4] = 0  # in the middle of the cell
    scores[0, 4, 0, 1] = scores[0, 6, 0, 1] = 20
    region = (
        'layer { name: "region" type: "Region" bottom: "scores" top: "region" region_param { '
        "classes: 2 anchors: 1 softmax: true biases: 1 biases: 0.5 } }"
    )
    net = fed(region + QUIET.format('bottom: "data"'), (32, 32), scores=scores)
    (found,) = detect(net, np.zeros((3, 100, 200), np.uint8))
    assert found.label == 1 and found.score == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found.box, [100, 12.5, 200, 37.5], atol=1e-3)


def test_regions_need_their_inputs():
    blobs = {"rois": np.zeros((1, 5)), "cls_prob": np.zeros((1, 2)), "bbox_pred": np.zeros((1, 8))}
    net = fed(QUIET.format('bottom: "data" bottom: "rois"'), (8, 8), **blobs)
    assert "inputs data and im_info" in message(detect, net, scene([]))

"""The examples that detect objects, with few pictures and few steps; and what they share."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import environment

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.append(str(EXAMPLES))
from objects.pictures import PictureMaker  # noqa: E402
from objects.scores import (  # noqa: E402
    Detections,
    average_precision,
    mean_average_precision,
    overlaps,
)  # fmt: skip

from pydl.tools.detectors import suppressed  # noqa: E402


def run_example(script, folder, *args):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *args], cwd=folder, capture_output=True, text=True,
        env=environment(OMP_NUM_THREADS="1"), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 1000


def test_faster_rcnn(tmp_path):
    pytest.importorskip("matplotlib")
    shown = run_example(
        "faster_rcnn/faster_rcnn.py", tmp_path, "--iterations", "120", "--pictures", "8"
    )
    (loss,) = re.findall(r"iteration 120: loss ([\d.]+)", shown)
    assert 0.5 < float(loss) < 3.0  # 3.3 before anything is learned
    (score,) = re.findall(r"mAP@0.5: ([\d.]+) on 8 pictures", shown)
    assert 0 <= float(score) <= 1
    assert is_picture(tmp_path / "faster_rcnn.png")
    assert (tmp_path / "faster_rcnn.caffemodel").stat().st_size > 1_000_000


def test_rcnn(tmp_path):
    for package in ("skimage", "sklearn", "matplotlib"):
        pytest.importorskip(package)
    shown = run_example("rcnn/rcnn.py", tmp_path, "--iterations", "40", "--pictures", "40")
    (proposed,) = re.findall(r"with ([\d.]+)% of the digits", shown)
    assert float(proposed) > 90
    (score,) = re.findall(r"mAP@0.5: ([\d.]+) on 10 pictures", shown)
    assert float(score) > 0.2
    assert is_picture(tmp_path / "rcnn.png")


def test_pictures_hold_what_they_say():
    maker = PictureMaker.of("mnist_sample/test")
    rng = np.random.default_rng(0)
    for picture in (maker.make(rng) for _ in range(20)):
        assert picture.image.shape == (1, 128, 128) and picture.image.dtype == np.float32
        assert picture.image.min() >= 0 and picture.image.max() <= 1
        assert len(picture.boxes) == len(picture.labels) >= 1
        assert (picture.boxes >= 0).all() and (picture.boxes < 128).all()
        sides = (picture.boxes[:, 2:] - picture.boxes[:, :2] + 1).max(1)
        assert (sides >= 20).all() and (sides <= 60).all()
        np.testing.assert_allclose(overlaps(picture.boxes, picture.boxes), np.eye(len(sides)))
        for x1, y1, x2, y2 in picture.boxes.astype(int):
            inside = picture.image[0, y1 : y2 + 1, x1 : x2 + 1]
            assert inside.max() > 0.7
    again = maker.make(np.random.default_rng(0))
    np.testing.assert_array_equal(again.image, maker.make(np.random.default_rng(0)).image)


def test_average_precision():
    maker = PictureMaker.of("mnist_sample/test")
    pictures = [maker.make(np.random.default_rng(seed)) for seed in range(5)]
    perfect = [Detections(p.boxes, p.labels, np.ones(len(p.labels))) for p in pictures]
    assert mean_average_precision(perfect, pictures, 10) == pytest.approx(1)
    twice = [Detections(np.vstack([p.boxes] * 2), np.tile(p.labels, 2), np.ones(2 * len(p.labels)))
             for p in pictures]  # fmt: skip
    assert mean_average_precision(twice, pictures, 10) < 1, "the second find of a digit is wrong"
    none = [Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 5
    assert mean_average_precision(none, pictures, 10) == 0
    label = pictures[0].labels[0]
    assert np.isnan(average_precision(perfect[:0], [], label))


def test_suppressed():
    boxes = np.array([[0, 0, 9, 9], [1, 0, 10, 9], [20, 20, 29, 29]], float)
    assert suppressed(boxes, np.array([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]
    assert suppressed(boxes, np.array([0.5, 0.9, 0.1]), 0.9).tolist() == [1, 0, 2]
    assert suppressed(boxes[:0], np.zeros(0), 0.5).tolist() == []

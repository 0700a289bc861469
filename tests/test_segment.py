"""pydl segment, and the example that trains nets for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import environment

import pydl
from pydl.cli.main import main
from pydl.cli.segment import palette
from pydl.zoo import Builder

EXAMPLE = Path(__file__).parents[1] / "examples" / "segmentation"
image = pytest.importorskip("PIL.Image")


@pytest.fixture
def bright(tmp_path):
    """A net that tells pixels brighter than 100 from others, its weights, and a picture."""
    net = Builder("bright", batch=1, classes=2)
    net.conv("score", net.input("data", 1, 3, 8, 8), 2, 1)
    (tmp_path / "net.prototxt").write_text(pydl.prototxt.dumps(net.message()))
    built = pydl.Net(net.message())
    weights, bias = built.params["score"]
    weights.data[...] = np.reshape([0, 0, 0, 1, 1, 1], weights.shape)
    bias.data[...] = [300, 0]
    built.save(tmp_path / "net.caffemodel")
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:] = 200
    image.fromarray(pixels).save(tmp_path / "scene.png")
    net, weights, scene = (tmp_path / n for n in ("net.prototxt", "net.caffemodel", "scene.png"))
    return ["-model", str(net), "-weights", str(weights), str(scene)]


def test_masks_are_drawn_over_the_image(bright, tmp_path, capsys):
    picture = tmp_path / "masks.png"
    (tmp_path / "names.txt").write_text("dark\nlight\n")
    flags = ["-o", str(picture), "-opacity", "0.5", "-labels", str(tmp_path / "names.txt")]
    assert main(["segment", *bright, *flags]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["light: 75.0%", "dark: 25.0%"]
    pixels = np.asarray(image.open(picture))
    assert pixels.shape == (16, 32, 3)
    assert (pixels[:, :8] == 0).all()  # the background stays
    assert np.abs(pixels[:, 8:].astype(int) - (200 + palette(2)[1].astype(int)) / 2).max() <= 1


def test_values_are_scaled_as_asked(bright, tmp_path, capsys):
    where = ["-o", str(tmp_path / "masks.png")]
    assert main(["segment", *bright, "-scale", "0.1", *where]) == 0
    assert capsys.readouterr().out.startswith("class 0: 100.0%")
    assert main(["segment", *bright, "-mean=-101,-101,-101", *where]) == 0
    assert capsys.readouterr().out.startswith("class 1: 100.0%")


def test_picture_is_named_after_the_image(bright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["segment", *bright]) == 0
    assert (tmp_path / "scene_masks.png").exists()


def test_photographs_lie_as_their_exif_data_says(bright, tmp_path, capsys):
    """A camera that was held upright writes lines of pixels that run from top to bottom."""
    exif = image.Exif()
    exif[0x0112] = 6
    with image.open(bright[4]) as scene:
        scene.save(tmp_path / "turned.png", exif=exif)
    picture = tmp_path / "masks.png"
    assert main(["segment", *bright[:4], str(tmp_path / "turned.png"), "-o", str(picture)]) == 0
    pixels = np.asarray(image.open(picture))
    assert pixels.shape == (32, 16, 3)
    assert (pixels[:8] == 0).all() and pixels[8:].any(axis=2).all()


def test_sixteen_bits_are_read(bright, tmp_path, capsys):
    pixels = np.zeros((16, 32), np.uint16)
    pixels[:, 16:] = 50_000
    image.fromarray(pixels).save(tmp_path / "deep.png")
    where = ["-o", str(tmp_path / "masks.png")]
    assert main(["segment", *bright[:4], str(tmp_path / "deep.png"), *where]) == 0
    assert sorted(capsys.readouterr().out.splitlines()[:2]) == ["class 0: 50.0%", "class 1: 50.0%"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((4, "missing.png"), "missing.png: no such file"),
        ((1, "missing.prototxt"), "missing.prototxt: no such file"),
    ],
)
def test_missing_files_are_named(bright, capsys, change, message):
    bright[change[0]] = change[1]
    assert main(["segment", *bright]) == 1
    assert message in capsys.readouterr().err


def test_nets_without_a_class_map_are_refused(tmp_path, bright, capsys):
    net = Builder("classifier", batch=1, classes=2)
    net.classifier(net.fc("score", net.input("data", 1, 3, 8, 8), 2))
    (tmp_path / "net.prototxt").write_text(pydl.prototxt.dumps(net.message()))
    pydl.Net(net.message()).save(tmp_path / "net.caffemodel")
    assert main(["segment", *bright]) == 1
    assert "no output has scores of classes at places" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["-opacity", "2"], ["-o", "masks.xyz"]])
def test_wrong_flags_are_one_clear_line(bright, flags, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["segment", *bright, *flags]) == 1
    assert capsys.readouterr().err.startswith("pydl: error: ")


def test_palette_is_pascal_voc_s():
    assert palette(21)[[1, 2, 15, 20]].tolist() == [
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
    ]


# ---- the example ----
def test_scenes_are_a_function_of_their_seed(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from scenes import Scenes

    x, y, _, _ = pydl.data.load("mnist_sample")
    images, masks = Scenes(x, y, seed=5).batch(4)
    again = Scenes(x, y, seed=5).batch(4)
    np.testing.assert_array_equal(images, again[0])
    assert images.shape == (4, 3, 64, 64) and masks.shape == (4, 1, 64, 64)
    assert images.min() >= 0 and images.max() <= 255
    assert all(len(np.unique(mask)) >= 2 for mask in masks) and masks.max() <= 10


def test_example_runs(tmp_path):
    """A few steps of both nets, and the picture."""
    if "Upsample" not in pydl.prototxt.schema.declarations():
        pytest.skip("no Upsample layer")
    command = [sys.executable, EXAMPLE / "segment.py", "--iterations", "3", "--scenes", "16"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "segnet: mean IoU" in done.stdout
    assert image.open(tmp_path / "segmentation.png").size == (2 * 8 * 64, 2 * 4 * 64)

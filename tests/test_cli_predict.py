"""pydl predict: what it takes, and what it says about it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pydl
from pydl.cli.main import main
from pydl.cli.records import Scaling, open_records, read_mean

# The mean of the left and of the right half, as two classes; weights are given in the net.
HALVES = """
name: "halves"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 1 dim: 2 dim: 2 } }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 bias_term: false }
}
"""


@pytest.fixture
def halves(tmp_path, monkeypatch):
    """A folder with halves.safetensors: class 0 is brighter on the left, 1 on the right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "halves.prototxt").write_text(HALVES)
    net = pydl.Net("halves.prototxt")
    net.params["ip"][0].data[...] = [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]
    net.save("halves.safetensors")
    return tmp_path


def predict(capsys, *args: object, status: int = 0) -> str:
    assert main(["predict", "-model", "halves.safetensors", *map(str, args)]) == status
    out, err = capsys.readouterr()
    return err if status else out


IMAGES = np.array([[[3, 1], [3, 1]], [[0, 2], [0, 4]], [[5, 0], [5, 0]]], np.float32)


def test_array_without_channels(halves, capsys):
    np.save("x.npy", IMAGES)
    lines = predict(capsys, "-input", "x.npy").splitlines()
    assert lines == ["0: 0 3.0000  1 1.0000", "1: 1 3.0000  0 0.0000", "2: 0 5.0000  1 0.0000"]


def test_one_record(halves, capsys):
    np.save("x.npy", IMAGES[:1])
    assert predict(capsys, "-input", "x.npy", "-top", 1) == "0: 0 3.0000\n"


def test_labels_give_accuracy_and_names(halves, capsys):
    np.savez("x.npz", images=IMAGES, labels=[0, 0, 0])
    (halves / "names.txt").write_text("left\nright\n")
    lines = predict(capsys, "-input", "x.npz", "-labels", "names.txt").splitlines()
    assert lines[1] == "1: right 3.0000  left 0.0000  (is left)"
    assert lines[3] == "Accuracy: 0.6667 (2 of 3), top-2 1.0000"


def test_scaling_goes_in_caffes_order(halves, capsys):
    np.save("x.npy", IMAGES[:1])
    flags = ["-raw_scale", 2, "-mean", 1, "-scale", 10]
    assert predict(capsys, "-input", "x.npy", *flags) == "0: 0 50.0000  1 10.0000\n"


def test_outputs_are_written(halves, capsys):
    np.savez("x.npz", data=IMAGES, label=[0, 1, 0])
    predict(capsys, "-input", "x.npz", "-batch", 2, "-o", "out.npz")
    with np.load("out.npz") as out:
        np.testing.assert_array_equal(out["ip"], [[3, 1], [0, 3], [5, 0]])
        np.testing.assert_array_equal(out["labels"], [0, 1, 0])


def test_images(halves, capsys):
    image = pytest.importorskip("PIL.Image")
    (halves / "folder").mkdir()
    for i, pixels in enumerate(IMAGES.astype(np.uint8)):
        image.fromarray(pixels).resize((2, 2)).save(halves / "folder" / f"{i}.png")
    lines = predict(capsys, "-input", "folder", "-top", 1).splitlines()
    assert lines == ["folder/0.png: 0 3.0000", "folder/1.png: 1 3.0000", "folder/2.png: 0 5.0000"]
    assert predict(capsys, "-input", "folder/1.png", "folder/0.png", "-top", 1).splitlines() == [
        lines[1],
        lines[0],
    ]


def test_colour_images_are_bgr_unless_asked(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "red.png"
    image.new("RGB", (5, 5), (200, 10, 20)).save(path)
    shapes = {"data": (1, 3, 4, 4)}
    for rgb, pixel in ((False, [20, 10, 200]), (True, [200, 10, 20])):
        batch = open_records([str(path)], shapes, Scaling(), rgb).read(0, 1)["data"]
        assert batch.shape == (1, 3, 4, 4)
        np.testing.assert_array_equal(batch[0, :, 0, 0], pixel)


def test_a_data_set(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = HALVES.replace("dim: 2 dim: 2", "dim: 28 dim: 28").replace(
        "num_output: 2", "num_output: 10"
    )
    (tmp_path / "net.prototxt").write_text(text)
    pydl.Net("net.prototxt").save("halves.safetensors")
    lines = predict(capsys, "-input", "mnist_sample/test").splitlines()
    assert len(lines) == 1001
    assert re.fullmatch(r"Accuracy: \S+ \(\d+ of 1000\), top-5 \S+", lines[-1])


def test_several_inputs_come_from_one_npz(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = "input_param { shape { dim: 2 dim: 3 } }"
    (tmp_path / "net.prototxt").write_text(
        f'layer {{ name: "a" type: "Input" top: "a" {shape} }}\n'
        f'layer {{ name: "b" type: "Input" top: "b" {shape} }}\n'
        'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }\n'
    )
    a, b = np.arange(6).reshape(2, 3), np.ones((2, 3))
    np.savez("x.npz", a=a, b=b)
    assert main(["predict", "-model", "net.prototxt", "-input", "x.npz", "-o", "y.npz"]) == 0
    with np.load("y.npz") as out:
        np.testing.assert_array_equal(out["sum"], a + b)
    np.save("x.npy", a)
    assert main(["predict", "-model", "net.prototxt", "-input", "x.npy"]) == 1
    assert "an array for each" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "args", "words"),
    [
        (lambda: None, ["nosuch.npy"], ["nosuch.npy: no such file"]),
        (lambda: np.save("x.npy", np.zeros((3, 7))), ["x.npy"], ["shape (3, 7)", "(N, 1, 2, 2)"]),
        (lambda: np.save("x.npy", np.array(["a"])), ["x.npy"], ["must be numbers"]),
        (lambda: np.savez("x.npz", a=[1], b=[2]), ["x.npz"], ["no array for input", "a, b"]),
        (lambda: open("x.npz", "w").close(), ["x.npz"], ["x.npz", "not a readable"]),
        (lambda: open("x.npy", "w").close(), ["x.npy"], ["x.npy", "not a readable"]),
        (lambda: open("x.png", "w").close(), ["x.png"], ["x.png"]),
        (lambda: None, ["mnist_sampel/test"], ["mnist_sample/test"]),
        (lambda: None, ["mnist_sample/test"], ["halves.prototxt:", "784"]),
        (lambda: None, ["a.npy", "b.npy"], ["must all be images"]),
        (lambda: np.save("x.npy", IMAGES), ["x.npy", "-mean", "1,2"], ["-mean"]),
        (lambda: np.save("x.npy", IMAGES), ["x.npy", "-mean", "one"], ['-mean "one"']),
        (lambda: np.save("x.npy", IMAGES), ["x.npy", "-labels", "no.txt"], ["no.txt"]),
        (lambda: np.save("x.npy", IMAGES), ["x.npy", "-o", "out.csv"], ["out.csv", ".npz"]),
    ],
)
def test_bad_input(halves, capsys, make, args, words):
    make()
    message = predict(capsys, "-input", *args, status=1)
    assert "Traceback" not in message and message.startswith("pydl: error: ")
    for word in words:
        assert word in message


def test_a_mean_image_of_another_size_counts_per_channel(tmp_path):
    path = tmp_path / "mean.npy"
    np.save(path, np.stack([np.full((4, 4), 1.0), np.full((4, 4), 2.0)]))
    scaled = Scaling(mean=read_mean(str(path)))(np.full((1, 2, 3, 3), 5.0))
    np.testing.assert_array_equal(scaled[0, :, 0, 0], [4, 3])

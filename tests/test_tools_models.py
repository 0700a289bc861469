"""Caffe's tools for whole nets as sub-commands: classify, detect, draw_net, upgrade_*."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import formats, prototxt
from pydl.cli.main import main

TOOLS = Path(__file__).parent / "golden" / "tools"


# ---- classify ----
DEPLOY = """
name: "toolnet"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 12 dim: 14 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
  inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
WEIGHTS = "snap_iter_30.caffemodel"


@pytest.fixture
def deploy(tmp_path, monkeypatch):
    """The working directory: a deploy net, weights, images, their mean and labels."""
    shutil.copytree(TOOLS / "images", tmp_path / "images", copy_function=shutil.copyfile)
    for name in ("list.txt", "net.prototxt", "mean.binaryproto", WEIGHTS):
        shutil.copyfile(TOOLS / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Path("deploy.prototxt").write_text(DEPLOY)
    Path("labels.txt").write_text("n01 north\nn02 east\nn03 south\nn04 west\n")


def test_classify_as_the_cpp_program(deploy, capsys):
    words = ["deploy.prototxt", WEIGHTS, "mean.binaryproto", "labels.txt", "images/im03.png"]
    assert main(["classify", *words]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "---------- Prediction for images/im03.png ----------"
    from PIL import Image

    pixels = np.asarray(Image.open("images/im03.png").convert("RGB"), np.float32)[..., ::-1]
    mean = formats.binaryproto.load("mean.binaryproto").mean(axis=(0, 2, 3))
    data = (pixels - mean).transpose(2, 0, 1)[np.newaxis]
    scores = pydl.Net("deploy.prototxt", WEIGHTS).forward(data=data)["prob"][0]
    names = Path("labels.txt").read_text().splitlines()
    assert lines == [f'{scores[k]:.4f} - "{names[k]}"' for k in np.argsort(-scores)]


CLASSIFIER = ["-model_def", "deploy.prototxt", "-pretrained_model", "snap_iter_30.caffemodel"]


@pytest.mark.parametrize("source", ["images", "images/im00.png", "arrays.npy"])
def test_classify_as_the_python_program(deploy, capsys, source):
    """A folder, an image and arrays; the centre crop, BGR with values to 255 less the mean."""
    from pydl.caffe import io

    files = sorted(Path("images").glob("*.png")) if source == "images" else ["images/im00.png"]
    images = [io.load_image(str(file)) for file in files]
    np.save("arrays.npy", images)
    flags = [
        "-mean_file",
        "mean.binaryproto",
        "--images_dim=12,14",
        "--center_only",
        "--ext",
        "png",
    ]
    assert main(["classify", *CLASSIFIER, *flags, source, "scores.npy"]) == 0
    assert f"Classifying {len(images)} inputs." in capsys.readouterr().out
    mean = formats.binaryproto.load("mean.binaryproto")
    data = np.stack(images).transpose(0, 3, 1, 2)[:, ::-1] * 255 - mean
    want = pydl.Net("deploy.prototxt", WEIGHTS).forward(data=data)["prob"]
    np.testing.assert_allclose(np.load("scores.npy"), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["scores.csv", "scores.h5"])
def test_detect(deploy, output):
    windows = [("images/im00.png", (0, 0, 12, 14)), ("images/im01.png", (2, 3, 9, 12))]
    lines = [",".join(map(str, (name, *box))) for name, box in windows]
    Path("windows.csv").write_text("filename,ymin,xmin,ymax,xmax\n" + "\n".join(lines) + "\n")
    assert main(["detect", *CLASSIFIER, "-context_pad=0", "windows.csv", output]) == 0
    if output.endswith(".h5"):
        h5py = pytest.importorskip("h5py", reason="the optional package h5py is not installed")
        with h5py.File(output) as file:
            names, scores = file["filename"].asstr()[:].tolist(), file["prediction"][:]
    else:
        with open(output, newline="") as file:
            rows = list(csv.DictReader(file))
        names = [row["filename"] for row in rows]
        scores = [[float(row[f"class{k}"]) for k in range(4)] for row in rows]
    assert names == ["images/im00.png", "images/im01.png"]
    np.testing.assert_allclose(np.sum(scores, axis=1), 1, rtol=1e-5)
    from pydl.caffe import io

    whole = io.load_image("images/im00.png")[..., ::-1].transpose(2, 0, 1) * 255
    want = pydl.Net("deploy.prototxt", WEIGHTS).forward(data=whole[np.newaxis])["prob"][0]
    np.testing.assert_allclose(scores[0], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["windows.csv", "x.txt"], "x.txt: detections are written as .csv or .h5"),
        (["no.csv", "x.csv"], "no.csv: cannot be read"),
        (["list.txt", "x.csv"], "list.txt:2: expected the columns filename, ymin"),
        (["list.txt", "x.csv", "-crop_mode", "selective_search"], "selective_search"),
    ],
)
def test_detect_errors(deploy, capsys, words, message):
    assert main(["detect", *CLASSIFIER, *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b", "c"], "classify: 3 files; give INPUT OUTPUT, or NET WEIGHTS MEAN LABELS IMAGE"),
        (["a.jpg", "scores.npy"], "-model_def and -pretrained_model are needed"),
        (
            ["deploy.prototxt", WEIGHTS, "mean.binaryproto", "list.txt", "images/im00.png"],
            "list.txt: 40 labels, but the net's output has 4 classes",
        ),
        (
            ["deploy.prototxt", WEIGHTS, "mean.binaryproto", "labels.txt", "labels.txt"],
            "labels.txt: not a readable image",
        ),
    ],
)
def test_classify_errors(deploy, capsys, words, message):
    assert main(["classify", *words]) == 1
    assert message in capsys.readouterr().err


# ---- draw and upgrade ----
def test_draw_net(deploy, capsys):
    assert main(["draw_net", "net.prototxt", "net.svg", "--rankdir", "TB", "--phase=TEST"]) == 0
    assert capsys.readouterr().out == "Drawing net to net.svg\n"
    picture = Path("net.svg").read_text()
    assert picture.startswith("<svg")
    for name in ("conv1", "pool1", "accuracy"):
        assert f">{name}" in picture
    assert main(["draw_net", "net.prototxt", "train.svg", "-phase", "TRAIN", "-display_lrm"]) == 0
    assert ">accuracy" not in Path("train.svg").read_text()
    assert main(["draw_net", "net.prototxt", "net.svg", "--rankdir", "UP"]) == 1
    assert 'rankdir "UP"' in capsys.readouterr().err


@pytest.mark.parametrize("age", ["v0", "v1"])
def test_upgrade_net(tmp_path, capsys, age):
    old = TOOLS.parent / "v1"
    for command, suffix in (("text", "prototxt"), ("binary", "caffemodel")):
        source, made = old / f"{age}.{suffix}", tmp_path / f"new.{suffix}"
        assert main([f"upgrade_net_proto_{command}", str(source), str(made)]) == 0
        assert capsys.readouterr().out == f"Wrote upgraded NetParameter {command} proto to {made}\n"
    assert prototxt.load_net(tmp_path / "new.prototxt") == prototxt.load_net(
        old / f"{age}.upgraded.prototxt"
    )
    got = formats.load_weights(tmp_path / "new.caffemodel")
    want = formats.load_weights(old / f"{age}.upgraded.caffemodel")
    assert got.types() == want.types()
    for name, blobs in want.blobs().items():
        for a, b in zip(blobs, got.blobs()[name], strict=True):
            np.testing.assert_array_equal(a, b)
    again = tmp_path / "new.prototxt"
    assert main(["upgrade_net_proto_text", str(again), str(again)]) == 0
    assert f"File already in latest proto format: {again}" in capsys.readouterr().out


def test_upgrade_solver(tmp_path, capsys):
    old, made = TOOLS.parent / "v1" / "solver_old.prototxt", tmp_path / "solver.prototxt"
    assert main(["upgrade_solver_proto_text", str(old), str(made)]) == 0
    assert capsys.readouterr().out == f"Wrote upgraded SolverParameter text proto to {made}\n"
    want = old.with_name("solver_old.upgraded.prototxt")
    assert prototxt.load_solver(made) == prototxt.load_solver(want)
    assert "solver_type" not in made.read_text()

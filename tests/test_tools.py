"""Caffe's tools as sub-commands, against what Caffe's own tools did with the same input."""

from __future__ import annotations

import csv
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_tools import run_pydl

import pydl
from pydl import formats
from pydl.cli.main import main
from pydl.formats.binaryproto import Datum
from pydl.tools import caffe_log

lmdb = pytest.importorskip("lmdb", reason="the optional package lmdb is not installed")

TOOLS = Path(__file__).parent / "golden" / "tools"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: a copy of the inputs of Caffe's tools."""
    for name in ("images", "raw.lmdb"):
        shutil.copytree(TOOLS / name, tmp_path / name)
    for pattern in ("*.txt", "*.prototxt", "*.caffemodel", "mean.binaryproto"):
        for path in TOOLS.glob(pattern):
            shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def log_lines(text):
    """What log lines say, without their prefix; of our text or of a golden log."""
    return [line.partition("] ")[2] for line in text.splitlines() if re.match("[IWE]", line)]


def golden_lines(name):
    return log_lines((TOOLS / name).read_text())


def records(path):
    """(key, record) of an LMDB, in order."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        return [(bytes(k), bytes(v)) for k, v in environment.begin().cursor()]


# ---- convert_imageset ----
CONVERSIONS = {
    "raw": ([], "list.txt", 0),
    "gray": (["--gray"], "list5.txt", 1),
    "resized": (["-resize_height", "8", "--resize_width=10"], "list5.txt", 0),
    "encoded_png": (["--encoded", "--encode_type=png"], "list5.txt", 0),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_convert_imageset(folder, capsys, name):
    arguments, images, tolerance = CONVERSIONS[name]
    made = f"{name}.lmdb" if name != "raw" else "new.lmdb"
    assert main(["convert_imageset", *arguments, "--backend=lmdb", "images/", images, made]) == 0
    want = [line.replace("raw.lmdb", made) for line in golden_lines(f"convert_{name}.log")]
    assert log_lines(capsys.readouterr().err) == want
    ours, caffes = records(made), records(TOOLS / f"{name}.lmdb")
    assert [key for key, _ in ours] == [key for key, _ in caffes]
    for (_, mine), (_, theirs) in zip(ours, caffes, strict=True):
        if tolerance == 0:
            assert mine == theirs
            continue
        mine, theirs = Datum.parse(mine), Datum.parse(theirs)
        assert (mine.label, mine.encoded) == (theirs.label, theirs.encoded)
        np.testing.assert_allclose(mine.data.astype(int), theirs.data, rtol=0, atol=tolerance)


def test_convert_shuffles_by_seed(folder):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert (
            main(["convert_imageset", "-shuffle", "-seed", str(seed), "images/", "list.txt", name])
            == 0
        )
    a, b, c = (records(name) for name in "abc")
    assert a == b != c
    assert sorted(v for _, v in a) == sorted(v for _, v in records(TOOLS / "raw.lmdb"))
    assert [key[:8] for key, _ in a] == [b"%08d" % i for i in range(40)]


def test_convert_encodes_what_changes(folder):
    """A resized image cannot be copied as a file; JPEG was not asked to be exact."""
    Path("one.txt").write_text("im00.png 7\n")
    flags = ["-encode_type", "jpg", "-resize_height", "6", "-resize_width", "9"]
    assert main(["convert_imageset", *flags, "images/", "one.txt", "out"]) == 0
    datum = Datum.parse(records("out")[0][1])
    assert datum.encoded and datum.label == 7
    assert bytes(datum.data[:3]) == b"\xff\xd8\xff"
    from pydl.data import open_source

    assert open_source("out").shape == (3, 6, 9)


def test_convert_passes_over_bad_images(folder, capsys):
    Path("images/broken.png").write_bytes(b"\x89PNG no more")
    Path("some.txt").write_text("im00.png 1\nbroken.png 2\nmissing one.png 3\nim01.png -4\n")
    assert main(["convert_imageset", "images/", "some.txt", "out"]) == 0
    err = capsys.readouterr().err
    assert "images/broken.png: not a readable image" in err
    assert "images/missing one.png: cannot be read" in err
    assert [key for key, _ in records("out")] == [b"00000000_im00.png", b"00000003_im01.png"]
    assert Datum.parse(records("out")[1][1]).label == -4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images/", "list.txt", "raw.lmdb"], "raw.lmdb: is there already"),
        (["images/", "no.txt", "out"], "no.txt: No such file"),
        (["images/", "bad.txt", "out"], "bad.txt:2: 'one' is no label"),
        (["-backend", "leveldb", "images/", "list.txt", "out"], 'backend "leveldb": databases are'),
        (
            ["-check_size", "images/", "sizes.txt", "out"],
            "size 3x3x3, but im00.png has 3x12x14; give -resize_height",
        ),
        (["-check_size", "-encoded", "images/", "sizes.txt", "out"], "small.png: size 3x3x3, but"),
        (["-gray=perhaps", "images/", "list.txt", "out"], "expected true or false"),
        (["-encoded", "images/", "list.txt"], "the following arguments are required: DB"),
    ],
)
def test_convert_errors(folder, capsys, arguments, message):
    Path("bad.txt").write_text("im00.png 1\nim01.png one\n")
    from PIL import Image

    Image.new("RGB", (3, 3)).save("images/small.png")
    Path("sizes.txt").write_text("im00.png 1\nsmall.png 1\n")
    assert main(["convert_imageset", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_database_grows(tmp_path):
    """More than LMDB's first 10 MB."""
    from pydl.data.lmdb_writer import LmdbWriter

    big = bytes(1 << 20)
    with LmdbWriter(tmp_path / "big") as writer:
        for i in range(25):
            writer.put(b"%04d" % i, big)
    assert [key for key, _ in records(tmp_path / "big")] == [b"%04d" % i for i in range(25)]


# ---- compute_image_mean ----
def test_compute_image_mean(folder, capsys):
    assert main(["compute_image_mean", "--backend=lmdb", "raw.lmdb", "mean.binaryproto"]) == 0
    assert log_lines(capsys.readouterr().err) == golden_lines("compute_image_mean.log")
    assert Path("mean.binaryproto").read_bytes() == (TOOLS / "mean.binaryproto").read_bytes()


def test_compute_image_mean_of_encoded_images(folder, capsys):
    assert main(["convert_imageset", "-encoded", "images/", "list.txt", "encoded"]) == 0
    assert main(["compute_image_mean", "encoded", "m.binaryproto"]) == 0
    assert Path("m.binaryproto").read_bytes() == (TOOLS / "mean.binaryproto").read_bytes()


def test_compute_image_mean_errors(folder, capsys):
    assert main(["compute_image_mean", "no.lmdb"]) == 1
    assert 'no source "no.lmdb"' in capsys.readouterr().err


# ---- extract_features ----
def test_extract_features(folder, capsys):
    arguments = "snap_iter_30.caffemodel net.prototxt pool1,ip a.lmdb,b.lmdb 2 lmdb CPU"
    assert main(["extract_features", *arguments.split()]) == 0
    assert log_lines(capsys.readouterr().err) == golden_lines("extract_features.log")
    for made, caffes in (("a.lmdb", "feat_pool1.lmdb"), ("b.lmdb", "feat_ip.lmdb")):
        for (key, mine), (want_key, want) in zip(
            records(made), records(TOOLS / caffes), strict=True
        ):
            assert key == want_key
            assert len(mine) == len(want)  # the same fields
            mine, want = Datum.parse(mine).data, Datum.parse(want).data
            np.testing.assert_allclose(mine, want, rtol=0, atol=1e-5 * np.abs(want).max() + 1e-6)


@pytest.mark.parametrize(
    ("blobs", "databases", "rest", "message"),
    [
        (
            "pool2",
            "x",
            "2 lmdb",
            'unknown feature blob "pool2" in net "toolnet"; did you mean "pool1"?',
        ),
        ("pool1,ip", "x", "2 lmdb", "2 blobs but 1 databases"),
        ("loss", "x", "2 lmdb", 'blob "loss" is a single number'),
        ("ip", "x", "0 lmdb", "expected a whole number of at least 1"),
        ("ip", "x", "2 leveldb", 'backend "leveldb"'),
        ("ip", "x", "2 lmdb GPU 1", "-gpu 1: this build has no CUDA"),
    ],
)
def test_extract_features_errors(folder, capsys, blobs, databases, rest, message):
    arguments = ["snap_iter_30.caffemodel", "net.prototxt", blobs, databases, *rest.split()]
    assert main(["extract_features", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("x").exists()


# ---- train, test, time ----
def test_test_prints_caffes_lines(folder, capsys):
    arguments = ["-model", "net.prototxt", "-weights", "snap_iter_30.caffemodel"]
    assert main(["test", *arguments, "-iterations", "4"]) == 0
    golden = golden_lines("test.log")
    golden = golden[golden.index("Running for 4 iterations.") :]
    ours = capsys.readouterr().out.splitlines()
    ours = ours[ours.index("Running for 4 iterations.") :]
    assert [blank_numbers(line) for line in ours] == [blank_numbers(line) for line in golden]
    for mine, theirs in zip(ours, golden, strict=True):
        np.testing.assert_allclose(numbers(mine), numbers(theirs), rtol=2e-5)


NUMBER = re.compile(r"(?<![\w#])-?\d+\.?\d*(?:e[-+]?\d+)?")


def blank_numbers(line):
    return NUMBER.sub("?", line)


def numbers(line):
    return [float(text) for text in NUMBER.findall(line)]


def test_time_prints_caffes_lines(folder, capsys):
    assert main(["time", "-model", "net.prototxt", "-iterations", "3"]) == 0
    golden = golden_lines("time.log")
    golden = golden[golden.index("Performing Forward") :]
    golden.remove("Restarting data prefetching from start.")  # from Caffe's other thread
    ours = capsys.readouterr().out.splitlines()
    ours = [line.partition("\t(")[0] for line in ours[ours.index("Performing Forward") :]]
    assert [words(line) for line in ours] == [words(line) for line in golden]


def words(line):
    return blank_numbers(line).split()


def test_train_log_tells_caffes_losses(folder):
    """The same start, data and solver: the tables in our log are those in Caffe's."""
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-weights", "init.caffemodel", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(
        caffe_log.parse_log("snap.log"), caffe_log.parse_log(TOOLS / "train.log"), strict=True
    ):
        assert len(mine) == len(theirs) > 1
        for row, want in zip(mine, theirs, strict=True):
            assert list(row) == list(want)
            for name in set(row) - {"Seconds"}:
                assert row[name] == pytest.approx(want[name], rel=1e-4)
    ours = log_lines(Path("snap.log").read_text())
    for line in golden_lines("train.log"):
        if re.match(
            "Use|Creating .* net |Finetuning|Solv|Starting|Learning|.*Snapshot|.*Done", line
        ):
            assert line in ours


def test_train_without_a_solver_prints_help(capsys):
    assert main(["train"]) == 1
    output = capsys.readouterr()
    assert "--solver FILE" in output.out and "examples:" in output.out
    assert "Need a solver definition to train" in output.err


def test_train_takes_a_state_not_weights_as_snapshot(folder, capsys):
    Path("snap_iter_20.solverstate").touch()
    assert (
        main(["train", "-solver", "solver.prototxt", "-snapshot", "snap_iter_20.caffemodel"]) == 1
    )
    err = capsys.readouterr().err
    assert "go on with the run give -snapshot snap_iter_20.solverstate" in err
    assert "give -weights snap_iter_20.caffemodel" in err


@pytest.mark.parametrize(
    ("flags", "layers"),
    [
        ([], {"conv", "ip"}),
        (["-stage", "deep"], {"conv", "deep", "ip"}),
        (["-level", "2"], {"conv", "fine", "ip"}),
        (["-stage=deep,wide", "-level=2"], {"conv", "deep", "wide", "fine", "ip"}),
    ],
)
@pytest.mark.parametrize("command", ["time", "summarize"])
def test_level_and_stage(tmp_path, monkeypatch, capsys, command, flags, layers):
    monkeypatch.chdir(tmp_path)
    rules = {
        "conv": "",
        "deep": 'include { stage: "deep" }',
        "wide": 'include { stage: "wide" }',
        "fine": "include { min_level: 1 }",
        "ip": "",
    }
    text = (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }'
    )
    for name, rule in rules.items():
        text += (
            f'layer {{ name: "{name}" type: "InnerProduct" bottom: "data" top: "{name}" {rule} '
            "inner_product_param { num_output: 3 } }"
        )
    Path("net.prototxt").write_text(text)
    model = ["-model", "net.prototxt"] if command == "time" else ["net.prototxt"]
    more = ["-iterations", "1"] if command == "time" else []
    assert main([command, *model, *flags, *more]) == 0
    shown = set(re.findall(r"^\s*(conv|deep|wide|fine|ip)\b", capsys.readouterr().out, re.M))
    assert shown == layers


# ---- logs ----
def test_parse_log_of_caffe(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["parse_log", str(TOOLS / "train.log"), "."]) == 0
    assert "train.log.train: 6 rows" in capsys.readouterr().out
    with open("train.log.train", newline="") as file:
        train = list(csv.DictReader(file))
    assert list(train[0]) == ["NumIters", "Seconds", "LearningRate", "loss"]
    assert [float(row["NumIters"]) for row in train] == [0, 5, 10, 15, 20, 25]
    assert [float(row["loss"]) for row in train][:3] == [1.46124, 1.53869, 1.97171]
    assert float(train[0]["LearningRate"]) == 0.005  # as the second row: no rate came before it
    assert float(train[0]["Seconds"]) == pytest.approx(57.167073 - 57.166210, abs=1e-6)
    with open("train.log.test", newline="") as file:
        test = list(csv.DictReader(file))
    assert list(test[0]) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    assert [float(row["accuracy"]) for row in test] == [0.3, 0.35, 0.75, 0.975]


def test_parse_log_without_years(tmp_path):
    """glog's old prefix, a run through New Year's Eve, and a loss that is no number."""
    (tmp_path / "run.log").write_text(
        "I1231 23:59:59.000000  1 solver.cpp:289] Solving net\n"
        "I1231 23:59:59.500000  1 solver.cpp:258]     Train net output #0: loss = 9\n"
        "I1231 23:59:59.500000  1 solver.cpp:239] Iteration 0, loss = 2\n"
        "I1231 23:59:59.500000  1 solver.cpp:258]     Train net output #0: loss = 2 (* 1 = 2)\n"
        "I1231 23:59:59.500000  1 solver.cpp:258]     Train net output #1: p = 1e-07\n"
        "I0101 00:00:01.000000  1 sgd_solver.cpp:112] Iteration 20, lr = 1e-05\n"
        "I0101 00:00:01.500000  1 solver.cpp:258]     Train net output #0: loss = nan\n"
    )
    train, test = caffe_log.parse_log(tmp_path / "run.log")
    assert test == []
    first = {"NumIters": 0, "Seconds": 0.5, "LearningRate": 1e-05, "loss": 2, "p": 1e-07}
    assert train[0] == first
    assert train[1]["Seconds"] == 2.5 and math.isnan(train[1]["loss"])


def test_parse_log_errors(tmp_path, capsys):
    path = tmp_path / "no.log"
    assert main(["parse_log", str(path), str(tmp_path)]) == 1
    assert "no.log: cannot be read" in capsys.readouterr().err
    path.write_text("hello\n")
    assert main(["parse_log", str(path), str(tmp_path)]) == 1
    assert "not a log of a training run" in capsys.readouterr().err


@pytest.mark.parametrize("chart", range(8))
def test_plot_training_log(tmp_path, chart):
    pytest.importorskip("matplotlib", reason="the optional package matplotlib is not installed")
    picture = tmp_path / "chart.svg"
    log = str(TOOLS / "train.log")
    assert main(["plot_training_log", str(chart), str(picture), log, log]) == 0
    kind, table, over = caffe_log.CHARTS[chart]
    assert picture.read_text().count("<path") > 5
    assert (kind, table, over)[2] in ("Iters", "Seconds")


def test_plot_training_log_errors(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the optional package matplotlib is not installed")
    log = str(TOOLS / "train.log")
    assert main(["plot_training_log", "9", str(tmp_path / "x.png"), log]) == 1
    assert "6: Train loss vs. Iters" in capsys.readouterr().err
    assert main(["plot_training_log", "0", str(tmp_path / "x.nothing"), log]) == 1
    assert "unknown kind of picture" in capsys.readouterr().err


# ---- export and convert ----
def test_export_of_a_net_that_reads_its_data(folder, capsys):
    """What its Data layer gave is an input of the model; its losses are part of it."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="the optional package onnx is not installed")
    assert main(["export", "net.prototxt", "snap_iter_30.caffemodel", "-o", "net.onnx"]) == 0
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [
        ("data", [10, 3, 12, 14]),
        ("label", [10]),
    ]
    net = pydl.Net("net.prototxt", "snap_iter_30.caffemodel")
    want = net.forward()
    inputs = {name: np.array(net.blobs[name].data) for name in ("data", "label")}
    for name in ("accuracy", "loss"):
        np.testing.assert_allclose(session.run([name], inputs)[0], want[name], rtol=1e-5)


@pytest.mark.parametrize("first", [".safetensors", ".caffemodel.h5"])
def test_convert_there_and_back(folder, first):
    if first.endswith(".h5"):
        pytest.importorskip("h5py", reason="the optional package h5py is not installed")
    assert main(["convert", "snap_iter_30.caffemodel", f"w{first}"]) == 0
    assert main(["convert", f"w{first}", "back.caffemodel"]) == 0
    want, got = (
        formats.load_weights("snap_iter_30.caffemodel"),
        formats.load_weights("back.caffemodel"),
    )
    assert want.blobs().keys() == got.blobs().keys()
    for name, blobs in want.blobs().items():
        for a, b in zip(blobs, got.blobs()[name], strict=True):
            np.testing.assert_array_equal(a, b)
    if first == ".safetensors":
        assert want.types() == got.types() and want.name == got.name


def test_convert_reads_a_bundle(folder):
    """What pydl export made of a net and its weights keeps the layers' types and blobs."""
    Path("deploy.prototxt").write_text(
        'name: "n" layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 1 dim: 3 dim: 12 dim: 14 } } } "
        'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" '
        "convolution_param { num_output: 6 kernel_size: 3 } }"
    )
    net = pydl.Net("deploy.prototxt", "snap_iter_30.caffemodel")
    net.save("net.safetensors")
    assert main(["convert", "net.safetensors", "net.caffemodel"]) == 0
    weights = formats.load_weights("net.caffemodel")
    assert weights.name == "n"
    assert weights.types() == {"data": "Input", "conv1": "Convolution"}
    np.testing.assert_array_equal(weights.blobs()["conv1"][0], net.params["conv1"][0].data)

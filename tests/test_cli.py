"""The pydl command: its flags, its errors, and each sub-command."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from cli_tools import NET, assert_one_line_error, command, environment, run_pydl, write_run

import pydl
from pydl.cli.flags import normalise
from pydl.cli.main import COMMANDS, main

DEPLOY = NET[NET.index('layer {\n  name: "conv"') : NET.index('layer { name: "loss"')]
DEPLOY = (
    'name: "small"\nlayer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 8 dim: 1 dim: 28 dim: 28 } } }\n"
    + DEPLOY
    + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n'
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder after a run of 60 iterations."""
    folder = tmp_path_factory.mktemp("trained")
    write_run(folder)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    done = run_pydl("train", "-solver", "solver.prototxt", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


# ---- flags ----
def test_all_forms_of_a_flag_are_one():
    forms = [["-solver", "s"], ["--solver", "s"], ["-solver=s"], ["--solver=s"]]
    assert {"=".join(normalise(form)) for form in forms} == {"--solver=s"}


def test_values_are_left_alone():
    argv = ["-mean", "-1.5", "-", "-o", "x", "-.5", "--", "-solver"]
    assert normalise(argv) == ["--mean", "-1.5", "-", "-o", "x", "-.5", "--", "-solver"]


def test_dashes_in_names_are_underscores():
    assert normalise(["-stop-on-nan=a-b"]) == ["--stop_on_nan=a-b"]


@pytest.mark.parametrize(
    "flags",
    [
        ["-model", "{model}", "-weights", "{weights}", "-iterations", "2"],
        ["--model", "{model}", "--weights", "{weights}", "--iterations", "2"],
        ["--model={model}", "--weights={weights}", "--iterations=2"],
        ["-model={model}", "-weights={weights}", "-iterations=2"],
    ],
)
def test_test_takes_every_form(trained, capsys, monkeypatch, flags):
    monkeypatch.chdir(trained)
    values = {"model": "net.prototxt", "weights": "run_iter_60.caffemodel"}
    assert main(["test", *(flag.format(**values) for flag in flags)]) == 0
    assert re.search(r"^Batch 1, accuracy = [\d.]+$", capsys.readouterr().out, re.M)


# ---- help and version ----
def test_no_arguments_print_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in out


@pytest.mark.parametrize("flag", ["-h", "--help", "-help"])
@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_an_example(capsys, name, flag):
    assert main([name, flag] if name else [flag]) == 0
    out = capsys.readouterr().out
    assert "example" in out
    assert re.search(rf"^  pydl {name or 'train'} ?", out, re.M)


def test_version_and_cmakedir(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pydl {pydl.__version__}\n"
    assert main(["-cmakedir"]) == 0
    assert capsys.readouterr().out == f"{pydl.cmake_dir()}\n"


def test_help_imports_neither_numpy_nor_the_core():
    code = (
        "import sys; from pydl.cli.main import main; main(['--help']); main(['train', '-h'])\n"
        "assert not {'numpy', 'pydl._core', 'matplotlib'} & set(sys.modules), sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=True, stdout=subprocess.DEVNULL
    )


# ---- errors ----
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], ['unknown command "trian"', 'did you mean "train"']),
        (["-solver", "x"], ["unknown flag", "a command comes first"]),
        (["train", "-sover", "x"], ["unknown flag --sover", 'did you mean "--solver"']),
        (["train", "-solver"], ["--solver", "expected one argument"]),
        (["train", "-solver", "s", "extra"], ['unexpected argument "extra"']),
        (["train", "-solver", "s", "-iterations", "many"], ["--iterations", '"many"']),
        (["train", "-solver", "s", "-iterations", "-5"], ["--iterations", '"-5"']),
        (["train", "-solver", "s", "-stop_on_nan=perhaps"], ["true or false", '"perhaps"']),
        (["train", "-solver", "s", "-sigint_effect", "x"], ["stop", "snapshot", "none"]),
        (["train", "-solver", "s", "-snapshot", "a", "-weights", "b"], ["not both"]),
        (["train", "-solver", "s", "-gpu", "0"], ["no CUDA"]),
        (["train", "-solver", "nosuch.prototxt"], ["nosuch.prototxt: no such file"]),
        (["train", "-solver", "s", "-threads", "0"], ["--threads", "at least 1"]),
        (["test", "-model", "net.prototxt"], ["weights", "needed"]),
        (["test", "-model", "n", "-weights", "w", "-phase", "DREAM"], ["TRAIN or TEST"]),
        (["summary"], ["model is missing"]),
        (["summary", "a", "-model", "b"], ["two models"]),
        (["export", "net.prototxt", "-o", "net.pb"], ["net.pb", ".safetensors", ".onnx"]),
        (["data", "lst"], ["lst", "list"]),
        (["data", "list", "-cont", "3"], ["unknown flag --cont"]),
    ],
)
def test_bad_command_lines(tmp_path, monkeypatch, capsys, args, words):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pydl: error: ") and err.count("\n") == 1
    for word in words:
        assert word in err


def bad_label(net: str) -> str:
    """Ten classes of data for a net with four."""
    return net.replace("num_output: 10", "num_output: 4")


@pytest.mark.parametrize(
    ("net", "solver", "words"),
    [
        (NET.replace("num_output: 4", "num_ouput: 4"), {}, ["net.prototxt:", '"num_output"']),
        (NET.replace('"ReLU"', '"RELU6"'), {}, ["net.prototxt:", "RELU6", "ReLU"]),
        (NET.replace("kernel_size: 5", "kernel_size: 50"), {}, ["net.prototxt:", "conv", "50"]),
        (NET.replace('bottom: "conv"', 'bottom: "cnv"'), {}, ["net.prototxt:", "cnv"]),
        (bad_label(NET), {}, ["loss", "label"]),
        (NET.replace("mnist_sample/train", "mnist_sampel/train"), {}, ["mnist_sampel"]),
        (NET, {"base_rl": 0.1}, ["solver.prototxt:", "base_lr"]),
        (NET, {"lr_policy": '"stpe"'}, ["step"]),
        (NET, {"net": '"nosuch.prototxt"'}, ["nosuch.prototxt"]),
        (NET + "layer {", {}, ["net.prototxt:"]),
        ("\x00\x01", {}, ["net.prototxt"]),
    ],
)
def test_bad_files_end_training_with_one_message(tmp_path, net, solver, words):
    write_run(tmp_path, net, **solver)
    done = run_pydl("train", "-solver", "solver.prototxt", "-quiet", cwd=tmp_path)
    assert_one_line_error(done, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["w.caffemodel: no such file"]),
        (b"", ["w.caffemodel"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), ["w.caffemodel"]),
        ("half", ["w.caffemodel"]),
    ],
)
def test_bad_weights(trained, tmp_path, content, words):
    if content == "half":
        content = (trained / "run_iter_60.caffemodel").read_bytes()[:2000]
    if content is not None:
        (tmp_path / "w.caffemodel").write_bytes(content)
    done = run_pydl(
        "test", "-model", trained / "net.prototxt", "-weights", "w.caffemodel", cwd=tmp_path
    )
    assert_one_line_error(done, *words)


def test_weights_given_as_snapshot(trained):
    args = ["-solver", "solver.prototxt", "-snapshot", "run_iter_20.caffemodel"]
    before = (trained / "run.log").read_bytes()
    assert_one_line_error(run_pydl("train", *args, cwd=trained), ".solverstate", "-weights")
    assert (trained / "run.log").read_bytes() == before


def test_a_bad_log_path_shows_before_training(tmp_path):
    write_run(tmp_path)
    (tmp_path / "file").touch()
    args = ["-solver", "solver.prototxt", "-log", "file/x.log"]
    assert_one_line_error(run_pydl("train", *args, cwd=tmp_path), "file/x.log: cannot write")
    assert not list(tmp_path.glob("run_iter*"))


def raising(monkeypatch, error: BaseException) -> int:
    from pydl.cli import device_query

    def run(args):
        raise error

    monkeypatch.setattr(device_query, "run", run)
    return main(["device_query"])


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (pydl.Error("bad net"), 1, "bad net"),
        (OSError(28, "No space left on device", "x.bin"), 1, "x.bin: No space left on device"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (TypeError("our fault"), 1, "internal error: TypeError: our fault"),
    ],
)
def test_what_may_be_raised_is_one_line(monkeypatch, capsys, error, status, word):
    assert raising(monkeypatch, error) == status
    err = capsys.readouterr().err
    assert word in err and err.startswith("pydl: error: ") and "Traceback" not in err


def test_traceback_on_request(monkeypatch, capsys):
    monkeypatch.setenv("PYDL_TRACEBACK", "1")
    assert raising(monkeypatch, pydl.Error("bad net")) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("pydl: error: bad net\n")


def test_full_output(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("--help"), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert_one_line_error(done, "No space left on device")


def test_reader_that_leaves():
    """As `pydl ... | head -0`: no message, and the status of a broken pipe."""
    process = subprocess.Popen(
        command("--help"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141


# ---- train ----
def test_train_prints_the_result(trained):
    out = (trained / "stdout.txt").read_text()
    assert re.search(r"^Final test: loss = [\d.]+, accuracy = [\d.]+$", out, re.M)
    assert "Snapshot: run_iter_60.solverstate\n" in out
    assert "Log: run.log, run_log.jsonl\n" in out
    for name in ("run_iter_20.caffemodel", "run_iter_60.solverstate", "run.log", "run_log.jsonl"):
        assert (trained / name).stat().st_size > 0


def test_curve_is_drawn_or_the_way_to_it_is_told(trained):
    out = (trained / "stdout.txt").read_text()
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert 'pip install "pydl[plot]"' in out
    else:
        assert "Curve: run_curve.png\n" in out
        assert (trained / "run_curve.png").read_bytes().startswith(b"\x89PNG")


def test_training_without_matplotlib(tmp_path):
    write_run(tmp_path, max_iter=2)
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')")
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-quiet", cwd=tmp_path, PYTHONPATH=str(tmp_path)
        + ":" + environment()["PYTHONPATH"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'pip install "pydl[plot]"' in done.stdout
    assert (tmp_path / "run_iter_2.caffemodel").exists()


def test_a_run_ends_with_a_test_whatever_the_interval(tmp_path):
    write_run(tmp_path, max_iter=7)
    done = run_pydl("train", "-solver", "solver.prototxt", "-quiet", cwd=tmp_path)
    assert re.search(r"^Final test: ", done.stdout, re.M)
    assert done.stderr == ""


def test_iterations_and_weights(trained, tmp_path):
    write_run(tmp_path, base_lr=0)
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-weights", trained / "run_iter_60.caffemodel",
        "-iterations", 3, "-plot", "none", "-log", "none", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        pydl.formats.load_weights(path).blobs()
        for path in (tmp_path / "run_iter_3.caffemodel", trained / "run_iter_60.caffemodel")
    )
    for name, blobs in theirs.items():
        for a, b in zip(ours[name], blobs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not (tmp_path / "run.log").exists()


def test_nan_stops_and_names_the_last_snapshot(tmp_path):
    write_run(tmp_path, base_lr=1e30, snapshot=1, test_initialization="false")
    done = run_pydl("train", "-solver", "solver.prototxt", "-quiet", cwd=tmp_path)
    newest = max(tmp_path.glob("*.solverstate"), key=lambda p: int(p.stem.split("_")[-1]))
    assert_one_line_error(done, "the loss is", f"the last good snapshot is {newest.name}")
    pydl.Solver(tmp_path / "solver.prototxt").restore(newest)


def test_nan_may_go_on(tmp_path):
    write_run(tmp_path, base_lr=1e30, max_iter=8, test_interval=100, display=1)
    args = ["-solver", "solver.prototxt", "-stop_on_nan=false", "-plot", "none"]
    done = run_pydl("train", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "loss = nan" in done.stderr.replace("-nan", "nan")


def test_stages_and_level_reach_the_net(tmp_path):
    fc = '\n  include { stage: "wide" min_level: 2 }\n}\n'
    extra = 'layer { name: "extra" type: "InnerProduct" bottom: "conv" top: "extra" '
    extra += 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }' + fc
    extra += 'layer { name: "quiet" type: "Silence" bottom: "extra"' + fc
    write_run(tmp_path, NET + extra, max_iter=1)
    args = ["-solver", "solver.prototxt", "-quiet", "-plot", "none"]
    assert run_pydl("train", *args, cwd=tmp_path).returncode == 0
    assert "extra" not in pydl.formats.load_weights(tmp_path / "run_iter_1.caffemodel").blobs()
    done = run_pydl("train", *args, "-stage", "wide,x", "-level", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "extra" in pydl.formats.load_weights(tmp_path / "run_iter_1.caffemodel").blobs()


# ---- the other commands ----
def pydl_out(capsys, *args: object) -> str:
    assert main([str(arg) for arg in args]) == 0
    return capsys.readouterr().out


def test_test_prints_means_as_the_solver_found_them(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    out = pydl_out(
        capsys, "test", "-model", "net.prototxt", "-weights", "run_iter_60.caffemodel",
        "-iterations", 10,
    )  # fmt: skip
    loss, accuracy = re.search(
        r"\nLoss: (\S+)\nloss = \1 \(\* 1 = \1 loss\)\naccuracy = (\S+)\n$", out
    ).groups()
    batches = [float(v) for v in re.findall(r"^Batch \d, accuracy = (\S+)$", out, re.M)]
    assert float(accuracy) == pytest.approx(np.mean(batches))
    final = re.search(r"Final test: loss = (\S+), acc", (trained / "stdout.txt").read_text())
    assert float(loss) == pytest.approx(float(final[1]), abs=1e-4)


def test_test_refuses_a_net_without_data(trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    args = ["test", "-model", "deploy.prototxt", "-weights", "run_iter_60.caffemodel"]
    assert main(args) == 1
    assert "pydl predict" in capsys.readouterr().err


def test_time_prints_caffes_lines(trained, capsys):
    out = pydl_out(capsys, "time", "-model", trained / "net.prototxt", "-iterations", 3)
    number = r"[\d.e+-]+ ms\."
    for name in ("data", "conv", "relu", "drop", "ip", "loss"):
        assert re.search(rf"^ +{name}\tforward: {number}", out, re.M)
        assert re.search(rf"^ +{name}\tbackward: {number}", out, re.M)
    assert re.search(r"conv\tforward: .* GFLOP/s", out)
    for total in ("Forward pass", "Backward pass", "Forward-Backward"):
        assert re.search(rf"^Average {total}: {number}$", out, re.M)
    assert "Testing for 3 iterations." in out


def test_time_of_inference_has_no_backward(trained, capsys):
    out = pydl_out(
        capsys, "time", "-model", trained / "deploy.prototxt", "-phase", "TEST", "-keep",
        "outputs", "-iterations", 2, "-threads", 1,
    )  # fmt: skip
    assert "Average Forward pass" in out and "ackward" not in out


def test_summary(trained, capsys):
    out = pydl_out(capsys, "summary", trained / "deploy.prototxt")
    assert "8x4x12x12" in out and "GFLOP" in out
    assert pydl_out(capsys, "summary", "-model", trained / "deploy.prototxt") == out
    assert '"small" (TRAIN)' in pydl_out(
        capsys, "summary", trained / "net.prototxt", "-phase", "train"
    )


def test_device_query(capsys):
    out = pydl_out(capsys, "device_query")
    assert pydl.__version__ in out
    assert f"Threads:      {pydl.num_threads()}\n" in out
    assert "CUDA:         not in this build" in out
    assert pydl_out(capsys, "device-query") == out


def test_export_and_predict_from_the_bundle(trained, tmp_path, capsys):
    model, weights = trained / "deploy.prototxt", trained / "run_iter_60.caffemodel"
    bundle = tmp_path / "net.safetensors"
    pydl_out(capsys, "export", model, weights, "-o", bundle)
    flags = ["-input", "mnist_sample/test", "-scale", 0.00390625, "-top", 2]
    mine = pydl_out(capsys, "predict", "-model", bundle, *flags)
    theirs = pydl_out(capsys, "predict", "-model", model, "-weights", weights, *flags)
    assert mine == theirs
    back = tmp_path / "back.caffemodel"
    pydl_out(capsys, "export", "-model", bundle, "-o", back)
    ours, original = (pydl.formats.load_weights(path).blobs() for path in (back, weights))
    for name, blobs in ours.items():
        for a, b in zip(blobs, original[name], strict=True):
            np.testing.assert_array_equal(a, b)


def test_export_takes_the_model_as_a_flag_too(trained, tmp_path, capsys):
    model, weights = trained / "deploy.prototxt", trained / "run_iter_60.caffemodel"
    pydl_out(capsys, "export", "-model", model, weights, "-o", tmp_path / "a.safetensors")
    pydl_out(
        capsys, "export", "-model", model, "-weights", weights, "-o", tmp_path / "b.safetensors"
    )
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_layer_that_no_weights_are_for_is_told(trained, tmp_path, capsys):
    model = tmp_path / "renamed.prototxt"
    model.write_text(DEPLOY.replace('name: "ip"', 'name: "ip_new"'))
    weights = trained / "run_iter_60.caffemodel"
    assert main(["export", str(model), str(weights), "-o", str(tmp_path / "x.safetensors")]) == 0
    assert "nothing for layers ip_new" in capsys.readouterr().err

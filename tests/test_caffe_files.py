"""Files that pydl writes, as other programs see them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_golden import layer_types

import pydl
from pydl import _core, prototxt
from pydl.formats import binaryproto, messages, solverstate, upgrade
from pydl.prototxt import proto_file, schema

GOLDEN = Path(__file__).parent / "golden"
SNAPSHOTS = sorted(
    path.parent.name
    for path in (GOLDEN / "solvers").glob("*/snap_iter_4.caffemodel")
    if layer_types(path.parent / "net.prototxt") <= set(_core.layer_declarations())
)


def parse(path, kind="NetParameter"):
    return messages.parse(path.read_bytes(), proto_file.get(kind), str(path))


@pytest.mark.parametrize("case", SNAPSHOTS)
def test_weights_are_caffe_s_byte_for_byte(case, tmp_path):
    folder, path = GOLDEN / "solvers" / case, tmp_path / "net.caffemodel"
    net = pydl.Net(folder / "net.prototxt", folder / "snap_iter_4.caffemodel", phase="TRAIN")
    net.save(path)
    note = parse(path)._unknown  # pydl's, which Caffe passes over
    without = path.read_bytes().replace(note, b"", 1)
    assert note and without == (folder / "snap_iter_4.caffemodel").read_bytes()


@pytest.mark.parametrize("case", SNAPSHOTS)
def test_solver_states_have_caffe_s_fields(case, tmp_path):
    path, golden = tmp_path / "s", GOLDEN / "solvers" / case / "snap_iter_4.solverstate"
    state = solverstate.load(golden)
    solverstate.save(path, **state)
    written = parse(path, "SolverState")
    written._unknown = b""
    want = parse(golden, "SolverState")
    assert written == want
    assert messages.serialize(written) == golden.read_bytes()


def test_a_mean_image_is_caffe_s_byte_for_byte(tmp_path):
    golden = GOLDEN / "tools" / "mean.binaryproto"
    binaryproto.save(tmp_path / "mean.binaryproto", binaryproto.load(golden)[0])
    assert (tmp_path / "mean.binaryproto").read_bytes() == golden.read_bytes()


def test_settings_that_caffe_lacks_stay_out(tmp_path):
    net = prototxt.parse(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 2] } } }'
        'layer { name: "e" type: "ELU" bottom: "data" top: "e" elu_param { alpha: 2 }'
        "        include { phase: TEST } }"
    )
    pydl.Net(net).save(tmp_path / "net.caffemodel")
    layer = parse(tmp_path / "net.caffemodel").layer[1]
    assert str(layer) == (
        'name: "e"\ntype: "ELU"\nbottom: "data"\ntop: "e"\ninclude {\n  phase: TEST\n}\n'
        "phase: TEST\nelu_param {\n  alpha: 2\n}\n"
    )
    assert not layer._unknown


def test_texts_may_use_every_field_of_caffe_s():
    lacking = []

    def compare(mine, caffe, path):
        for name, field in caffe.fields.items():
            if name not in mine.fields:
                lacking.append(path + name)
            elif field.type == "message":
                compare(mine.fields[name].message, field.message, f"{path}{name}.")
            elif field.repeated and not mine.fields[name].repeated:
                lacking.append(f"{path}{name}: repeated")
            elif field.type == "enum" and not field.enum.items() <= mine.fields[name].enum.items():
                lacking.append(f"{path}{name}: {field.enum}")

    for kind in ("NetParameter", "SolverParameter", "SolverState", "Datum", "BlobProtoVector"):
        compare(schema.get(kind), proto_file.get(kind), "")
    # `layers` are the old nets', which are upgraded before fields are looked at.
    assert {path for path in lacking if path.split(".")[-1] != "layers"} == set()


DEPLOY = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 12, 12] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2
    weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm" lrn_param { local_size: 3 alpha: 0.1 } }
layer { name: "ip" type: "InnerProduct" bottom: "norm" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
LOSS += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
PROB = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'


@pytest.fixture
def trained(tmp_path):
    """A net after some steps of training: its deploy prototxt and its caffemodel."""
    solver_text = "base_lr: 0.05 lr_policy: 'fixed' momentum: 0.9 random_seed: 1 max_iter: 5"
    solver = prototxt.parse(solver_text, "SolverParameter")
    solver.train_net_param = prototxt.parse(DEPLOY + LOSS)
    run = pydl.Solver(solver, snapshot_prefix=str(tmp_path / "small"))
    generator = np.random.default_rng(0)
    for _ in range(5):
        run.net.blobs["data"].data[...] = generator.normal(size=(2, 3, 12, 12))
        run.net.blobs["label"].data[...] = generator.integers(0, 5, 2)
        run.step(1)
    weights = run.snapshot().with_suffix(".caffemodel")
    model = tmp_path / "deploy.prototxt"
    model.write_text(DEPLOY + PROB)
    return model, weights


def in_opencv(model, weights, data):
    cv2 = pytest.importorskip("cv2", reason="OpenCV 4 is not installed (opencv-python-headless<5)")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV no longer reads Caffe's files")
    net = cv2.dnn.readNetFromCaffe(str(model), str(weights))
    net.setInput(data)
    return net.forward()


def test_opencv_reads_what_pydl_trained(trained):
    data = np.random.default_rng(1).normal(size=(2, 3, 12, 12)).astype(np.float32)
    want = pydl.Net(*trained).forward(data=data)["prob"]
    assert np.ptp(want) > 0.05  # the net does say something
    got = in_opencv(*trained, data).reshape(want.shape)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("age", ["v0", "v1"])
def test_opencv_reads_what_pydl_upgraded(age, tmp_path):
    model, weights = tmp_path / "new.prototxt", tmp_path / "new.caffemodel"
    upgrade.upgrade_net_text(GOLDEN / "v1" / f"{age}.prototxt", model)
    upgrade.upgrade_net_binary(GOLDEN / "v1" / f"{age}.caffemodel", weights)
    golden = np.load(GOLDEN / "v1" / f"{age}_io.npz")
    got = in_opencv(model, weights, golden["input/data"])
    want = golden["blob/prob"]
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=1e-4)


def in_netron(folder, *files):
    """What Netron shows of each file."""
    netron = pytest.importorskip("netron", reason="Netron is not installed")
    node = shutil.which("node")
    if node is None:
        pytest.skip("Netron's scripts need Node.js")
    (folder / "package.json").write_text('{"type": "module"}')
    scripts = ("base.js", "caffe.js", "caffe-proto.js", "protobuf.js", "text.js")
    for name in (*scripts, "caffe-metadata.json"):
        shutil.copy(Path(netron.__file__).parent / name, folder)
    script = Path(__file__).with_name("netron_open.mjs")
    done = subprocess.run([node, script, folder, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_netron_opens_both_files(trained, tmp_path):
    model, weights = in_netron(tmp_path, *trained)
    assert model["format"] == weights["format"] == "Caffe v2"
    assert model["name"] == weights["name"] == "small"
    layers = {layer["name"]: layer for layer in weights["nodes"]}
    assert layers["conv"]["type"] == "Convolution"
    assert layers["conv"]["attributes"]["num_output"] == 8
    assert layers["conv"]["blobs"] == [[8, 3, 3, 3], [8]]
    assert layers["ip"]["blobs"] == [[5, 72], [5]]
    assert {"bn", "scale", "relu", "pool", "norm"} <= set(layers)


def test_netron_opens_upgraded_files(tmp_path):
    files = [tmp_path / "new.prototxt", tmp_path / "new.caffemodel"]
    upgrade.upgrade_net_text(GOLDEN / "v1" / "v1.prototxt", files[0])
    upgrade.upgrade_net_binary(GOLDEN / "v1" / "v1.caffemodel", files[1])
    for shown in in_netron(tmp_path, *files):
        assert shown["format"] == "Caffe v2"
        assert "Convolution" in {layer["type"] for layer in shown["nodes"]}

"""Models written by pydl.onnx, run by ONNX Runtime and compared with pydl."""

import json
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import _core, prototxt
from pydl.cli.main import main
from pydl.onnx import model as onnx_model
from pydl.onnx import save, to_model
from pydl.onnx.table import REFUSED, exporters

onnx = pytest.importorskip("onnx", reason="the optional package onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

GOLDEN = Path(__file__).parent / "golden"
BENCHMARK_NETS = Path(__file__).parent.parent / "benchmarks" / "nets"
HERE = set(_core.layer_declarations())
CASES = [
    entry | {"folder": root / "layers" / entry["type"]}
    for root in (GOLDEN, GOLDEN.parent / "golden_forks")
    for entry in json.loads((root / "layers" / "index.json").read_text())
    # Nothing found and tied scores give other rows in ONNX: see test_detection_layers.py.
    if entry["type"] in HERE & set(exporters()) - {"DetectionOutput"}
]
# Layers that fill their own tops: there is nothing to compute.
SOURCES = {
    *("Input", "AnnotatedData", "Data", "DenseImageData", "HDF5Data", "ImageData", "MemoryData"),
    *("WindowData", "Silence"),
}


def run(model, inputs):
    """The outputs of an ONNX model by name."""
    data = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    inputs = {name: value for name, value in inputs.items() if name in wanted}
    return dict(zip(names, session.run(None, inputs), strict=True))


def assert_same(got, want, rtol=1e-4):
    """Equal shapes, and no difference above rtol of the largest value."""
    assert got.shape == want.shape
    limit = rtol * np.abs(want[np.isfinite(want)]).max(initial=0) + 1e-7
    np.testing.assert_allclose(got, want, rtol=0, atol=limit)


def random_inputs(net, seed=0):
    random = np.random.RandomState(seed)
    return {name: random.randn(*net.blobs[name].shape).astype("f") for name in net.inputs}


def check(net, inputs, batch=None):
    """The net's outputs for the inputs are those of its model, which is returned."""
    model = to_model(net, batch)
    onnx.checker.check_model(model, full_check=True)
    got = run(model, inputs)
    want = net.forward(**inputs)
    for name, value in got.items():
        assert_same(value, want[name])
    assert got
    return model


def input_layer(name, shape):
    dims = " ".join(f"dim: {n}" for n in shape.split())
    top = f'name: "{name}" type: "Input" top: "{name}"'
    return f"layer {{ {top} input_param {{ shape {{ {dims} }} }} }}"


def small_net(layers, shape="2 3 9 7", **options):
    """A net of these layers on one input, data."""
    text = f'name: "n" {input_layer("data", shape)} {layers}'
    return pydl.Net(prototxt.parse(text), **options)


# ---- golden cases ----
@pytest.mark.parametrize(
    "entry",
    [e for e in CASES if e["type"] not in SOURCES],
    ids=lambda e: f"{e['type']}-{e['case']}",
)
def test_layer(entry, monkeypatch):
    """Each case of a layer that Caffe computed, with its parameters and bottoms."""
    case = entry["case"]
    monkeypatch.chdir(entry["folder"])
    with np.load("arrays.npz") as archive:
        values = {
            key.removeprefix(f"{case}/"): archive[key]
            for key in archive.files
            if key.startswith(f"{case}/")
        }
    net = pydl.Net(f"{case}.prototxt", phase=entry["phase"])
    blobs = net.params.get("l", [])
    for i, blob in enumerate(blobs):
        blob.data[...] = values[f"param/{i}"]
    for name in set(net.params) - {"l"}:  # Parameter layers
        net.params[name][0].data[...] = values[f"bottom/{name}"]
    refused = entry["type"] == "Dropout" and entry["phase"] == "TRAIN"
    if refused:
        with pytest.raises(pydl.Error, match="phase TRAIN"):
            to_model(net)
        return
    model = to_model(net)
    onnx.checker.check_model(model, full_check=True)
    got = run(model, {name: values[f"bottom/{name}"] for name in net.inputs})
    assert got
    for name, value in got.items():
        assert_same(value, values[f"top/{name.removesuffix('/l')}"], rtol=1e-5)


def test_every_layer_type_is_known_or_refused():
    assert not {t for t in HERE if not t.startswith("Skeleton")} - set(exporters()) - set(REFUSED)


# ---- whole nets ----
@pytest.mark.parametrize("name", sorted(path.name for path in (GOLDEN / "nets").iterdir()))
def test_golden_net(name):
    folder = GOLDEN / "nets" / name
    net = pydl.Net(folder / "deploy.prototxt", folder / "weights.caffemodel")
    with np.load(folder / "io.npz") as archive:
        values = dict(archive)
    model = to_model(net)
    onnx.checker.check_model(model, full_check=True)
    got = run(model, {name: values[f"input/{name}"] for name in net.inputs})
    assert got
    for blob, value in got.items():
        assert_same(value, values[f"blob/{blob}"])


@pytest.mark.parametrize("name", ["lenet", "alexnet", "googlenet", "resnet50"])
def test_benchmark_net(name):
    path = BENCHMARK_NETS / f"{name}.prototxt"
    net = pydl.Net(deploy_of(path, batch=1))
    randomise(net)
    model = check(net, random_inputs(net))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


FCN = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  num_output: 8 kernel_size: 3 pad: 10 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {
  pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param {
  num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param {
  pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "score" type: "Convolution" bottom: "pool2" top: "score" convolution_param {
  num_output: 5 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "up2" type: "Deconvolution" bottom: "score" top: "up2" convolution_param {
  num_output: 5 kernel_size: 4 stride: 2 bias_term: false group: 5
  weight_filler { type: "bilinear" } } }
layer { name: "score1" type: "Convolution" bottom: "pool1" top: "score1" convolution_param {
  num_output: 5 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "up2c" type: "Crop" bottom: "up2" bottom: "score1" top: "up2c"
  crop_param { axis: 2 offset: 1 } }
layer { name: "fuse" type: "Eltwise" bottom: "up2c" bottom: "score1" top: "fuse" }
layer { name: "up" type: "Deconvolution" bottom: "fuse" top: "up" convolution_param {
  num_output: 5 kernel_size: 4 stride: 2 bias_term: false weight_filler { type: "msra" } } }
layer { name: "out" type: "Crop" bottom: "up" bottom: "data" top: "out"
  crop_param { axis: 2 offset: 7 offset: 9 } }
"""


def test_fully_convolutional_net():
    net = small_net(FCN, shape="1 3 29 34")
    model = check(net, random_inputs(net))
    assert dims(model.graph.output[0]) == ["N", 5, 29, 34]


def deploy_of(path, batch):
    """A net's message without its losses and labels, at another batch size."""
    message = prototxt.load_net(path)
    kept = [layer for layer in message.layer if not scores(layer)]
    del message.layer[:]
    message.layer.extend(kept)
    for layer in message.layer:
        if layer.type == "Input":
            layer.input_param.shape[0].dim[0] = batch
    return message


def scores(layer):
    return "label" in [*layer.bottom, *layer.top]


def randomise(net):
    """BatchNorm's statistics as after some training; the other weights stay as filled."""
    random = np.random.RandomState(3)
    rows = {row["name"]: row["type"] for row in net._core.layer_rows()}
    for name, blobs in net.params.items():
        if rows[name] == "BatchNorm":
            mean, variance, weight = (blob.data for blob in blobs)
            mean[...] = random.randn(*mean.shape) * 0.1
            variance[...] = random.uniform(0.5, 1.5, variance.shape)
            weight[...] = 1


# ---- batch sizes ----
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }"""


def dims(value):
    shape = value.type.tensor_type.shape
    return [dim.dim_param or dim.dim_value for dim in shape.dim]


def test_batch_size_is_free():
    net = small_net(CONV)
    model = check(net, random_inputs(net))
    assert dims(model.graph.input[0]) == ["N", 3, 9, 7]
    assert dims(model.graph.output[0]) == ["N", 5]
    data = np.random.RandomState(1).randn(5, 3, 9, 7).astype("f")
    assert_same(run(model, {"data": data})["ip"], net.forward(data=data)["ip"])
    assert net.blobs["data"].shape == (5, 3, 9, 7)


def test_batch_size_given():
    net = small_net(CONV)
    model = to_model(net, batch=7)
    assert dims(model.graph.input[0]) == [7, 3, 9, 7]
    assert dims(model.graph.output[0]) == [7, 5]
    assert net.blobs["data"].shape == (2, 3, 9, 7)


def test_a_net_for_one_batch_size_keeps_it():
    net = small_net(
        'layer { name: "r" type: "Reshape" bottom: "data" top: "r" '
        "reshape_param { shape { dim: 6 dim: -1 } } }"
    )
    model = check(net, random_inputs(net))
    assert dims(model.graph.input[0]) == [2, 3, 9, 7]
    assert net.blobs["data"].shape == (2, 3, 9, 7)


# ---- names, files, errors ----
def test_blobs_layers_and_weights_keep_their_names():
    model = to_model(small_net(CONV))
    assert [node.name for node in model.graph.node][:2] == ["conv", "relu"]
    assert list(model.graph.node[1].output) == ["conv"]
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"conv/0", "conv/1", "ip/0", "ip/1"} <= names


def test_in_place_on_an_input_leaves_the_input_its_name():
    net = small_net('layer { name: "relu" type: "ReLU" bottom: "data" top: "data" }')
    model = to_model(net)
    data = random_inputs(net)["data"]
    assert_same(run(model, {"data": data})["data/relu"], np.maximum(data, 0))


def test_shared_weights_are_stored_once():
    shared = """layer { name: "%s" type: "InnerProduct" bottom: "data" top: "%s"
      param { name: "w" } inner_product_param { num_output: 4 bias_term: false
      weight_filler { type: "xavier" } } } """
    net = small_net(shared % ("a", "a") + shared % ("b", "b"), shape="2 6")
    model = check(net, random_inputs(net))
    assert len(model.graph.initializer) == 1


def test_large_weights_go_to_a_second_file(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "LARGEST_FILE", 500)
    net = small_net(CONV)
    save(net, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size > (tmp_path / "net.onnx").stat().st_size
    inputs = random_inputs(net)
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)
    assert_same(run(str(tmp_path / "net.onnx"), inputs)["ip"], net.forward(**inputs)["ip"])


def test_export_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(f"{input_layer('data', '2 3 9 7')} {CONV}")
    net = pydl.Net("net.prototxt", seed=4)
    net.save("net.caffemodel")
    assert main(["export", "net.prototxt", "net.caffemodel", "-o", "net.onnx", "-batch", "3"]) == 0
    assert "net.onnx: net, " in capsys.readouterr().out
    data = np.random.RandomState(0).randn(3, 3, 9, 7).astype("f")
    assert_same(run("net.onnx", {"data": data})["ip"], net.forward(data=data)["ip"])
    assert main(["export", "net.prototxt", "net.caffemodel", "-o", "x.h5", "-batch", "3"]) == 1
    assert "-batch is for .onnx files" in capsys.readouterr().err


def test_random_layers_are_refused_in_training():
    net = small_net('layer { name: "d" type: "Dropout" bottom: "data" top: "d" }', phase="TRAIN")
    with pytest.raises(pydl.Error, match=r'layer "d" \(Dropout\): is random'):
        to_model(net)


def test_a_net_without_outputs_is_refused():
    net = small_net('layer { name: "s" type: "Silence" bottom: "data" }')
    with pytest.raises(pydl.Error, match="no output that a layer computes"):
        to_model(net)


def test_unknown_layer_type_is_refused(monkeypatch):
    monkeypatch.delitem(exporters(), "ReLU")
    with pytest.raises(pydl.Error, match=r'"relu" \(ReLU\).*knows no ONNX form.*ReLU6'):
        to_model(small_net(CONV))


def test_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(pydl.Error, match=r'pip install "pydl\[onnx\]"'):
        to_model(small_net(CONV))


# ---- pooling: Caffe's windows ----
@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("rounding", ["CEIL", "FLOOR"])
def test_pooling_windows(method, rounding):
    """Every size, kernel, stride and padding up to a few pixels, as one net per kernel."""
    for kernel in (1, 2, 3, 5):
        layers = [
            f'layer {{ name: "p{s}{p}" type: "Pooling" bottom: "data" top: "p{s}{p}" pooling_param '
            f"{{ pool: {method} kernel_size: {kernel} stride: {s} pad: {p} round_mode: {rounding} "
            "} }"
            for s in range(1, min(4, kernel + 1) + 1 if kernel > 1 else 2)
            for p in range(kernel)
            if s <= kernel or p > 0
        ]
        for size in ("1 2 7 8", "1 2 9 6"):
            net = small_net("\n".join(layers), shape=size)
            check(net, random_inputs(net))


def test_a_layer_is_the_one_of_the_phase():
    """Of two layers of one name the net's phase has one, with its own parameters."""
    relu = """layer { name: "r" type: "ReLU" bottom: "data" top: "r" include { phase: %s }
      relu_param { negative_slope: %s } } """
    for first, second in (("TEST", "TRAIN"), ("TRAIN", "TEST")):
        slopes = {"TEST": 0.25, "TRAIN": 0.5}
        net = small_net(relu % (first, slopes[first]) + relu % (second, slopes[second]))
        model = check(net, random_inputs(net))
        assert model.graph.node[0].attribute[0].f == 0.25


@pytest.mark.parametrize("shape", ["2 3 11", "2 3 7 6 5"])
def test_layers_over_one_and_three_axes(shape):
    """Convolution, Deconvolution and both kinds of pooling, windows over the edge among them."""
    net = small_net(
        """layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {
          num_output: 4 kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "xavier" } } }
        layer { name: "m" type: "Pooling" bottom: "c" top: "m" pooling_param {
          pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
        layer { name: "a" type: "Pooling" bottom: "c" top: "a" pooling_param {
          pool: AVE kernel_size: 2 stride: 2 } }
        layer { name: "d" type: "Deconvolution" bottom: "a" top: "d" convolution_param {
          num_output: 2 group: 2 kernel_size: 3 stride: 2 pad: 1
          weight_filler { type: "xavier" } } }""",
        shape=shape,
    )
    check(net, random_inputs(net))


# ---- layers of forks ----
def one(layer_type, params="", bottoms="data", top="y"):
    names = "".join(f'bottom: "{name}" ' for name in bottoms.split())
    return f'layer {{ name: "l" type: "{layer_type}" {names} top: "{top}" {params} }}'


POOLED = """layer { name: "p" type: "Pooling" bottom: "data" top: "p" top: "m"
  pooling_param { kernel_size: 2 stride: 2 } }"""
FORKS = {
    "hole": (one("Convolution", "convolution_param { num_output: 4 kernel_size: 3 hole: 2 }"), {}),
    "depthwise": (one("ConvolutionDepthwise", "convolution_param { kernel_size: 3 }"), {}),
    "C3D convolution": (
        one("Convolution3D", "convolution3d_param { num_output: 4 kernel_size: 3 pad: 1 "
            "kernel_depth: 2 temporal_stride: 2 }"), {"shape": "1 2 5 6 7"}),
    "C3D convolution of images": (
        one("Convolution3D", "convolution_param { num_output: 4 kernel_size: 3 }"),
        {"shape": "1 2 5 6 7"}),
    "C3D pooling": (
        one("Pooling3D", "pooling_param { kernel_size: 2 stride: 2 kernel_depth: 3 "
            "temporal_stride: 2 }"), {"shape": "1 2 5 6 7"}),
    "average inside": (
        one("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 "
            "avg_include_pad: false }"), {}),
    "rounded down": (
        one("Pooling", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }"), {}),
    "ReLU6 leaky": (one("ReLU6", "relu6_param { negative_slope: 0.1 }"), {}),
    "HardSwish": (one("HardSwish"), {}),
    "Mish": (one("Mish"), {}),
    "unpooled": (POOLED + one("Upsample", "upsample_param { upsample_h: 9 upsample_w: 7 }", "p m"),
                 {"batch": 3}),
    "interpolated part": (
        one("Interp", "interp_param { zoom_factor: 3 pad_beg: -1 pad_end: -2 }"), {}),
    "interpolated like another": (POOLED + one("Interp", bottoms="p data"), {}),
    "SegNet's BN": (
        one("BN").replace('top: "y"', 'top: "y" top: "mean" top: "variance"'), {}),
    "SegNet's BN in inference": (one("BN", "bn_param { bn_mode: INFERENCE }"), {}),
    "PSPNet's BN": (one("BN", "bn_param { momentum: 0.9 }"), {}),
    "PSPNet's BN frozen": (one("BN", "bn_param { frozen: true }"), {"phase": "TRAIN"}),
    "NVIDIA's BatchNorm": (one("BatchNorm", "batch_norm_param { scale_bias: true }"), {}),
    "Intel's BatchNorm": (
        one("BatchNorm", "batch_norm_param { use_weight_bias: true bias_term: false }"), {}),
    "Intel's BatchNorm in training": (
        one("BatchNorm", "batch_norm_param { use_weight_bias: true }"), {"phase": "TRAIN"}),
    "weighed loss": (
        input_layer("t", "2 9 7") + one("SoftmaxWithLoss", "loss_param { label_smoothing: 0.1 "
        "weight_by_label_freqs: true class_weighting: 1 class_weighting: 3 class_weighting: 2 }",
        "data t"), {"phase": "TRAIN"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORKS)
def test_layer_of_a_fork(name):
    layers, options = FORKS[name]
    batch = options.get("batch")
    net = small_net(layers, **{key: options[key] for key in options if key != "batch"})
    random = np.random.RandomState(4)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.uniform(0.5, 1.5, blob.shape)
    inputs = random_inputs(net)
    if "t" in inputs:
        inputs["t"] = random.randint(0, 3, inputs["t"].shape).astype("f")
    model = check(net, inputs)
    if batch:
        data = random.randn(batch, *inputs["data"].shape[1:]).astype("f")
        assert_same(run(model, {"data": data})["y"], net.forward(data=data)["y"])


@pytest.mark.parametrize(
    "layer",
    [
        'type: "LeakyReLU" leaky_relu_param { negative_slope: 0.2 }',
        'type: "SELU"',
        'type: "SiLU"',
        'type: "Softplus" softplus_param { beta: 3 threshold: 2 }',
        'type: "GLU"',
        'type: "GLU" glu_param { axis: 1 }',
        'type: "Maxout" maxout_param { pieces: 3 }',
        'type: "Maxout" maxout_param { axis: 2 }',
        'type: "GroupNorm" group_norm_param { num_groups: 3 eps: 0.1 }',
        'type: "GroupNorm" group_norm_param { num_groups: 2 affine: false }',
        'type: "InstanceNorm"',
        'type: "InstanceNorm" instance_norm_param { affine: true }',
        'type: "Gram"',
        'type: "Gram" gram_param { normalize: false }',
        'type: "Noise" noise_param { std: 2 }',
    ],
)
def test_activations_and_norms(layer):
    net = small_net(
        f'layer {{ name: "y" bottom: "data" top: "y" {layer} }}', "2 6 4 8", phase="TEST"
    )
    random = np.random.default_rng(0)
    for blob in (blob for blobs in net.params.values() for blob in blobs):
        blob.data[...] = random.normal(size=blob.shape)
    check(net, random_inputs(net))


@pytest.mark.parametrize("layer", ['type: "Noise"', 'type: "GaussianSampling" bottom: "data"'])
def test_what_draws_is_refused(layer):
    net = small_net(f'layer {{ name: "y" bottom: "data" top: "y" {layer} }}', phase="TRAIN")
    with pytest.raises(pydl.Error, match="export the net in phase TEST"):
        to_model(net)


# ---- Transformers ----
@pytest.mark.parametrize(
    "layers",
    [
        'type: "LayerNorm" layer_norm_param { axis: 1 eps: 0.1 }',
        'type: "LayerNorm" layer_norm_param { affine: false }',
        'type: "RMSNorm"',
        'type: "RMSNorm" rms_norm_param { affine: false axis: 1 }',
        'type: "GELU"',
        'type: "GELU" gelu_param { approximate: TANH }',
        'type: "Attention" attention_param { num_heads: 2 } top: "w"',
        'type: "Attention" attention_param { causal: true scale: 0.2 } bottom: "lengths"',
        'type: "Attention" bottom: "data" bottom: "data" bottom: "seen"',
        'type: "MultiHeadAttention" multi_head_attention_param { num_heads: 3 causal: true }',
        'type: "MultiHeadAttention" multi_head_attention_param { num_heads: 3 rotary_base: 100 }',
        'type: "MultiHeadAttention" multi_head_attention_param { num_heads: 2 rotary_base: 50'
        " rotary_interleaved: false }",
        'type: "MultiHeadAttention" bottom: "memory" bottom: "memory" bottom: "lengths"'
        " multi_head_attention_param { num_heads: 2 bias_term: false }",
        'type: "PositionalEmbedding" positional_embedding_param { max_length: 9'
        ' weight_filler { type: "gaussian" } }',
        'type: "PositionalEmbedding" positional_embedding_param { type: SINUSOIDAL }',
        'type: "RotaryEmbedding" rotary_embedding_param { num_heads: 2 base: 100 }',
        'type: "RotaryEmbedding" bottom: "first"'
        " rotary_embedding_param { interleaved: false max_length: 9 }",
    ],
)
def test_layers_of_transformers(layers):
    shapes = {"memory": "2 5 12", "lengths": "2", "seen": "2 5", "first": "1"}
    others = "".join(input_layer(name, s) for name, s in shapes.items() if f'"{name}"' in layers)
    text = f'{others} layer {{ name: "y" bottom: "data" top: "y" {layers} }}'
    net = small_net(text, "2 5 12")
    inputs = random_inputs(net)
    given = {"lengths": [0, 3], "seen": [[1, 0, 1, 1, 0], [0, 1, 0, 0, 0]], "first": [4]}
    inputs |= {k: np.array(v, np.float32) for k, v in given.items() if k in inputs}
    check(net, inputs)


_MASKED = 'bottom: "m" bottom: "m" bottom: "marks" top: "w"'


@pytest.mark.parametrize(
    "layers",
    [
        'bottom: "m"',
        'bottom: "m" bottom: "lengths" sequence_attention_param { score: DOT }',
        f"{_MASKED} sequence_attention_param {{ score: GENERAL }}",
        f"{_MASKED} sequence_attention_param {{ num_hidden: 7 }}",
    ],
)
def test_sequence_attention(layers):
    shapes = {"m": "5 2 12", "lengths": "2", "marks": "5 2"}
    others = "".join(input_layer(name, s) for name, s in shapes.items() if f'"{name}"' in layers)
    text = (
        f'{others} layer {{ name: "y" type: "SequenceAttention" bottom: "data" top: "y" {layers} }}'
    )
    net = small_net(text, "3 2 12")
    inputs = random_inputs(net)
    marks = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], np.float32).T
    given = {"lengths": np.array([0, 3], np.float32), "marks": marks}
    check(net, inputs | {k: v for k, v in given.items() if k in inputs})


def test_a_cache_is_refused():
    text = """layer { name: "y" type: "MultiHeadAttention" bottom: "data" bottom: "c" bottom: "f"
        top: "y" top: "d" multi_head_attention_param { expose_cache: true } }"""
    net = small_net(f"{input_layer('c', '2 5 24')} {input_layer('f', '1')} {text}", "2 5 12")
    with pytest.raises(pydl.Error, match="without expose_cache"):
        to_model(net)

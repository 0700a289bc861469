"""The same nets for ONNX Runtime and OpenVINO: an ONNX graph made from pydl's own description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch_peer import OMITTED, Blobs, Params, pair, params_of, scale_after

try:
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    helper = None
try:
    import onnxruntime
except ImportError:
    onnxruntime = None
try:
    import openvino
except ImportError:
    openvino = None

OPSET, IR_VERSION = 17, 8


def installed() -> list[str]:
    """The runtimes that can be timed."""
    runtimes = {"onnxruntime": onnxruntime, "openvino": openvino}
    return [name for name, module in runtimes.items() if module and helper]


def missing() -> list[str]:
    """What is not installed, and how to get it."""
    have = {"onnx": helper, "onnxruntime": onnxruntime, "openvino": openvino}
    return [
        f"{name} is not installed and not timed; pip install {name}"
        for name, module in have.items()
        if not module
    ]


def onnx_model(
    layers: Sequence[Params], weights: Mapping[str, Blobs], inputs: Mapping[str, np.ndarray]
) -> bytes:
    """The serialized graph of a net in its test phase; its input "data", its output "output".

    Args:
        layers: of a NetSpec, as plain data, those of the TEST phase.
        weights: each layer's blobs, in Caffe's order.
        inputs: arrays by name; integers for an Embed layer.
    """
    graph = _Graph(weights)
    skip = None
    for i, layer in enumerate(layers):
        if layer["type"] in OMITTED or layer is skip:
            continue
        skip = scale_after(layers, i)
        graph.add(layer, skip)
    return graph.serialize(inputs["data"])


class _Graph:
    """Nodes and constants; blobs that are written in place get a new name for each version."""

    def __init__(self, weights: Mapping[str, Blobs]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._current: dict[str, str] = {"data": "data"}
        self._last = "data"

    def add(self, layer: Params, scale: Params | None) -> None:
        names = [layer["name"], *([scale["name"]] if scale else [])]
        blobs = [blob for name in names for blob in self._weights.get(name, ())]
        bottoms = [self._current[b] for b in layer["bottom"] if b != "cont"]
        result = MAKERS[layer["type"]](self, params_of(layer), bottoms, blobs)
        self._current[layer["top"][0]] = self._last = result

    def node(self, op: str, bottoms: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; returns the name of its first output."""
        name = f"{op}_{len(self._nodes)}"
        tops = [name, *("" for _ in range(outputs - 1))]
        self._nodes.append(helper.make_node(op, list(bottoms), tops, name, **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def constants(self, arrays: Sequence[np.ndarray]) -> list[str]:
        return [self.constant(array) for array in arrays]

    def serialize(self, data: np.ndarray) -> bytes:
        self._nodes.append(helper.make_node("Identity", [self._last], ["output"]))
        kind = TensorProto.FLOAT if data.dtype == np.float32 else TensorProto.INT64
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("data", kind, data.shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
            self._constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION
        ).SerializeToString()


def _convolution(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    return g.node(
        "Conv",
        bottoms + g.constants(blobs),
        kernel_shape=blobs[0].shape[2:],
        pads=pair(p, "pad", 0) * 2,
        strides=pair(p, "stride"),
        dilations=pair(p, "dilation"),
        group=p.get("group", 1),
    )


def _pooling(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    if p.get("global_pooling"):
        return g.node("GlobalAveragePool", bottoms)
    average = p.get("pool") == "AVE"
    return g.node(
        "AveragePool" if average else "MaxPool",
        bottoms,
        kernel_shape=pair(p, "kernel_size"),
        strides=pair(p, "stride"),
        pads=pair(p, "pad", 0) * 2,
        ceil_mode=1,
        **({"count_include_pad": 1} if average else {}),
    )


def _inner_product(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    if p.get("axis", 1) == 1:
        flat = g.node("Flatten", bottoms, axis=1)
        return g.node("Gemm", [flat, *g.constants(blobs)], transB=1)
    return _linear(g, bottoms, *blobs)


def _linear(g: _Graph, bottoms: Sequence[str], weight: np.ndarray, bias: np.ndarray) -> str:
    product = g.node("MatMul", [*bottoms, g.constant(weight.T)])
    return g.node("Add", [product, g.constant(bias)])


def _lrn(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    size, alpha, beta, k = (
        p.get(name, default)
        for name, default in (("local_size", 5), ("alpha", 1.0), ("beta", 0.75), ("k", 1.0))
    )
    return g.node("LRN", bottoms, size=size, alpha=alpha, beta=beta, bias=k)


def _batch_norm(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    mean, variance, factor, *scale = blobs
    gamma, beta = scale or (np.ones_like(mean), np.zeros_like(mean))
    constants = g.constants([gamma, beta, mean / factor, variance / factor])
    return g.node("BatchNormalization", bottoms + constants, epsilon=p.get("eps", 1e-5))


def _embed(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    return g.node("Gather", [g.constant(blobs[0]), *bottoms])


def _lstm(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    """ONNX's gates are i, o, f, g; Caffe's i, f, o, g."""
    x_weights, bias, h_weights = (_reorder_gates(blob)[None] for blob in blobs)
    biases = np.concatenate([bias, np.zeros_like(bias)], axis=1)
    constants = g.constants([x_weights, h_weights, biases])
    y = g.node("LSTM", bottoms + constants, hidden_size=p["num_output"])
    return g.node("Squeeze", [y, g.constant(np.array([1]))])


def _layer_norm(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    return g.node("LayerNormalization", bottoms + g.constants(blobs), epsilon=p.get("eps", 1e-5))


def _gelu(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    root, one, half = g.constants([np.float32(x) for x in (2**0.5, 1, 0.5)])
    erf = g.node("Erf", [g.node("Div", [*bottoms, root])])
    product = g.node("Mul", [*bottoms, g.node("Add", [erf, one])])
    return g.node("Mul", [product, half])


def _multi_head_attention(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    """Self-attention as exporters write it: the runtimes find it by this pattern."""
    in_weight, in_bias, out_weight, out_bias = blobs
    heads, channels = p.get("num_heads", 1), len(out_bias)
    split = g.constant(np.array([0, 0, heads, channels // heads]))
    q, k, v = (
        g.node("Transpose", [g.node("Reshape", [_linear(g, bottoms, w, b), split])], perm=order)
        for w, b, order in zip(
            np.split(in_weight, 3), np.split(in_bias, 3),
            ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True,
        )
    )  # fmt: skip
    root = g.constant(np.sqrt(np.float32(channels / heads)))
    scores = g.node("Div", [g.node("MatMul", [q, k]), root])
    if p.get("causal"):
        scores = _hide_later(g, scores, bottoms[0])
    values = g.node("MatMul", [g.node("Softmax", [scores], axis=-1), v])
    together = g.constant(np.array([0, 0, channels]))
    values = g.node("Reshape", [g.node("Transpose", [values], perm=(0, 2, 1, 3)), together])
    return _linear(g, [values], out_weight, out_bias)


def _hide_later(g: _Graph, scores: str, x: str) -> str:
    """Scores of keys behind the query become -infinity; x: (N, T, C)."""
    step = g.constant(np.array([1]))
    steps = g.node("Gather", [g.node("Shape", [x]), step])
    square = g.node("Concat", [steps, steps], axis=0)
    minus = helper.make_tensor("minus", TensorProto.FLOAT, [1], [-np.inf])
    hidden = g.node("ConstantOfShape", [square], value=minus)
    return g.node("Add", [scores, g.node("Trilu", [hidden, g.constant(np.array(1))], upper=1)])


def _positions(g: _Graph, p: Params, bottoms: list[str], blobs: Blobs) -> str:
    """Of sequences of max_length steps."""
    return g.node("Add", [*bottoms, g.constant(blobs[0])])


def _reorder_gates(blob: np.ndarray) -> np.ndarray:
    i, f, o, g = np.split(blob, 4)
    return np.concatenate([i, o, f, g])


MAKERS = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
    "BatchNorm": _batch_norm,
    "Embed": _embed,
    "LSTM": _lstm,
    "LayerNorm": _layer_norm,
    "GELU": _gelu,
    "MultiHeadAttention": _multi_head_attention,
    "PositionalEmbedding": _positions,
    "Eltwise": lambda g, p, bottoms, blobs: g.node("Add", bottoms),
    "Concat": lambda g, p, bottoms, blobs: g.node("Concat", bottoms, axis=p.get("axis", 1)),
    "ReLU": lambda g, p, bottoms, blobs: g.node("Relu", bottoms),
    "Dropout": lambda g, p, bottoms, blobs: bottoms[0],
    "Softmax": lambda g, p, bottoms, blobs: g.node("Softmax", bottoms, axis=p.get("axis", 1)),
}


class OnnxRuntime:
    """A serialized ONNX model in ONNX Runtime, with all of its graph optimizations."""

    def __init__(self, model: bytes, data: np.ndarray, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        self._inputs = {"data": data}

    def forward(self) -> np.ndarray:
        return self._session.run(None, self._inputs)[0]

    def call(self) -> Callable[[], object]:
        return self.forward


class OpenVino:
    """A serialized ONNX model in OpenVINO, compiled for latency."""

    def __init__(self, model: bytes, data: np.ndarray, threads: int, bf16: bool = False) -> None:
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(openvino.Tensor(data, shared_memory=True))

    def forward(self) -> np.ndarray:
        self._request.infer()
        return self._request.get_output_tensor().data

    def call(self) -> Callable[[], object]:
        return self.forward

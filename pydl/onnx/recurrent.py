"""LSTM, GRU, RNN and LSTMUnit.

Caffe's ``cont`` bottom can end a sequence at any step, which ONNX's own LSTM and RNN cannot: the
steps are the body of a Scan, over any number of them. Without ``expose_hidden`` each run of the
model begins with a state of zeros.
"""

from __future__ import annotations

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports


@exports("LSTM")
def lstm(g: Graph, layer: Layer) -> None:
    def step(h: str, c: str, x: str, cont: str) -> tuple[list[str], list[str]]:
        gates = g.op("Add", x, _product(g, g.op("Mul", h, cont), recurrent))
        c, h = _lstm_unit(g, c, gates, cont)
        return [h, c], [h]

    recurrent = g.weight(len(layer.blobs) - 1)  # (4 H, H)
    states = _start_states(g, layer, ["h", "c"])
    _run(g, layer, step, states, _input_products(g, layer))


@exports("GRU")
def gru(g: Graph, layer: Layer) -> None:
    def step(h: str, x: str, cont: str) -> tuple[list[str], list[str]]:
        h = g.op("Mul", h, cont)
        recurrent = g.op("Add", _product(g, h, weights), bias)  # of r, z, n
        r_x, z_x, n_x = g.ops("Split", x, axis=-1, num_outputs=3, outs=[None] * 3)
        r_h, z_h, n_h = g.ops("Split", recurrent, axis=-1, num_outputs=3, outs=[None] * 3)
        r = g.op("Sigmoid", g.op("Add", r_x, r_h))
        z = g.op("Sigmoid", g.op("Add", z_x, z_h))
        n = g.op("Tanh", g.op("Add", n_x, g.op("Mul", r, n_h)))
        h = g.op("Add", n, g.op("Mul", z, g.op("Sub", h, n)))
        return [h], [h]

    weights, bias = (g.weight(len(layer.blobs) - i) for i in (2, 1))
    _run(g, layer, step, _start_states(g, layer, ["h"]), _input_products(g, layer))


@exports("RNN")
def rnn(g: Graph, layer: Layer) -> None:
    # Hidden to output goes through tanh as well.
    def step(h: str, x: str, cont: str) -> tuple[list[str], list[str]]:
        h = g.op("Tanh", g.op("Add", x, _product(g, g.op("Mul", h, cont), recurrent)))
        return [h], [g.op("Tanh", g.op("Add", _product(g, h, to_output), output_bias))]

    recurrent, to_output, output_bias = (g.weight(len(layer.blobs) - i) for i in (3, 2, 1))
    _run(g, layer, step, _start_states(g, layer, ["h"]), _input_products(g, layer))


@exports("LSTMUnit")
def lstm_unit(g: Graph, layer: Layer) -> None:
    # c: (1, N, H)  gates: (1, N, 4 H)  cont: (1, N)
    c, gates, cont = layer.inputs
    cont = g.op("Unsqueeze", cont, [-1])
    _lstm_unit(g, c, gates, cont, layer.outputs)


def _lstm_unit(
    g: Graph, c: str, gates: str, cont: str, outs: tuple[str | None, ...] = (None, None)
) -> tuple[str, str]:
    """The next c and h. The gates are i, f, o, g; where cont is 0 the old c is forgotten."""
    i, f, o, new = g.ops("Split", gates, axis=-1, num_outputs=4, outs=[None] * 4)
    kept = g.op("Mul", g.op("Mul", g.op("Sigmoid", f), cont), c)
    written = g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new))
    c = g.op("Add", kept, written, out=outs[0])
    h = g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c), out=outs[1])
    return c, h


def _product(g: Graph, x: str, weights: str) -> str:
    """x (..., K) times weights (M, K), as InnerProduct does it."""
    return g.op("MatMul", x, g.op("Transpose", weights, perm=[1, 0]))


def _input_products(g: Graph, layer: Layer) -> str:
    """(T, N, M): the inputs of all steps, and the static one, through their weights."""
    x = g.reshape(layer.x, [0, 0, -1]) if len(layer.shape) != 3 else layer.x
    products = g.op("Add", _product(g, x, g.weight(0)), g.weight(1))
    if not _has_static(layer):
        return products
    static = g.op("Flatten", layer.inputs[2], axis=1)
    return g.op("Add", products, _product(g, static, g.weight(2)))


def _has_static(layer: Layer) -> bool:
    states = len(layer.tops) - 1 if layer.message.recurrent_param.expose_hidden else 0
    return len(layer.inputs) == 3 + states


def _start_states(g: Graph, layer: Layer, names: list[str]) -> list[str]:
    """(N, H) each: the last bottoms, or zeros."""
    if layer.message.recurrent_param.expose_hidden:
        return [g.op("Squeeze", x, [0]) for x in layer.inputs[-len(names) :]]
    shape = (layer.shape[1], layer.message.recurrent_param.num_output)
    return [g.constant(np.zeros(shape, np.float32), name) for name in names]


def _run(g: Graph, layer: Layer, step, states: list[str], x: str) -> None:
    cont = g.op("Unsqueeze", layer.inputs[1], [-1])  # (T, N, 1)
    backward = layer.message.recurrent_param.direction == "BACKWARD"
    if backward:  # step t goes on from step t + 1 where cont[t + 1] says so
        last = np.ones((1, layer.shape[1], 1), np.float32)
        later = g.op("Slice", cont, [1], [np.iinfo(np.int64).max], [0])
        cont = g.op("Concat", later, g.constant(last, "last"), axis=0)
    *last, _ = g.scan(step, states, [x, cont], outs=[layer.outputs[0]], backward=backward)
    for state, top in zip(last, layer.outputs[1:], strict=False):
        g.op("Unsqueeze", state, [0], out=top)

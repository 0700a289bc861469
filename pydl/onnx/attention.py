"""Attention, MultiHeadAttention, SequenceAttention and what tells them the places of steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer
from pydl.onnx.table import exports
from pydl.prototxt.message import Message


@exports("Attention")
def attention(g: Graph, layer: Layer) -> None:
    p = layer.message.attention_param
    if len(layer.inputs) <= 2:
        q, k, v = g.ops("Split", layer.x, axis=2, num_outputs=3, outs=[None] * 3)
    else:
        q, k, v = layer.inputs[:3]
    channels = layer.top_shapes[0][2]
    scale = p.scale if p.HasField("scale") else (channels / p.num_heads) ** -0.5
    _attend(g, layer, (q, k, v), p.num_heads, scale, p.causal, layer.outputs[0])


@exports("MultiHeadAttention")
def multi_head_attention(g: Graph, layer: Layer) -> None:
    p = layer.message.multi_head_attention_param
    if p.expose_cache:
        raise layer.fail("a sequence in parts has no ONNX form; export a net without expose_cache")
    parts = [None] * 3
    weights = g.ops("Split", g.weight(0), axis=0, num_outputs=3, outs=parts)
    biases = g.ops("Split", g.weight(1), axis=0, num_outputs=3, outs=parts) if p.bias_term else ()
    bottoms = layer.inputs[:3] if len(layer.inputs) > 2 else [layer.x] * 3
    q, k, v = (
        _linear(g, x, weights[i], biases[i] if biases else None) for i, x in enumerate(bottoms)
    )
    channels = layer.shape[2]
    if p.rotary_base:
        turn = _Rotary(channels // p.num_heads, p.num_heads, p.rotary_base, p.rotary_interleaved)
        tables = [turn.table(g, layer.shape[1], function) for function in (np.cos, np.sin)]
        q, k = (turn.rotate(g, x, *tables) for x in (q, k))
    values = _attend(g, layer, (q, k, v), p.num_heads, (channels / p.num_heads) ** -0.5, p.causal)
    out = (g.weight(2), g.weight(3)) if p.bias_term else (g.weight(1), None)
    _linear(g, values, *out, name=layer.outputs[0])


def _linear(g: Graph, x: str, weights: str, bias: str | None, name: str | None = None) -> str:
    turned = g.op("Transpose", weights, perm=[1, 0])
    if bias is None:
        return g.op("MatMul", x, turned, out=name)
    return g.op("Add", g.op("MatMul", x, turned), bias, out=name)


def _attend(
    g: Graph, layer: Layer, inputs: tuple[str, str, str], heads: int, scale: float, causal: bool,
    out: str | None = None,
) -> str:  # fmt: skip
    """Of q, k and v (N, T, C); its weights are the layer's second top."""
    orders = (0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)
    q, k, v = (
        g.op("Transpose", g.reshape(x, [0, 0, heads, -1]), perm=order)
        for x, order in zip(inputs, orders, strict=True)
    )
    scores = g.scaled(g.op("MatMul", q, k), scale)
    visible = _visible(g, layer, causal)
    weights = _softmax_of_seen(g, scores, visible)
    if len(layer.outputs) > 1:
        g.op("Identity", weights, out=layer.outputs[1])
    values = g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    return g.reshape(values, [0, 0, -1], out=out)


def _softmax_of_seen(g: Graph, scores: str, seen: str | None) -> str:
    """Over the last axis; 0 where nothing is seen at all."""
    if not seen:
        return g.op("Softmax", scores, axis=-1)
    weights = g.op("Softmax", g.op("Where", seen, scores, -1e30), axis=-1)
    return g.op("Mul", weights, g.cast(seen, "float"))


def _visible(g: Graph, layer: Layer, causal: bool) -> str | None:
    """Which keys a query sees, to be spread over (N, heads, T_q, T_k); None: all."""
    key = 1 if len(layer.inputs) > 2 else 0
    queries, keys = layer.shape[1], layer.bottom_shapes[key][1]
    seen = []
    if causal:
        seen.append(g.constant(np.tri(queries, keys, keys - queries, dtype=bool), "seen"))
    if len(layer.inputs) % 2 == 0:
        mask = layer.inputs[-1]
        if len(layer.bottom_shapes[-1]) == 1:
            lengths = g.op("Unsqueeze", mask, [1, 2, 3])
            seen.append(g.op("Less", np.arange(keys, dtype=np.float32), lengths))
        else:
            seen.append(g.op("Not", g.op("Equal", g.op("Unsqueeze", mask, [1, 2]), 0.0)))
    return g.op("And", *seen) if len(seen) == 2 else seen[0] if seen else None


@exports("SequenceAttention")
def sequence_attention(g: Graph, layer: Layer) -> None:
    # q: (T_q, N, C_q), k: (T_k, N, C_k), v: (T_k, N, C), scores: (N, T_q, T_k)
    q, k, *_ = layer.inputs
    v = layer.inputs[2 if len(layer.inputs) == 4 else 1]
    kind = layer.message.sequence_attention_param.score
    if kind == "ADDITIVE":
        of_query, of_key, of_both = (g.weight(i) for i in range(3))
        rows = g.op("Einsum", q, of_query, equation="qnc,ac->nqa")
        columns = g.op("Einsum", k, of_key, equation="knc,ac->nka")
        both = g.op("Add", g.op("Unsqueeze", rows, [2]), g.op("Unsqueeze", columns, [1]))
        scores = g.op("Einsum", g.op("Tanh", both), of_both, equation="nqka,ba->nqk")
    else:
        q = g.op("MatMul", q, g.weight(0)) if kind == "GENERAL" else q
        scores = g.op("Einsum", q, k, equation="qnc,knc->nqk")
    weights = _softmax_of_seen(g, scores, _seen_steps(g, layer))
    g.op("Einsum", weights, v, equation="nqk,knc->qnc", out=layer.outputs[0])
    if len(layer.outputs) > 1:
        g.op("Transpose", weights, perm=[1, 0, 2], out=layer.outputs[1])


def _seen_steps(g: Graph, layer: Layer) -> str | None:
    """(N, 1, T_k): which steps of the memory there are; None for all."""
    if len(layer.inputs) == 2:
        return None
    mask = layer.inputs[-1]
    if len(layer.bottom_shapes[-1]) == 1:
        steps = np.arange(layer.bottom_shapes[1][0], dtype=np.float32)
        return g.op("Less", steps, g.op("Unsqueeze", mask, [1, 2]))
    given = g.op("Unsqueeze", g.op("Transpose", mask, perm=[1, 0]), [1])
    return g.op("Not", g.op("Equal", given, 0.0))


@exports("PositionalEmbedding")
def positional_embedding(g: Graph, layer: Layer) -> None:
    p = layer.message.positional_embedding_param
    channels = layer.shape[2]
    if p.type == "LEARNED":
        rows = _rows(g, layer, p, lambda _: g.weight(0))
    else:
        pairs = np.arange(channels) // 2 * 2 / channels
        rows = _rows(g, layer, p, lambda n: g.constant(_sinusoids(n, pairs), "places"))
    g.op("Add", layer.x, rows, out=layer.outputs[0])


def _sinusoids(steps: int, pairs: np.ndarray) -> np.ndarray:
    """(steps, channels): sines in even channels, cosines in odd ones."""
    angles = np.arange(steps)[:, None] * 10000.0**-pairs
    even = np.arange(len(pairs)) % 2 == 0
    return np.where(even, np.sin(angles), np.cos(angles)).astype(np.float32)


@exports("RotaryEmbedding")
def rotary_embedding(g: Graph, layer: Layer) -> None:
    p = layer.message.rotary_embedding_param
    size = layer.shape[2] // p.num_heads
    turn = _Rotary(size, p.num_heads, p.base, p.interleaved)
    tables = [
        _rows(g, layer, p, lambda n, f=function: turn.table(g, n, f))
        for function in (np.cos, np.sin)
    ]
    turn.rotate(g, layer.x, *tables, out=layer.outputs[0])


class _Rotary:
    """Turns pairs of channels: y = x cos + x[partner] sin, the first sine of a pair negated."""

    def __init__(self, size: int, heads: int, base: float, interleaved: bool) -> None:
        channel, half = np.arange(size), size // 2
        if interleaved:
            pair, self._is_first, partner = channel // 2, channel % 2 == 0, channel ^ 1
        else:
            pair, self._is_first = channel % half, channel < half
            partner = (channel + half) % size
        self._rates = float(base) ** (-2 * pair / size)
        self._heads = heads
        self._partners = (np.arange(heads)[:, None] * size + partner).ravel()

    def table(self, g: Graph, steps: int, function: Callable) -> str:
        """Of the steps' angles (steps, channels): the cosines or the sines with their signs."""
        values = function(np.arange(steps)[:, None] * self._rates)
        if function is np.sin:
            values = np.where(self._is_first, -values, values)
        return g.constant(np.tile(values, (1, self._heads)).astype(np.float32), function.__name__)

    def rotate(self, g: Graph, x: str, cos: str, sin: str, out: str | None = None) -> str:
        swapped = g.op("Gather", x, self._partners, axis=2)
        return g.op("Add", g.op("Mul", x, cos), g.op("Mul", swapped, sin), out=out)


def _rows(g: Graph, layer: Layer, p: Message, table: Callable[[int], str]) -> str:
    """The rows of the layer's steps in a table of so many steps at least."""
    steps = layer.shape[1]
    if len(layer.inputs) == 1:
        rows = table(steps)
        return g.op("Slice", rows, [0], [steps], [0])
    if not p.max_length:
        raise layer.fail("its steps begin anywhere: give max_length, the end of its table")
    first = g.cast(g.reshape(layer.inputs[1], [1]), "int64")
    return g.op("Gather", table(p.max_length), g.op("Add", first, list(range(steps))), axis=0)

"""The parameters of a layer that a picture shows, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydl.prototxt import Message


def details(layer: Message) -> str:
    """Such as ``3x3 → 64, pad 1``; "" for types without telling parameters."""
    describe = _TYPES.get(layer.type)
    return describe(layer) if describe else ""


def _sizes(values: Iterable[int]) -> str:
    """``3x5``; one size stands for both axes of an image.

    >>> _sizes([3])
    '3x3'
    """
    values = list(values)
    return "x".join(map(str, values * 2 if len(values) == 1 else values))


def _window(message: Message, name: str, default: int) -> str:
    """The size of a window, stride or pad, in either of Caffe's forms; "" for the default."""
    height, width = (f"{name.removesuffix('_size')}_{axis}" for axis in "hw")
    if message.HasField(height) or message.HasField(width):
        values = [getattr(message, height), getattr(message, width)]
    else:
        given = getattr(message, name)
        values = [given] if isinstance(given, int) else list(given)
    return "" if all(value == default for value in values) else _sizes(values)


def _named(name: str, text: str) -> list[str]:
    same = set(text.split("x"))
    return [f"{name} {same.pop() if len(same) == 1 else text}"] if text else []


def _convolution(layer: Message) -> str:
    p = layer.convolution_param
    parts = [f"{_window(p, 'kernel_size', 0)} → {p.num_output}"]
    parts += _named("stride", _window(p, "stride", 1)) + _named("pad", _window(p, "pad", 0))
    if any(d != 1 for d in p.dilation):
        parts += _named("dilation", _sizes(p.dilation))
    return ", ".join(parts + ([f"group {p.group}"] if p.group != 1 else []))


def _pooling(layer: Message) -> str:
    p = layer.pooling_param
    if p.global_pooling:
        return f"{p.pool} global"
    parts = [f"{p.pool} {_window(p, 'kernel_size', 0)}"]
    return ", ".join(
        parts + _named("stride", _window(p, "stride", 1)) + _named("pad", _window(p, "pad", 0))
    )


def _outputs(param: str) -> Callable[[Message], str]:
    return lambda layer: f"→ {getattr(layer, param).num_output}"


def _heads(param: str) -> Callable[[Message], str]:
    return lambda layer: f"heads {getattr(layer, param).num_heads}"


def _score(layer: Message) -> str:
    p = layer.sequence_attention_param
    return f"{p.score}{f' → {p.num_hidden}' if p.num_hidden else ''}"


def _batch(param: str) -> Callable[[Message], str]:
    return lambda layer: f"batch {getattr(layer, param).batch_size}"


def _shapes(param: str) -> Callable[[Message], str]:
    return lambda layer: ", ".join("x".join(map(str, s.dim)) for s in getattr(layer, param).shape)


def _reshape(layer: Message) -> str:
    return "x".join(map(str, layer.reshape_param.shape.dim))


def _python(layer: Message) -> str:
    return f"{layer.python_param.module}.{layer.python_param.layer}"


_TYPES: dict[str, Callable[[Message], str]] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "DepthwiseConvolution": _convolution,
    "Pooling": _pooling,
    "InnerProduct": _outputs("inner_product_param"),
    "Embed": _outputs("embed_param"),
    "LSTM": _outputs("recurrent_param"),
    "RNN": _outputs("recurrent_param"),
    "GRU": _outputs("recurrent_param"),
    "RBM": lambda layer: f"→ {layer.rbm_param.num_hidden}",
    "Attention": _heads("attention_param"),
    "MultiHeadAttention": _heads("multi_head_attention_param"),
    "SequenceAttention": _score,
    "GroupNorm": lambda layer: f"groups {layer.group_norm_param.num_groups}",
    "Maxout": lambda layer: f"of {layer.maxout_param.pieces}",
    "Data": _batch("data_param"),
    "ImageData": _batch("image_data_param"),
    "HDF5Data": _batch("hdf5_data_param"),
    "MemoryData": _batch("memory_data_param"),
    "WindowData": _batch("window_data_param"),
    "Input": _shapes("input_param"),
    "DummyData": _shapes("dummy_data_param"),
    "Reshape": _reshape,
    "Python": _python,
    "Dropout": lambda layer: f"{layer.dropout_param.dropout_ratio:g}",
    "LRN": lambda layer: f"size {layer.lrn_param.local_size}",
    "Eltwise": lambda layer: layer.eltwise_param.operation,
}

#!/usr/bin/env python3
"""Checks and times single operations, each described in one line as oneDNN's benchdnn does.

    python benchmarks/ops.py "conv ic64ih56oc64kh3ph1 mb8"
    python benchmarks/ops.py --isa avx2 "conv g32ic32ih28oc32kh3ph1 mb8" "gemm m512n512k512"
    python benchmarks/ops.py --file cases.txt
    python benchmarks/ops.py --isa avx2 --ref "eltwise mb32ic64ih56 swish" "loss mb256ic1000 hinge"

Operations and what they take (widths are the heights if left out, the rest its default):

    conv     mb ic ih iw oc kh kw sh sw ph pw dh dw g     a dilation of 0 is none, as in oneDNN
    deconv   the same: ic and ih are what it reads, the smaller image
    conv3d   mb ic id ih iw oc kd kh kw sd sh sw pd ph pw
    gemm     m n k, and ta, tb for transposed operands
    image    ic ih iw oh ow and flip: what a data layer does to a picture of bytes, in one thread
    pool     mb ic ih iw kh kw sh sw ph pw, and max or avg
    pool3d   mb ic id ih iw kd kh kw sd sh sw pd ph pw, and max or avg
    im2col   mb ic ih iw kh kw sh sw ph pw dh dw
    spp      mb ic ih iw levels, and max or avg
    lrn      mb ic ih iw ls, across channels
    bn       mb ic ih iw, in training
    eltwise  mb ic ih iw, and relu, relu6, sigmoid, tanh, elu, abs, bnll, clip, exp, log, power,
             swish, hard_swish, mish, gelu, silu, softplus, leaky_relu, selu, glu, maxout,
             threshold, sum or prod
    softmax  mb ic
    loss     mb ic ih iw, and softmax, infogain, multinomial, sigmoid, hinge, squared_hinge,
             euclidean, smooth_l1, l1, huber, kl_div, focal, cosine, triplet, variation or
             contrastive
    ip       mb ic oc
    negsample mb ic oc k: one right word of oc and k drawn ones for each of mb vectors
    dropout  mb ic ih iw, and channels for whole ones
    layernorm mb t ic
    rmsnorm  mb t ic
    groupnorm mb ic ih iw g
    instancenorm mb ic ih iw
    gram     mb ic ih iw
    attention mb t ic heads, of queries, keys and values in one array, and causal
    mha      mb t ic heads, self-attention with its projections, and causal
    rotary   mb t ic heads
    seqattention  mb t ic, recurrent nets' attention of t queries to t keys, and additive, dot or
             general
    embed    mb t ic oc, of ic tokens
    rbm      mb ic oc, a step of contrastive divergence: the chain, then the gradients
    noise    mb ic, and gaussian, masking or salt_and_pepper
    vae      mb ic, and sample or kl
    lstm     mb t ic oc
    rnn      mb t ic oc
    gru      mb t ic oc
    lstmunit mb oc, one step
    argmax   mb ic ih iw k, the k largest channels
    correlation  mb ic ih iw d step, d pixels each way in steps, and subtract
    crop     mb ic ih iw oh ow, from the corner on
    ctc      mb t ic, with t / 5 labels each
    mvn      mb ic ih iw, and across for whole images
    reduce   mb ic ih iw, and sum, asum, sumsq or mean, to one value for each item
    reindex  mb ic ih iw, all items in a random order
    resample mb ic ih iw oh ow, and cubic
    slice    mb ic ih iw, into two halves of the channels
    tile     mb ic ih iw tiles, along the channels
    roipool  mb ic ih iw ph pw r: r regions of each image, of all sizes, at 1/16
    roialign the same, and n for the samples of a bin along each axis
    psroipool mb oc ih iw g r
    warp     mb ic ih iw, by a flow
    detect   mb p ic: output (boxes of p priors and ic classes), or their loss
    priorbox ic ih iw, six boxes for each pixel of an image 8 times as high
    permute  mb ic ih iw, to (mb, ih, iw, ic), as SSD does before it joins its outputs
    shuffle  mb ic ih iw g, of the channels of g groups
    interp   mb ic ih iw oh ow, between aligned corners
    accum    the same, and behind it images of that size
    l2norm   mb ic ih iw, of the channels of each pixel
    axpy     mb ic ih iw, with a factor for each channel
    reorg    mb ic ih iw s
    unpool   mb ic ih iw, by indices, to twice the height and width

and each the word bf16, for activations and their gradients in bfloat16.

Every implementation that takes a problem is compared with `ref`, the plain loops that define it:
the error is the length of the difference as a share of the length of the result. Its time stands
beside the better of PyTorch's two memory formats: `peer/pydl` above 1, pydl is faster; and with
--ref beside the time of `ref`.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bf16 import from_bf16, to_bf16

Arrays = Mapping[str, np.ndarray]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """One pass of an operation with one implementation, ready to run."""

    run: Callable[[], object]
    results: Callable[[], list[np.ndarray]]  # of the last run


@dataclass(frozen=True)
class Description:
    """An operation as its line says.

    >>> parse("conv ic64ih56oc64kh3ph1 mb8").numbers["kh"]
    3
    """

    family: str
    numbers: dict[str, int]
    words: frozenset[str]

    def get(self, key: str, default: int = 1) -> int:
        return self.numbers.get(key, default)

    def pair(self, letter: str, default: int) -> tuple[int, int]:
        """Of a height and a width: kh and kw, say."""
        height = self.get(f"{letter}h", default)
        return height, self.get(f"{letter}w", height)

    def need(self, *keys: str) -> list[int]:
        missing = [key for key in keys if key not in self.numbers]
        if missing:
            raise ValueError(f"{self.family} needs {', '.join(missing)}")
        return [self.numbers[key] for key in keys]


def parse(line: str) -> Description:
    """Raises ValueError, with the nearest valid name, for what is not known."""
    family, *tokens = line.split()
    _known("operation", family, FAMILIES)
    keys, words = KEYS[family]
    numbers: dict[str, int] = {}
    found = set()
    for token in tokens:
        parts = re.findall(r"([a-z]+)(\d+)", token)
        is_sizes = "".join(f"{key}{value}" for key, value in parts) == token
        if is_sizes and token not in ("bf16", *words):
            for key, value in parts:
                _known(f"size of {family}", key, keys)
                numbers[key] = int(value)
        else:
            _known(f"word of {family}", token, (*words, "bf16"))
            found.add(token)
    return Description(family, numbers, frozenset(found))


def _known(what: str, name: str, names: object) -> None:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(names) or 'none'}"
        raise ValueError(f'"{name}" is no {what}; {hint}')


# ---- convolution and products: kernels by the name of their implementation ----
class Conv:
    """Arrays as kernels/conv.h has them: images (mb, h, w, c), weights (oc, ic / g, kh, kw)."""

    passes = ("forward", "backward_data", "backward_weights")

    def __init__(self, d: Description) -> None:
        self.stride, self.pad = d.pair("s", 1), d.pair("p", 0)
        self.dilation = tuple(x + 1 for x in d.pair("d", 0))
        self.group, kernel = d.get("g"), d.pair("k", 1)
        ic, oc, size = self._sizes(d, kernel)
        self.shape = _kernels().ConvShape(
            d.get("mb"), ic, oc, self.group, size, kernel, self.stride, self.pad, self.dilation
        )
        random = np.random.default_rng(0)
        n, out = d.get("mb"), tuple(self.shape.out)
        self.bf16 = "bf16" in d.words
        self.x = random.standard_normal((n, *size, ic), np.float32)
        self.w = random.standard_normal((oc, ic // self.group, *kernel), np.float32)
        self.dy = random.standard_normal((n, *out, oc), np.float32)
        self._x, self._dy = (to_bf16(a) if self.bf16 else a for a in (self.x, self.dy))
        self.flops = self.shape.flops

    def _sizes(self, d: Description, kernel: Sizes) -> tuple[int, int, Sizes]:
        ic, ih, oc, _ = d.need("ic", "ih", "oc", "kh")
        return ic, oc, (ih, d.get("iw", ih))

    def implementations(self) -> list[str]:
        return _kernels().conv_implementations(self.shape)

    def ours(self, pass_: str, implementation: str) -> Task:
        conv = _kernels().Conv(self.shape, implementation)
        if pass_ == "forward":
            y = np.empty_like(self._dy)
            return Task(lambda: conv.forward(self._x, self.w, None, y), lambda: [y])
        if pass_ == "backward_data":
            dx = np.empty_like(self._x)
            return Task(lambda: conv.backward_data(self._dy, self.w, None, dx), lambda: [dx])
        dw = np.zeros_like(self.w)

        def gradient() -> list[np.ndarray]:
            dw.fill(0)  # it is added to
            conv.backward_weights(self._x, self._dy, dw, None)
            return [dw]

        return Task(lambda: conv.backward_weights(self._x, self._dy, dw, None), gradient)

    def theirs(self, pass_: str, memory_format: object) -> Callable[[], object]:
        from torch_peer import torch

        x, dy, w = self._tensors(memory_format)
        geometry = self.stride, self.pad, self.dilation
        if pass_ == "forward":
            conv = torch.nn.functional.conv2d

            def forward() -> torch.Tensor:
                with torch.inference_mode():
                    return conv(x, w, None, *geometry, self.group)

            return forward
        wanted = [pass_ == "backward_data", pass_ == "backward_weights", False]
        backward = torch.ops.aten.convolution_backward
        return lambda: backward(dy, x, w, None, *geometry, False, [0, 0], self.group, wanted)

    def _tensors(self, memory_format: object) -> Iterator[object]:
        """x, dy and w."""
        from torch_peer import torch

        dtype = torch.bfloat16 if self.bf16 else torch.float32
        for tensor in (_image(self.x), _image(self.dy), torch.from_numpy(self.w)):
            yield tensor.to(dtype, memory_format=memory_format)


class Deconv(Conv):
    """The convolution whose passes are those of a deconvolution, in other places."""

    def _sizes(self, d: Description, kernel: Sizes) -> tuple[int, int, Sizes]:
        ic, oc, size = super()._sizes(d, kernel)
        sides = zip(size, kernel, self.stride, self.pad, self.dilation, strict=True)
        return oc, ic, tuple(s * (i - 1) + g * (k - 1) + 1 - 2 * p for i, k, s, p, g in sides)

    def ours(self, pass_: str, implementation: str) -> Task:
        places = {"forward": "backward_data", "backward_data": "forward"}
        return super().ours(places.get(pass_, pass_), implementation)

    def theirs(self, pass_: str, memory_format: object) -> Callable[[], object]:
        from torch_peer import torch

        dy, x, w = self._tensors(memory_format)
        if pass_ == "forward":
            deconv = torch.nn.functional.conv_transpose2d

            def forward() -> torch.Tensor:
                with torch.inference_mode():
                    return deconv(x, w, None, self.stride, self.pad, 0, self.group, self.dilation)

            return forward
        wanted = [pass_ == "backward_data", pass_ == "backward_weights", False]
        geometry = self.stride, self.pad, self.dilation, True, [0, 0], self.group
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *geometry, wanted)


class Gemm:
    """C = op(A) op(B)."""

    passes = ("forward",)

    def __init__(self, d: Description) -> None:
        m, n, k = d.need("m", "n", "k")
        self.trans_a, self.trans_b = "ta" in d.words, "tb" in d.words
        random = np.random.default_rng(0)
        self.a = random.standard_normal((k, m) if self.trans_a else (m, k), np.float32)
        self.b = random.standard_normal((n, k) if self.trans_b else (k, n), np.float32)
        self.bf16 = "bf16" in d.words
        self._a, self._b = (to_bf16(x) if self.bf16 else x for x in (self.a, self.b))
        self._c = np.empty((m, n), self._a.dtype)
        self.flops = 2.0 * m * n * k

    def implementations(self) -> list[str]:
        return ["plain", "packed"]

    def ours(self, pass_: str, implementation: str) -> Task:
        c, kernels = np.empty_like(self._c), _kernels()
        if implementation == "packed":
            packed = kernels.Packed(self._b, self.trans_b, self.bf16)
            return Task(lambda: packed.gemm(self._a, c, self.trans_a), lambda: [c])
        run = kernels.gemm
        return Task(lambda: run(self._a, self._b, c, self.trans_a, self.trans_b), lambda: [c])

    def theirs(self, pass_: str, memory_format: object) -> Callable[[], object]:
        from torch_peer import torch

        dtype = torch.bfloat16 if self.bf16 else torch.float32
        a, b = (torch.from_numpy(x).to(dtype) for x in (self.a, self.b))
        a, b = a.T if self.trans_a else a, b.T if self.trans_b else b
        c = torch.empty(self._c.shape, dtype=dtype)
        return lambda: torch.matmul(a, b, out=c)


class Image:
    """What a data layer does to one picture: its middle, turned round, less a mean, scaled."""

    passes = ("forward",)
    flops = 0
    mean, scale = 128.0, 0.0078125

    def __init__(self, d: Description) -> None:
        c, h, oh = d.need("ic", "ih", "oh")
        (h, w), (oh, ow) = d.pair("i", h), d.pair("o", oh)
        self.top, self.left, self.out = (h - oh) // 2, (w - ow) // 2, (c, oh, ow)
        self.flip = "flip" in d.words
        self.x = np.random.default_rng(0).integers(0, 256, (c, h, w), np.uint8)

    def implementations(self) -> list[str]:
        return ["image"]

    def ours(self, pass_: str, implementation: str) -> Task:
        image = _kernels().image
        c, h, w = self.x.shape
        cut = image.ImageCut(
            channels=c, height=h, width=w, top=self.top, left=self.left,
            rows=self.out[1], columns=self.out[2], flip=self.flip,
        )  # fmt: skip
        means, y = np.full(c, self.mean, np.float32), np.empty(self.out, np.float32)
        return Task(lambda: image.bytes(cut, self.x, None, means, self.scale, y), lambda: [y])

    def theirs(self, pass_: str, memory_format: object) -> Callable[[], object]:
        from torch_peer import torch

        _, rows, columns = self.out
        x = torch.from_numpy(self.x)[:, self.top : self.top + rows, self.left : self.left + columns]
        turned = x.flip(-1) if self.flip else x
        return lambda: (turned.float() - self.mean) * self.scale


# ---- the rest: layers by themselves ----
class Layer:
    """An operation as the layer that does it."""

    passes = ("forward", "backward")

    def __init__(self, d: Description) -> None:
        from single import Ours, Single

        layer, shapes, *fixed = LAYERS[d.family](d)
        given = (("rois", _rois(d)),) if d.family in ROI_LAYERS else ()
        self._single = Single(
            layer, shapes, bf16="bf16" in d.words, fixed=tuple(fixed), given=given
        )
        ours = Ours(self._single)
        self.flops, self._name = ours.flops, ours.implementation
        if any(kind in layer for kind in ("Threshold", "ArgMax", "PriorBox")):
            self.passes = ("forward",)

    def implementations(self) -> list[str]:
        return [self._name or "layer"]

    def ours(self, pass_: str, implementation: str) -> Task:
        from single import Ours

        checked, timed = Ours(self._single), Ours(self._single)  # reading results slows a net down

        def results() -> list[np.ndarray]:
            found = checked.results()
            return [v for k, v in found.items() if k.startswith("y") == (pass_ == "forward")]

        return Task(getattr(timed, pass_), results)

    def has_peer(self) -> bool:
        import torch_peer

        return re.search(r'type: "(\w+)"', self._single.layer)[1] in torch_peer.MAKERS

    def theirs(self, pass_: str, memory_format: object) -> Callable[[], object]:
        from single import Ours, Theirs

        backward = pass_ == "backward"
        return getattr(Theirs(self._single, Ours(self._single), memory_format, backward), pass_)


class Detector:
    """SSD's last layers, as its nets have them: half of the scores are the background's, each image
    has five objects."""

    flops = 0.0

    def __init__(self, d: Description) -> None:
        images, priors, classes = d.need("mb", "p", "ic")
        self._is_loss = "loss" in d.words
        self.passes = ("forward", "backward") if self._is_loss else ("forward",)
        random = np.random.default_rng(0)
        center, size = random.uniform(0, 1, (priors, 2)), random.uniform(0.05, 0.4, (priors, 2))
        boxes = np.concatenate([center - size / 2, center + size / 2], axis=1)
        variances = np.tile([0.1, 0.1, 0.2, 0.2], (priors, 1))
        scores = random.standard_normal((images, priors, classes)) * 2
        scores[:, :, 0] += 6
        if not self._is_loss:
            scores = np.exp(scores)
            scores /= scores.sum(axis=2, keepdims=True)
        self._inputs = {
            "loc": random.standard_normal((images, priors * 4)),
            "conf": scores.reshape(images, -1),
            "prior": np.stack([boxes, variances]).reshape(1, 2, -1),
        }
        if self._is_loss:
            self._inputs["gt"] = self._objects(random, images, classes)

    @staticmethod
    def _objects(random: np.random.Generator, images: int, classes: int) -> np.ndarray:
        rows = np.zeros((1, 1, images * 5, 8))
        rows[..., 0] = np.repeat(np.arange(images), 5)
        rows[..., 1] = random.integers(1, classes, images * 5)
        rows[..., 3:5] = random.uniform(0, 0.6, (images * 5, 2))
        rows[..., 5:7] = rows[..., 3:5] + random.uniform(0.1, 0.4, (images * 5, 2))
        return rows

    def implementations(self) -> list[str]:
        return ["layer"]

    def has_peer(self) -> bool:
        return False  # torch has no such operations

    def ours(self, pass_: str, implementation: str) -> Task:
        core = self._net()._core
        for name, values in self._inputs.items():
            core.blob(name).data[...] = values
        last = core.layer_index("layer")
        core.forward()
        run = (
            (lambda: core.backward(last, last))
            if pass_ == "backward"
            else (lambda: core.forward(last, last))
        )
        return Task(run, lambda: self._results(core, pass_))

    def _results(self, core: Any, pass_: str) -> list[np.ndarray]:
        if pass_ == "backward":
            return [core.blob(name).diff for name in ("loc", "conf")]
        return [core.blob("y").data]

    def _net(self) -> Any:
        import pydl

        text = "force_backward: true "
        for name, values in self._inputs.items():
            dims = " ".join(f"dim: {d}" for d in values.shape)
            text += f"""layer {{ name: "{name}" type: "Input" top: "{name}"
                input_param {{ shape {{ {dims} }} }} }} """
        classes = self._inputs["conf"].shape[1] * 4 // self._inputs["loc"].shape[1]
        fields = f"num_classes: {classes} code_type: CENTER_SIZE"
        if self._is_loss:
            layer = f'type: "MultiBoxLoss" multibox_loss_param {{ {fields} }}'
        else:
            layer = f"""type: "DetectionOutput" detection_output_param {{ {fields} keep_top_k: 200
                nms_param {{ nms_threshold: 0.45 top_k: 400 }} confidence_threshold: 0.01 }}"""
        bottoms = " ".join(f'bottom: "{name}"' for name in self._inputs)
        text += f'layer {{ name: "layer" {bottoms} top: "y" {layer} }}'
        return pydl.Net(pydl.prototxt.parse(text), phase="TRAIN")


# A layer in prototxt, its bottoms' shapes, and shape and filler of each that gets no gradient.
Made = tuple[Any, ...]


def _images(d: Description) -> tuple[int, ...]:
    ic, ih = d.need("ic", "ih")
    return d.get("mb"), ic, ih, d.get("iw", ih)


def _pool(d: Description) -> Made:
    d.need("kh")
    fields = {"kernel": d.pair("k", 1), "stride": d.pair("s", 1), "pad": d.pair("p", 0)}
    sizes = " ".join(f"{name}_h: {h} {name}_w: {w}" for name, (h, w) in fields.items())
    kind = "AVE" if "avg" in d.words else "MAX"
    return f'type: "Pooling" pooling_param {{ pool: {kind} {sizes} }}', (_images(d),)


def _volumes(d: Description) -> tuple[int, ...]:
    ic, depth, ih = d.need("ic", "id", "ih")
    return d.get("mb"), ic, depth, ih, d.get("iw", ih)


def _window_3d(d: Description) -> dict[str, tuple[int, ...]]:
    """Sizes of a window along depth, height and width."""
    d.need("kd", "kh")
    defaults = {"kernel_size": ("k", 1), "stride": ("s", 1), "pad": ("p", 0)}
    return {
        name: (d.get(f"{letter}d", default), *d.pair(letter, default))
        for name, (letter, default) in defaults.items()
    }


def _conv3d(d: Description) -> Made:
    (oc,) = d.need("oc")
    sizes = " ".join(f"{name}: {n}" for name, axes in _window_3d(d).items() for n in axes)
    param = f'num_output: {oc} bias_term: false weight_filler {{ type: "xavier" }} {sizes}'
    return f'type: "Convolution" convolution_param {{ {param} }}', (_volumes(d),)


def _pool3d(d: Description) -> Made:
    sizes = " ".join(f"{name}: {n}" for name, axes in _window_3d(d).items() for n in axes)
    kind = "AVE" if "avg" in d.words else "MAX"
    return f'type: "Pooling" pooling_param {{ pool: {kind} {sizes} }}', (_volumes(d),)


def _im2col(d: Description) -> Made:
    d.need("kh")
    fields = {"kernel": d.pair("k", 1), "stride": d.pair("s", 1), "pad": d.pair("p", 0)}
    sizes = " ".join(f"{name}_h: {h} {name}_w: {w}" for name, (h, w) in fields.items())
    sizes += "".join(f" dilation: {x + 1}" for x in d.pair("d", 0))
    return f'type: "Im2col" convolution_param {{ {sizes} }}', (_images(d),)


def _spp(d: Description) -> Made:
    kind = "AVE" if "avg" in d.words else "MAX"
    param = f"spp_param {{ pyramid_height: {d.get('levels', 3)} pool: {kind} }}"
    return f'type: "SPP" {param}', (_images(d),)


def _lrn(d: Description) -> Made:
    size = d.get("ls", 5)
    param = f"lrn_param {{ local_size: {size} alpha: 0.0001 beta: 0.75 }}"
    return f'type: "LRN" {param}', (_images(d),)


ACTIVATIONS = {
    "relu": 'type: "ReLU"',
    "sigmoid": 'type: "Sigmoid"',
    "tanh": 'type: "TanH"',
    "elu": 'type: "ELU"',
    "abs": 'type: "AbsVal"',
    "bnll": 'type: "BNLL"',
    "clip": 'type: "Clip" clip_param { min: -1 max: 1 }',
    "exp": 'type: "Exp"',
    "log": 'type: "Log" log_param { scale: 0.1 shift: 2 }',
    "power": 'type: "Power" power_param { power: 1.5 scale: 0.1 shift: 2 }',
    "swish": 'type: "Swish"',
    "relu6": 'type: "ReLU6"',
    "hard_swish": 'type: "HardSwish"',
    "mish": 'type: "Mish"',
    "gelu": 'type: "GELU"',
    "silu": 'type: "SiLU"',
    "softplus": 'type: "Softplus"',
    "leaky_relu": 'type: "LeakyReLU"',
    "selu": 'type: "SELU"',
    "glu": 'type: "GLU" glu_param { axis: 1 }',
    "maxout": 'type: "Maxout"',
    "threshold": 'type: "Threshold"',
}


def _eltwise(d: Description) -> Made:
    for word, layer in ACTIVATIONS.items():
        if word in d.words:
            return layer, (_images(d),)
    operation = "PROD" if "prod" in d.words else "SUM"
    layer = f'type: "Eltwise" eltwise_param {{ operation: {operation} }}'
    return layer, (_images(d),) * 2


def _inner_product(d: Description) -> Made:
    ic, oc = d.need("ic", "oc")
    param = f'num_output: {oc} weight_filler {{ type: "xavier" }}'
    return f'type: "InnerProduct" inner_product_param {{ {param} }}', ((d.get("mb"), ic),)


def _sequences(d: Description) -> tuple[int, ...]:
    t, ic = d.need("t", "ic")
    return d.get("mb"), t, ic


def _attention(d: Description) -> Made:
    *rows, channels = _sequences(d)
    causal = str("causal" in d.words).lower()
    param = f"num_heads: {d.get('heads')} causal: {causal}"
    if d.family == "mha":
        param = f"multi_head_attention_param {{ {param} }}"
        return f'type: "MultiHeadAttention" {param}', ((*rows, channels),)
    return f'type: "Attention" attention_param {{ {param} }}', ((*rows, 3 * channels),)


def _rotary(d: Description) -> Made:
    param = f"rotary_embedding_param {{ num_heads: {d.get('heads')} interleaved: false }}"
    return f'type: "RotaryEmbedding" {param}', (_sequences(d),)


SCORES = ("additive", "dot", "general")


def _sequence_attention(d: Description) -> Made:
    batch, steps, channels = _sequences(d)
    score = next((word for word in SCORES if word in d.words), SCORES[0]).upper()
    layer = f'type: "SequenceAttention" sequence_attention_param {{ score: {score} }}'
    return layer, ((steps, batch, channels),) * 2


def _embed(d: Description) -> Made:
    tokens, channels = d.need("ic", "oc")
    param = f'input_dim: {tokens} num_output: {channels} weight_filler {{ type: "gaussian" }}'
    uniform = f'type: "uniform" min: 0 max: {tokens - 0.01}'  # tokens are cut to integers
    layer = f'type: "Embed" embed_param {{ {param} }}'
    return layer, (), ((d.get("mb"), d.get("t")), uniform)


def _rbm(d: Description) -> Made:
    ic, oc = d.need("ic", "oc")
    learns = 'top: "error" loss_weight: 0 loss_weight: 1'
    return f'type: "RBM" {learns} rbm_param {{ num_hidden: {oc} }}', ((d.get("mb"), ic),)


NOISES = ("gaussian", "masking", "salt_and_pepper")


def _noise(d: Description) -> Made:
    kind = next((word for word in NOISES if word in d.words), NOISES[0]).upper()
    return f'type: "Noise" noise_param {{ type: {kind} }}', (tuple(d.need("mb", "ic")),)


def _vae(d: Description) -> Made:
    kind = "GaussianKLLoss" if "kl" in d.words else "GaussianSampling"
    return f'type: "{kind}"', (tuple(d.need("mb", "ic")),) * 2


def _negative_sampling(d: Description) -> Made:
    mb, size, words = d.need("mb", "ic", "oc")
    fields = f"num_output: {words} negatives: {d.get('k', 5)} weight_filler {{ type: 'gaussian' }}"
    targets = ((mb,), f'type: "uniform" min: 0 max: {words - 0.01}')
    layer = f'type: "NegativeSamplingLoss" negative_sampling_loss_param {{ {fields} }}'
    return layer, ((mb, size),), targets


def _dropout(d: Description) -> Made:
    shared = "shared_axis: 2 shared_axis: 3" if "channels" in d.words else ""
    return f'type: "Dropout" dropout_param {{ {shared} }}', (_images(d),)


def _recurrent(d: Description) -> Made:
    t, ic, oc = d.need("t", "ic", "oc")
    fillers = "weight_filler { type: 'uniform' min: -0.08 max: 0.08 } bias_filler { value: 0 }"
    steps = (t, d.get("mb"))
    layer = f'type: "{d.family.upper()}" recurrent_param {{ num_output: {oc} {fillers} }}'
    return layer, ((*steps, ic),), (steps, GOES_ON)


def _lstm_unit(d: Description) -> Made:
    (oc,) = d.need("oc")
    shapes = (1, d.get("mb"), oc), (1, d.get("mb"), 4 * oc)
    return 'type: "LSTMUnit" top: "h"', shapes, ((1, d.get("mb")), GOES_ON)


GOES_ON = 'type: "constant" value: 1'


def _argmax(d: Description) -> Made:
    return f'type: "ArgMax" argmax_param {{ axis: 1 top_k: {d.get("k")} }}', (_images(d),)


def _correlation(d: Description) -> Made:
    most, step = d.get("d", 4), d.get("step")
    kind = "SUBTRACT" if "subtract" in d.words else "MULTIPLY"
    param = f"kernel_size: 1 max_displacement: {most} pad: {most} stride_2: {step}"
    layer = f'type: "Correlation" correlation_param {{ {param} correlation_type: {kind} }}'
    return layer, (_images(d),) * 2


def _ctc(d: Description) -> Made:
    t, ic = d.need("t", "ic")
    labels = ((d.get("mb"), t // 5), f'type: "uniform" min: 1 max: {ic - 0.01}')
    return 'type: "CtcLoss"', ((t, d.get("mb"), ic),), labels


def _resample(d: Description) -> Made:
    h, w = d.pair("o", 1)
    kind = "CUBIC" if "cubic" in d.words else "LINEAR"
    param = f"height: {h} width: {w} type: {kind}"
    return f'type: "Resample" resample_param {{ {param} }}', (_images(d),)


def _warp(d: Description) -> Made:
    images = _images(d)
    return 'type: "FlowWarp"', (images, (images[0], 2, *images[2:]))


def _crop(d: Description) -> Made:
    return 'type: "Crop"', (_images(d),), ((1, 1, *d.pair("o", 1)), GOES_ON)


def _mvn(d: Description) -> Made:
    across = str("across" in d.words).lower()
    return f'type: "MVN" mvn_param {{ across_channels: {across} }}', (_images(d),)


SUMS = ("sum", "asum", "sumsq", "mean")


def _reduce(d: Description) -> Made:
    operation = next((word for word in SUMS if word in d.words), "sum").upper()
    param = f"operation: {operation} axis: 1"
    return f'type: "Reduction" reduction_param {{ {param} }}', (_images(d),)


def _reindex(d: Description) -> Made:
    images = _images(d)
    numbers = images[:1], f'type: "uniform" max: {images[0] - 0.01}'
    return 'type: "BatchReindex"', (images,), numbers


def _tile(d: Description) -> Made:
    return f'type: "Tile" tile_param {{ tiles: {d.get("tiles", 2)} }}', (_images(d),)


def _roi(d: Description) -> Made:
    h, w = d.pair("p", 7)
    param, sizes = "roi_pooling_param", f"pooled_h: {h} pooled_w: {w} spatial_scale: 0.0625"
    if d.family == "roialign":
        param, sizes = "roi_align_param", f"{sizes} sampling_ratio: {d.get('n', 2)}"
    return f"{ROI_LAYERS[d.family]} {param} {{ {sizes} }}", (_images(d),)


def _psroi(d: Description) -> Made:
    oc, ih = d.need("oc", "ih")
    group = d.get("g", 7)
    sizes = f"output_dim: {oc} group_size: {group} spatial_scale: 0.0625"
    images = d.get("mb"), oc * group * group, ih, d.get("iw", ih)
    return f"{ROI_LAYERS[d.family]} psroi_pooling_param {{ {sizes} }}", (images,)


def _rois(d: Description) -> np.ndarray:
    """[batch item, x1, y1, x2, y2] of regions of all sizes, of an image 16 times the bottom's."""
    random, (ih,) = np.random.default_rng(2), d.need("ih")
    size, images, count = 16 * np.array([d.get("iw", ih), ih]), d.get("mb"), d.get("r", 128)
    corners = np.sort(random.random((images * count, 2, 2)), axis=1) * (size - 1)
    items = np.repeat(np.arange(images), count)[:, None]
    return np.hstack([items, corners.reshape(-1, 4)]).astype(np.float32)


ROI_LAYERS = {
    family: f'type: "{kind}" bottom: "rois" propagate_down: false'
    for family, kind in (
        ("roipool", "ROIPooling"), ("roialign", "ROIAlign"), ("psroipool", "PSROIPooling")
    )
}  # fmt: skip


def _interp(d: Description) -> Made:
    d.need("oh")
    h, w = d.pair("o", 1)
    return f'type: "Interp" interp_param {{ height: {h} width: {w} }}', (_images(d),)


def _accum(d: Description) -> Made:
    d.need("oh")
    images = _images(d)
    return 'type: "Accum"', (images, (*images[:2], *d.pair("o", 1)))


def _l2norm(d: Description) -> Made:
    param = "across_spatial: false channel_shared: false scale_filler { value: 20 }"
    return f'type: "Normalize" norm_param {{ {param} }}', (_images(d),)


def _shuffle(d: Description) -> Made:
    param = f"shuffle_channel_param {{ group: {d.get('g', 2)} }}"
    return f'type: "ShuffleChannel" {param}', (_images(d),)


def _axpy(d: Description) -> Made:
    images = _images(d)
    return 'type: "Axpy"', ((*images[:2], 1, 1), images, images)


def _unpool(d: Description) -> Made:
    images = _images(d)
    places = f'type: "uniform" max: {4 * images[2] * images[3] - 0.01}'
    return 'type: "Upsample"', (images,), (images, places)


def _priorbox(d: Description) -> Made:
    (*_, ih, iw) = images = _images(d)
    sizes = "min_size: 60 max_size: 111 aspect_ratio: 2 aspect_ratio: 3 flip: true"
    shapes = (images, (1, 3, 8 * ih, 8 * iw))
    return f'type: "PriorBox" prior_box_param {{ {sizes} }}', shapes


LOSSES = {
    "softmax": 'type: "SoftmaxWithLoss"',
    "infogain": 'type: "InfogainLoss"',
    "multinomial": 'type: "MultinomialLogisticLoss"',
    "sigmoid": 'type: "SigmoidCrossEntropyLoss"',
    "hinge": 'type: "HingeLoss"',
    "squared_hinge": 'type: "HingeLoss" hinge_loss_param { norm: L2 }',
    "euclidean": 'type: "EuclideanLoss"',
    "smooth_l1": 'type: "SmoothL1Loss"',
    "l1": 'type: "L1Loss"',
    "huber": 'type: "HuberLoss"',
    "kl_div": 'type: "KLDivLoss"',
    "focal": 'type: "FocalLoss"',
    "cosine": 'type: "CosineEmbeddingLoss"',
    "triplet": 'type: "TripletLoss"',
    "variation": 'type: "TotalVariationLoss"',
    "contrastive": 'type: "ContrastiveLoss"',
}


def _loss(d: Description) -> Made:
    mb, ic = d.need("mb", "ic")
    image = (d.get("ih"), d.get("iw", d.get("ih"))) if "ih" in d.numbers else ()
    word = next((word for word in LOSSES if word in d.words), "softmax")
    layer, scores = f"{LOSSES[word]} loss_weight: 0", (mb, ic, *image)  # "after" gives gradients
    uniform = f'type: "uniform" min: 0 max: {ic - 0.01}'  # labels are cut to integers
    if word in ("l1", "huber", "euclidean", "smooth_l1", "triplet"):
        return layer, (scores,) * (3 if word == "triplet" else 2)
    if word == "variation":
        return layer, (scores,)
    if word == "cosine":
        return layer, (scores,) * 2, ((mb,), "value: 1")
    if word == "contrastive":
        pairs = ((mb,), 'type: "uniform" min: 0 max: 1.99')
        return layer, (scores,) * 2, pairs
    if word in ("sigmoid", "focal", "kl_div"):
        return layer, (scores,), (scores, 'type: "uniform"')
    per_position = word in ("softmax", "infogain")
    labels = ((mb, *image) if per_position else (mb,), uniform)
    weights = (((ic, ic), 'type: "uniform"'),) if word == "infogain" else ()
    return layer, (scores,), labels, *weights


LAYERS: dict[str, Callable[[Description], Made]] = {
    "pool": _pool,
    "conv3d": _conv3d,
    "pool3d": _pool3d,
    "im2col": _im2col,
    "spp": _spp,
    "lrn": _lrn,
    "bn": lambda d: ('type: "BatchNorm"', (_images(d),)),
    "eltwise": _eltwise,
    "softmax": lambda d: ('type: "Softmax"', (tuple(d.need("mb", "ic")),)),
    "ip": _inner_product,
    "negsample": _negative_sampling,
    "dropout": _dropout,
    "layernorm": lambda d: ('type: "LayerNorm"', (_sequences(d),)),
    "rmsnorm": lambda d: ('type: "RMSNorm"', (_sequences(d),)),
    "groupnorm": lambda d: (
        f'type: "GroupNorm" group_norm_param {{ num_groups: {d.get("g", 32)} }}', (_images(d),)),
    "instancenorm": lambda d: ('type: "InstanceNorm"', (_images(d),)),
    "gram": lambda d: ('type: "Gram"', (_images(d),)),
    "attention": _attention,
    "mha": _attention,
    "rotary": _rotary,
    "seqattention": _sequence_attention,
    "embed": _embed,
    "rbm": _rbm,
    "noise": _noise,
    "vae": _vae,
    "loss": _loss,
    "lstm": _recurrent,
    "rnn": _recurrent,
    "gru": _recurrent,
    "lstmunit": _lstm_unit,
    "argmax": _argmax,
    "correlation": _correlation,
    "crop": _crop,
    "ctc": _ctc,
    "mvn": _mvn,
    "reduce": _reduce,
    "reindex": _reindex,
    "resample": _resample,
    "slice": lambda d: ('type: "Slice" top: "rest"', (_images(d),)),
    "tile": _tile,
    "roipool": _roi,
    "roialign": _roi,
    "psroipool": _psroi,
    "warp": _warp,
    "permute": lambda d: (
        'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }', (_images(d),)),
    "shuffle": _shuffle,
    "interp": _interp,
    "accum": _accum,
    "l2norm": _l2norm,
    "axpy": _axpy,
    "reorg": lambda d: (
        f'type: "Reorg" reorg_param {{ stride: {d.get("s", 2)} }}', (_images(d),)),
    "unpool": _unpool,
    "priorbox": _priorbox,
}  # fmt: skip
FAMILIES = {
    "conv": Conv,
    "deconv": Deconv,
    "gemm": Gemm,
    "image": Image,
    "detect": Detector,
    **dict.fromkeys(LAYERS, Layer),
}
IMAGES = ("mb", "ic", "ih", "iw")
WINDOW = ("kh", "kw", "sh", "sw", "ph", "pw")
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # sizes and words
    "conv": ((*IMAGES, *WINDOW, "oc", "dh", "dw", "g"), ()),
    "deconv": ((*IMAGES, *WINDOW, "oc", "dh", "dw", "g"), ()),
    "gemm": (("m", "n", "k"), ("ta", "tb")),
    "image": (("ic", "ih", "iw", "oh", "ow"), ("flip",)),
    "detect": (("mb", "p", "ic"), ("output", "loss")),
    "pool": ((*IMAGES, *WINDOW), ("max", "avg")),
    "conv3d": ((*IMAGES, *WINDOW, "oc", "id", "kd", "sd", "pd"), ()),
    "pool3d": ((*IMAGES, *WINDOW, "id", "kd", "sd", "pd"), ("max", "avg")),
    "im2col": ((*IMAGES, *WINDOW, "dh", "dw"), ()),
    "spp": ((*IMAGES, "levels"), ("max", "avg")),
    "lrn": ((*IMAGES, "ls"), ()),
    "bn": (IMAGES, ()),
    "eltwise": (IMAGES, (*ACTIVATIONS, "sum", "prod")),
    "softmax": (("mb", "ic"), ()),
    "ip": (("mb", "ic", "oc"), ()),
    "negsample": (("mb", "ic", "oc", "k"), ()),
    "dropout": (IMAGES, ("channels",)),
    "layernorm": (("mb", "t", "ic"), ()),
    "rmsnorm": (("mb", "t", "ic"), ()),
    "groupnorm": ((*IMAGES, "g"), ()),
    "instancenorm": (IMAGES, ()),
    "gram": (IMAGES, ()),
    "attention": (("mb", "t", "ic", "heads"), ("causal",)),
    "mha": (("mb", "t", "ic", "heads"), ("causal",)),
    "rotary": (("mb", "t", "ic", "heads"), ()),
    "seqattention": (("mb", "t", "ic"), SCORES),
    "embed": (("mb", "t", "ic", "oc"), ()),
    "rbm": (("mb", "ic", "oc"), ()),
    "noise": (("mb", "ic"), NOISES),
    "vae": (("mb", "ic"), ("sample", "kl")),
    "loss": (IMAGES, tuple(LOSSES)),
    "lstm": (("mb", "t", "ic", "oc"), ()),
    "rnn": (("mb", "t", "ic", "oc"), ()),
    "gru": (("mb", "t", "ic", "oc"), ()),
    "lstmunit": (("mb", "oc"), ()),
    "argmax": ((*IMAGES, "k"), ()),
    "correlation": ((*IMAGES, "d", "step"), ("subtract",)),
    "crop": ((*IMAGES, "oh", "ow"), ()),
    "ctc": (("mb", "t", "ic"), ()),
    "mvn": (IMAGES, ("across",)),
    "reduce": (IMAGES, SUMS),
    "reindex": (IMAGES, ()),
    "resample": ((*IMAGES, "oh", "ow"), ("cubic",)),
    "slice": (IMAGES, ()),
    "tile": ((*IMAGES, "tiles"), ()),
    "roipool": ((*IMAGES, "ph", "pw", "r"), ()),
    "roialign": ((*IMAGES, "ph", "pw", "r", "n"), ()),
    "psroipool": (("mb", "oc", "ih", "iw", "g", "r"), ()),
    "warp": (IMAGES, ()),
    "permute": (IMAGES, ()),
    "shuffle": ((*IMAGES, "g"), ()),
    "interp": ((*IMAGES, "oh", "ow"), ()),
    "accum": ((*IMAGES, "oh", "ow"), ()),
    "l2norm": (IMAGES, ()),
    "axpy": (IMAGES, ()),
    "reorg": ((*IMAGES, "s"), ()),
    "unpool": (IMAGES, ()),
    "priorbox": (IMAGES, ()),
}


# ---- running them ----
def rows(line: str, isa: str, seconds: float, beside_ref: bool = False) -> Iterator[list[str]]:
    """Checks and times what a line describes: a row of text for each pass and implementation."""
    from check import distance
    from timing import best

    description = parse(line)
    operation = FAMILIES[description.family](description)
    names = [name for name in operation.implementations() if name != "ref"] or ["ref"]
    for pass_ in operation.passes:
        want, ref = _reference(operation, pass_, isa, seconds if beside_ref else 0)
        tasks = {name: operation.ours(pass_, name) for name in names}
        errors = {}
        for name, task in tasks.items():
            task.run()
            errors[name] = max(map(distance, map(as_float, task.results()), want), default=0.0)
        times = best({name: t.run for name, t in tasks.items()} | _peers(operation, pass_), seconds)
        peer = min((ms for side, ms in times.items() if side not in tasks), default=None)
        for name in names:
            ms = times[name]
            rate = f"{operation.flops / ms / 1e6:.0f}" if operation.flops else "-"
            beside = [f"{peer:.3f}", f"{peer / ms:.2f}"] if peer else ["-", "-"]
            times_ref = f"{ref / ms:.1f}" if ref else "-"
            yield [line, pass_, name, f"{ms:.3f}", rate, f"{errors[name]:.1e}", *beside, times_ref]


def _reference(
    operation: object, pass_: str, isa: str, seconds: float
) -> tuple[list[np.ndarray], float | None]:
    """What `ref` computes, and its milliseconds if it is given time."""
    from timing import best

    kernels = _kernels()
    kernels.set_isa("ref")
    try:
        task = operation.ours(pass_, operation.implementations()[-1])
        task.run()
        found = [np.array(as_float(values)) for values in task.results()]
        return found, best({"ref": task.run}, seconds)["ref"] if seconds else None
    finally:
        kernels.set_isa(isa)


def _peers(operation: object, pass_: str) -> dict[str, Callable[[], object]]:
    from torch_peer import torch

    if torch is None:
        return {}
    formats = {"torch": torch.contiguous_format}
    if isinstance(operation, Layer | Detector) and not operation.has_peer():
        return {}
    if not isinstance(operation, Gemm | Image):
        formats["torch channels_last"] = torch.channels_last
    return {name: operation.theirs(pass_, form) for name, form in formats.items()}


def as_float(array: np.ndarray) -> np.ndarray:
    """float32 of bfloat16 or of float32."""
    if array.dtype != np.uint16:
        return array
    return from_bf16(array)


def _image(array: np.ndarray) -> object:
    """(n, h, w, c) in memory as a tensor indexed (n, c, h, w)."""
    from torch_peer import torch

    return torch.from_numpy(array).permute(0, 3, 1, 2)


def _kernels() -> object:
    from pydl import _core

    return _core.kernels


HEADER = ["", "pass", "implementation", "ms", "GFLOP/s", "error", "torch ms", "peer/pydl",
          "ref/pydl"]  # fmt: skip
WIDTHS = (44, 18, 20, 10, 9, 9, 10, 10, 10)


def _print(cells: list[str]) -> None:
    padded = (
        f"{c:<{w}}" if i < 3 else f"{c:>{w}}"
        for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True))
    )
    print("".join(padded).rstrip(), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", nargs="*", metavar="OPERATION", help="described as above")
    parser.add_argument("--file", type=Path, help="operations, one a line; # begins a comment")
    parser.add_argument("--isa", help="an instruction set below the machine's")
    parser.add_argument("--ref", action="store_true", help="time the reference as well")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each timing")
    chosen = parser.parse_args(arguments)
    lines = [*chosen.lines, *_lines_of(chosen.file)]
    if not lines:
        parser.error('nothing to do; an example: "conv ic64ih56oc64kh3ph1 mb8"')
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)  # read when the libraries are loaded
    from run import set_threads

    from pydl import Error

    set_threads(chosen.threads)
    _print(HEADER)
    try:
        isa = chosen.isa or _kernels().isa()
        _kernels().set_isa(isa)
        for line in lines:
            for row in rows(line, isa, chosen.seconds, chosen.ref):
                _print(row)
    except (Error, ValueError) as error:
        sys.exit(f"ops.py: {error}")


def _lines_of(file: Path | None) -> list[str]:
    lines = file.read_text().splitlines() if file else []
    return [text for line in lines if (text := line.split("#")[0].strip())]


if __name__ == "__main__":
    main()

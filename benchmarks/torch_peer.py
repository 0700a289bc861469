"""The same nets in PyTorch: modules made from pydl's own description of a net and its weights."""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

try:
    import torch
    from torch import nn
except ImportError:  # only the others are timed then
    torch = None

MISSING = "torch is not installed and not timed; pip install torch==2.13.0"
OMITTED = ("Input", "SoftmaxWithLoss")

Params = Mapping[str, Any]
Blobs = Sequence[np.ndarray]


def params_of(layer: Params) -> dict[str, Any]:
    """All of a layer's own parameters, whatever message they are in."""
    merged: dict[str, Any] = {}
    for message in layer.get("params", {}).values():
        merged.update(message)
    return merged


def pair(p: Params, name: str, default: int = 1) -> tuple[int, ...]:
    """A size for height and width, however Caffe's prototxt gave it; or for each of three axes.

    >>> pair({"stride": [2]}, "stride"), pair({"kernel_h": 1, "kernel_w": 3}, "kernel_size")
    ((2, 2), (1, 3))
    """
    value = p.get(name) or default
    values = value if isinstance(value, list) else [value]
    if len(values) > 2:
        return tuple(values)
    axis = name.removesuffix("_size")
    return p.get(f"{axis}_h", values[0]), p.get(f"{axis}_w", values[-1])


def scale_after(layers: Sequence[Params], index: int) -> Params | None:
    """The Scale layer that completes Caffe's BatchNorm of the same blob, as in its ResNets."""
    after = layers[index + 1] if index + 1 < len(layers) else {}
    if layers[index]["type"] == "BatchNorm" and after.get("type") == "Scale":
        return after if after["bottom"] == layers[index]["top"] else None
    return None


if torch:

    class Model(nn.Module):
        """A net's layers, run in order over its blobs; losses left out.

        Args:
            layers: of a NetSpec, as plain data, those of one phase only.
            weights: each layer's blobs, in Caffe's order.
        """

        def __init__(self, layers: Sequence[Params], weights: Mapping[str, Blobs]) -> None:
            super().__init__()
            self.parts = nn.ModuleDict()
            self.steps: list[tuple[str, list[str], str]] = []
            self.rates: dict[str, list[tuple[float, float]]] = {}
            self.readers = Counter(blob for layer in layers for blob in layer.get("bottom", ()))
            skip = None
            for i, layer in enumerate(layers):
                if layer["type"] in OMITTED or layer is skip:
                    continue
                skip = scale_after(layers, i)
                self._add(layer, skip, weights)
            self.output = self.steps[-1][2]

        def forward(self, **blobs: torch.Tensor) -> torch.Tensor:
            for name, bottoms, top in self.steps:
                blobs[top] = self.parts[name](*(blobs[b] for b in bottoms))
            return blobs[self.output]

        def blobs(self) -> dict[str, list[np.ndarray]]:
            """Learnable blobs by layer, in Caffe's order and shapes."""
            return {
                name: [p.detach().float().numpy() for p in part.parameters() if p.requires_grad]
                if not isinstance(part, (Lstm, Gru))
                else part.caffe_blobs()
                for name, part in self.parts.items()
                if any(p.requires_grad for p in part.parameters())
            }

        def groups(self, rate: float, decay: float) -> list[dict]:
            """Parameters for an optimizer, by their lr_mult and decay_mult."""
            groups = defaultdict(list)
            for name, part in self.parts.items():
                learned = [p for p in part.parameters() if p.requires_grad]
                rates = self.rates[name] or [(1, 1)] * len(learned)
                for pair, parameter in zip(rates, learned, strict=True):
                    groups[pair].append(parameter)
            return [
                {"params": params, "lr": rate * lr, "weight_decay": decay * wd}
                for (lr, wd), params in groups.items()
            ]

        def _add(self, layer: Params, scale: Params | None, weights: Mapping[str, Blobs]) -> None:
            last = scale or layer
            blobs = [*weights.get(layer["name"], ()), *(weights[scale["name"]] if scale else ())]
            bottoms = [b for b in layer["bottom"] if b != "cont"]  # here one sequence per batch
            in_place = layer["top"][0] in bottoms or self.readers[bottoms[-1]] == 1
            part = MAKERS[layer["type"]](params_of(layer), blobs, in_place)
            self.parts[last["name"]] = part
            self.rates[last["name"]] = [
                (p["lr_mult"], p["decay_mult"]) for p in last.get("param", ())
            ]
            self.steps.append((last["name"], bottoms, last["top"][0]))

    class Call(nn.Module):
        """A layer that is one function of its bottoms; `labelled`: also of those that get no
        gradient."""

        def __init__(self, function: Callable[..., torch.Tensor], labelled: bool = False) -> None:
            super().__init__()
            self.function, self.labelled = function, labelled

        def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
            return self.function(*bottoms)

    class Normalize(nn.Module):
        """The channels of each pixel by their length, times a factor for each."""

        def __init__(self, blobs: Blobs) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.from_numpy(np.array(blobs[0]).reshape(1, -1, 1, 1)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.normalize(x, dim=1) * self.scale

    class InnerProduct(nn.Linear):
        def __init__(self, p: Params, blobs: Blobs) -> None:
            super().__init__(blobs[0].shape[1], blobs[0].shape[0], bias=len(blobs) > 1)
            self.axis = p.get("axis", 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(self.axis))

    class MultiHeadAttention(nn.MultiheadAttention):
        causal = False

        def forward(self, x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
            mask = None
            if self.causal:
                mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
            options = {"need_weights": False, "attn_mask": mask, "is_causal": self.causal}
            return super().forward(x, *(others or (x, x)), **options)[0]

    class NegativeSampling(nn.Module):
        """With targets of its own, and negatives drawn evenly, which costs least."""

        def __init__(self, negatives: int, blobs: Blobs) -> None:
            super().__init__()
            self.negatives = negatives
            self.weight = nn.Parameter(torch.from_numpy(np.array(blobs[0])))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            target = torch.arange(len(x)) % len(self.weight)
            drawn = torch.randint(len(self.weight), (len(x), self.negatives))
            right = nn.functional.embedding(target, self.weight)
            wrong = nn.functional.embedding(drawn, self.weight)
            losses = nn.functional.logsigmoid((right * x).sum(1)).sum()
            losses = losses + nn.functional.logsigmoid(-torch.bmm(wrong, x[:, :, None])).sum()
            return -losses / len(x)

    class PositionalEmbedding(nn.Module):
        def __init__(self, blobs: Blobs) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.from_numpy(np.array(blobs[0])))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.weight[: x.shape[1]]

    class Embedding(nn.Embedding):
        labelled = True

        def __init__(self, blobs: Blobs) -> None:
            super().__init__(*blobs[0].shape, _weight=torch.from_numpy(np.array(blobs[0])))
            self.bias = nn.Parameter(torch.from_numpy(np.array(blobs[1]))) if blobs[1:] else None

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            y = super().forward(tokens.long())
            return y if self.bias is None else y + self.bias

    class SequenceAttention(nn.Module):
        """Of (steps, N, C): Bahdanau's and Luong's attention as they are written in torch."""

        def __init__(self, score: str, blobs: Blobs) -> None:
            super().__init__()
            self.score = score
            self.blobs = nn.ParameterList(torch.from_numpy(np.array(blob)) for blob in blobs)

        def forward(self, q: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
            q, memory = q.transpose(0, 1), memory.transpose(0, 1)
            scores = self._additive(q, memory) if self.score == "ADDITIVE" else self._product(
                q, memory)  # fmt: skip
            return (scores.softmax(2) @ memory).transpose(0, 1).contiguous()

        def _additive(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            of_query, of_key, v = self.blobs
            linear = nn.functional.linear
            sums = linear(q, of_query)[:, :, None] + linear(k, of_key)[:, None]
            return linear(torch.tanh(sums), v)[..., 0]

        def _product(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return (q @ self.blobs[0] if self.blobs else q) @ k.mT

    class ContrastiveDivergence(torch.autograd.Function):
        """Of an RBM: the chain forward, the difference of the statistics backward."""

        @staticmethod
        def forward(ctx: Any, v: torch.Tensor, *blobs: torch.Tensor) -> torch.Tensor:
            w, a, b = blobs
            h = torch.sigmoid(nn.functional.linear(v, w, b))
            end_v = torch.sigmoid(torch.addmm(a, torch.bernoulli(h), w))
            end_h = torch.sigmoid(nn.functional.linear(end_v, w, b))
            ctx.save_for_backward(v, h, end_v, end_h)
            ctx.error = (end_v - v).square_().sum() / len(v)
            return h

        @staticmethod
        def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
            v, h, end_v, end_h = ctx.saved_tensors
            share = 1 / len(v)
            dw = torch.addmm(end_h.T @ end_v, h.T, v, beta=share, alpha=-share)
            biases = ((end_v - v).mean(0), (end_h - h).mean(0))
            return v.new_zeros(()).expand_as(v), dw, *biases

    class Rbm(nn.Module):
        def __init__(self, blobs: Blobs) -> None:
            super().__init__()
            self.blobs = nn.ParameterList(torch.from_numpy(np.array(blob)) for blob in blobs)

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            return ContrastiveDivergence.apply(v, *self.blobs)

    class Lstm(nn.LSTM):
        """Its gates are i, f, g, o; Caffe's are i, f, o, g, with one bias."""

        def __init__(self, blobs: Blobs) -> None:
            x_weights, bias, h_weights = (_swap_gates(torch.from_numpy(b)) for b in blobs)
            super().__init__(x_weights.shape[1], h_weights.shape[1])
            for target, value in zip(
                self.parameters(), (x_weights, h_weights, bias, torch.zeros_like(bias)), strict=True
            ):
                target.data.copy_(value)
            self.bias_hh_l0.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[0]

        def caffe_blobs(self) -> list[np.ndarray]:
            ours = (self.weight_ih_l0, self.bias_ih_l0, self.weight_hh_l0)
            return [_swap_gates(p.detach()).numpy() for p in ours]

    class Rnn(nn.Module):
        """Caffe's: a layer of torch's, and an output of its state."""

        def __init__(self, blobs: Blobs) -> None:
            super().__init__()
            hidden, inputs = blobs[0].shape
            self.states, self.output = nn.RNN(inputs, hidden), nn.Linear(hidden, hidden)
            x_weights, bias, h_weights, *output = blobs
            own = *self.states.parameters(), *self.output.parameters()
            values = x_weights, h_weights, bias, np.zeros_like(bias), *output
            for target, value in zip(own, values, strict=True):
                target.data.copy_(torch.from_numpy(value))
            self.states.bias_hh_l0.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.output(self.states(x)[0]))

    class Gru(nn.GRU):
        """Its parameters are those of ours, with the two recurrent ones one place earlier."""

        def __init__(self, blobs: Blobs) -> None:
            x_weights, x_bias, h_weights, h_bias = (torch.from_numpy(b) for b in blobs)
            super().__init__(x_weights.shape[1], h_weights.shape[1])
            for target, value in zip(
                self.parameters(), (x_weights, h_weights, x_bias, h_bias), strict=True
            ):
                target.data.copy_(value)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[0]

        def caffe_blobs(self) -> list[np.ndarray]:
            ours = (self.weight_ih_l0, self.bias_ih_l0, self.weight_hh_l0, self.bias_hh_l0)
            return [p.detach().numpy() for p in ours]


def _dropout(p: Params, blobs: Blobs, in_place: bool) -> Any:
    kind = nn.Dropout2d if p.get("shared_axis") else nn.Dropout
    return kind(p.get("dropout_ratio", 0.5))


def _noise(p: Params, blobs: Blobs, in_place: bool) -> Any:
    def gaussian(x: torch.Tensor) -> torch.Tensor:
        return x + p.get("std", 0.1) * torch.randn_like(x)

    def masking(x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) >= p.get("ratio", 0.25))

    def salt_and_pepper(x: torch.Tensor) -> torch.Tensor:
        u = torch.rand_like(x)
        half = torch.where(u < p.get("ratio", 0.25) / 2, p.get("low", 0.0), p.get("high", 1.0))
        return torch.where(u < p.get("ratio", 0.25), half, x)

    kinds = {"MASKING": masking, "SALT_AND_PEPPER": salt_and_pepper}
    return Call(kinds.get(p.get("type"), gaussian))


def _gaussian_sample(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def _gaussian_kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    terms = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * terms.sum() / len(mean)


def _swap_gates(blob: torch.Tensor) -> torch.Tensor:
    i, f, a, b = blob.chunk(4)
    return torch.cat([i, f, b, a])


def _loaded(module: Any, blobs: Blobs) -> Any:
    for target, blob in zip(module.parameters(), blobs, strict=True):
        target.data.copy_(torch.from_numpy(blob))
    return module


def _convolution(p: Params, blobs: Blobs, in_place: bool) -> Any:
    outputs, inputs, *kernel = blobs[0].shape
    group = p.get("group", 1)
    kind = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
    module = kind(
        inputs * group,
        outputs,
        tuple(kernel),
        stride=pair(p, "stride"),
        padding=pair(p, "pad", 0),
        dilation=pair(p, "dilation") if "dilation" in p else 1,
        groups=group,
        bias=len(blobs) > 1,
    )
    return _loaded(module, blobs)


def _pooling(p: Params, blobs: Blobs, in_place: bool) -> Any:
    if p.get("global_pooling"):
        return nn.AdaptiveAvgPool2d(1)
    kernel = pair(p, "kernel_size")
    kinds = (nn.AvgPool2d, nn.AvgPool3d) if p.get("pool") == "AVE" else (nn.MaxPool2d, nn.MaxPool3d)
    kind = kinds[len(kernel) - 2]
    return kind(kernel, pair(p, "stride"), pair(p, "pad", 0), ceil_mode=True)


def _im2col(p: Params, blobs: Blobs, in_place: bool) -> Any:
    kernel, dilation, pad, stride = (
        pair(p, name, name != "pad") for name in ("kernel_size", "dilation", "pad", "stride")
    )

    def images(x: torch.Tensor) -> torch.Tensor:
        columns = nn.functional.unfold(x, kernel, dilation, pad, stride)
        last = x.shape[3] + 2 * pad[1] - dilation[1] * (kernel[1] - 1) - 1
        return columns.unflatten(2, (-1, last // stride[1] + 1))

    return Call(images)


def _spp(p: Params, blobs: Blobs, in_place: bool) -> Any:
    functional = nn.functional
    ave = p.get("pool") == "AVE"
    pool = functional.adaptive_avg_pool2d if ave else functional.adaptive_max_pool2d
    windows = [2**i for i in range(p["pyramid_height"])]
    return Call(lambda x: torch.cat([pool(x, n).flatten(1) for n in windows], dim=1))


def _lrn(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return nn.LocalResponseNorm(
        p.get("local_size", 5), p.get("alpha", 1.0), p.get("beta", 0.75), p.get("k", 1.0)
    )


def _batch_norm(p: Params, blobs: Blobs, in_place: bool) -> Any:
    mean, variance, factor, *scale = (torch.from_numpy(b) for b in blobs)
    module = nn.BatchNorm2d(len(mean), eps=p.get("eps", 1e-5), affine=bool(scale))
    module.running_mean.copy_(mean / factor)
    module.running_var.copy_(variance / factor)
    return _loaded(module, [s.numpy() for s in scale])


def _eltwise(p: Params, blobs: Blobs, in_place: bool) -> Any:
    if p.get("coeff"):
        raise ValueError("weighted sums are not timed")
    kind = p.get("operation", "SUM")
    if kind == "SUM" and in_place:
        return Call(_add_to_last)
    return Call({"SUM": operator.add, "PROD": operator.mul, "MAX": torch.maximum}[kind])


def _add_to_last(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return b.add_(a)


def _concat(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return Call(lambda *bottoms: torch.cat(bottoms, dim=p.get("axis", 1)))


def _mvn(p: Params, blobs: Blobs, in_place: bool) -> Any:
    eps = p.get("eps", 1e-9)  # which PyTorch adds to the variance
    if p.get("across_channels"):
        return Call(lambda x: nn.functional.layer_norm(x, x.shape[1:], eps=eps))
    return Call(lambda x: nn.functional.instance_norm(x, eps=eps))


def _reduction(p: Params, blobs: Blobs, in_place: bool) -> Any:
    axis = p.get("axis", 0)
    of_rows = {
        "SUM": lambda x: x.sum(-1),
        "ASUM": lambda x: x.abs().sum(-1),
        "SUMSQ": lambda x: x.square().sum(-1),
        "MEAN": lambda x: x.mean(-1),
    }[p.get("operation", "SUM")]
    return Call(lambda x: of_rows(x.flatten(axis)))


def _permute(p: Params, blobs: Blobs, in_place: bool) -> Any:
    # From plain memory, as pydl has it in such a net.
    return Call(lambda x: x.contiguous().permute(p["order"]).contiguous())


def _shuffle_channel(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return Call(lambda x: nn.functional.channel_shuffle(x, p.get("group", 1)))


def _interp(p: Params, blobs: Blobs, in_place: bool) -> Any:
    resize = partial(nn.functional.interpolate, mode="bilinear", align_corners=True)
    return Call(lambda x: resize(x, size=(p["height"], p["width"])))


def _accum(p: Params, blobs: Blobs, in_place: bool) -> Any:
    resize = partial(nn.functional.interpolate, mode="bilinear", align_corners=True)
    return Call(lambda x, y: torch.cat([resize(x, size=y.shape[2:]), y], 1))


def _normalize(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return Normalize(blobs)


def _ctc(p: Params, blobs: Blobs, in_place: bool) -> Any:
    """With labels of its own: t / 5 for each sequence, as benchmarks/ops.py has them."""

    def loss(x: torch.Tensor) -> torch.Tensor:
        steps, batch, classes = x.shape
        labels = torch.randint(1, classes, (batch, steps // 5), generator=torch.manual_seed(0))
        lengths = [torch.full((batch,), n) for n in (steps, steps // 5)]
        return nn.functional.ctc_loss(x.log_softmax(2), labels, *lengths, reduction="sum")

    return Call(loss)


def _layer_norm(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return _loaded(nn.LayerNorm(blobs[0].shape, p.get("eps", 1e-5), bias=len(blobs) > 1), blobs)


def _rms_norm(p: Params, blobs: Blobs, in_place: bool) -> Any:
    return _loaded(nn.RMSNorm(blobs[0].shape, p.get("eps")), blobs)


def _attention(p: Params, blobs: Blobs, in_place: bool) -> Any:
    def attention(x: torch.Tensor) -> torch.Tensor:
        q, k, v = x.unflatten(2, (3, p.get("num_heads", 1), -1)).permute(2, 0, 3, 1, 4)
        attend = nn.functional.scaled_dot_product_attention
        return attend(q, k, v, is_causal=p.get("causal", False)).transpose(1, 2).flatten(2)

    return Call(attention)


def _multi_head_attention(p: Params, blobs: Blobs, in_place: bool) -> Any:
    module = MultiHeadAttention(
        blobs[-1].shape[0], p.get("num_heads", 1), bias=len(blobs) > 2, batch_first=True
    )
    module.causal = p.get("causal", False)
    return _loaded(module, blobs)


def _rotary(p: Params, blobs: Blobs, in_place: bool) -> Any:
    """As transformers' Llama has it; the tables are made once, as there."""

    @cache
    def tables(steps: int, size: int, dtype: Any) -> tuple[torch.Tensor, torch.Tensor]:
        powers = p.get("base", 10000.0) ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(steps), powers).repeat(1, 2)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def turn(x: torch.Tensor) -> torch.Tensor:
        heads = x.unflatten(2, (p.get("num_heads", 1), -1))
        cos, sin = tables(x.shape[1], heads.shape[3], x.dtype)
        first, second = heads.chunk(2, -1)
        return (heads * cos + torch.cat([-second, first], -1) * sin).flatten(2)

    return Call(turn)


def _correlation(p: Params, blobs: Blobs, in_place: bool) -> Any:
    """With kernel_size 1, stride_1 1 and pad as max_displacement, as benchmarks/ops.py has it."""
    most, step = p["max_displacement"], p.get("stride_2", 1)
    shifts = range(most % step, 2 * most + 1, step)

    def products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Of all pairs of pixels of two rows at once; of these the band along the diagonal."""
        n, c, h, w = a.shape
        rows, others = a.permute(0, 2, 3, 1).contiguous(), b.permute(0, 2, 1, 3).contiguous()
        wide, side = b.shape[3], len(shifts)
        bands = []
        for dy in shifts:
            pairs = rows @ others[:, dy : dy + h]  # (n, h, w, wide)
            strides = (h * w * wide, w * wide, wide + 1, step)
            bands.append(pairs.as_strided((n, h, w, side), strides, shifts[0]))
        return torch.stack(bands, 3).flatten(3).permute(0, 3, 1, 2) / c

    def differences(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        h, w = a.shape[2:]
        of_shifts = [
            (a - b[:, :, y : y + h, x : x + w]).abs().mean(1) for y in shifts for x in shifts
        ]
        return torch.stack(of_shifts, 1)

    compare = differences if p.get("correlation_type") == "SUBTRACT" else products
    return Call(lambda a, b: compare(a, nn.functional.pad(b, (most,) * 4)))


def _flow_warp(p: Params, blobs: Blobs, in_place: bool) -> Any:
    def warp(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[2:]
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        to_unit = [2 / max(n - 1, 1) for n in (w, h)]
        grid = torch.stack(
            [(columns + flow[:, 0]) * to_unit[0] - 1, (rows + flow[:, 1]) * to_unit[1] - 1], -1
        )
        return nn.functional.grid_sample(x, grid, align_corners=True)

    return Call(warp)


def _focal(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """As torchvision's sigmoid_focal_loss, over the batch size."""
    p = x.sigmoid()
    entropy = nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    q = p * (1 - t) + (1 - p) * t
    return ((0.25 * t + 0.75 * (1 - t)) * q**2 * entropy).sum() / len(x)


MAKERS = {
    "Convolution": _convolution,
    "InnerProduct": lambda p, blobs, in_place: _loaded(InnerProduct(p, blobs), blobs),
    "RBM": lambda p, blobs, in_place: Rbm(blobs),
    "Noise": _noise,
    "GaussianSampling": lambda p, blobs, in_place: Call(_gaussian_sample),
    "GaussianKLLoss": lambda p, blobs, in_place: Call(_gaussian_kl),
    "Pooling": _pooling,
    "Im2col": _im2col,
    "SPP": _spp,
    "LRN": _lrn,
    "BatchNorm": _batch_norm,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "CtcLoss": _ctc,
    "FlowWarp": _flow_warp,
    "Correlation": _correlation,
    "Resample": lambda p, blobs, in_place: Call(
        lambda x: nn.functional.interpolate(
            x,
            (p["height"], p["width"]),
            mode="bicubic" if p.get("type") == "CUBIC" else "bilinear",
            antialias=True,
        )
    ),
    "ArgMax": lambda p, blobs, in_place: Call(lambda x: x.topk(p.get("top_k", 1), p["axis"])[1]),
    "MVN": _mvn,
    "Reduction": _reduction,
    "Tile": lambda p, blobs, in_place: Call(lambda x: torch.cat([x] * p["tiles"], dim=1)),
    "Embed": lambda p, blobs, in_place: Embedding(blobs),
    "Permute": _permute,
    "ShuffleChannel": _shuffle_channel,
    "Interp": _interp,
    "Accum": _accum,
    "Normalize": _normalize,
    "Axpy": lambda p, blobs, in_place: Call(lambda a, x, y: torch.addcmul(y, a, x)),
    "ReLU6": lambda p, blobs, in_place: nn.ReLU6(inplace=in_place),
    "HardSwish": lambda p, blobs, in_place: nn.Hardswish(inplace=in_place),
    "Mish": lambda p, blobs, in_place: nn.Mish(),
    "GELU": lambda p, blobs, in_place: nn.GELU(p.get("approximate", "NONE").lower()),
    "SiLU": lambda p, blobs, in_place: nn.SiLU(),
    "Softplus": lambda p, blobs, in_place: nn.Softplus(),
    "LeakyReLU": lambda p, blobs, in_place: nn.LeakyReLU(p.get("negative_slope", 0.01)),
    "SELU": lambda p, blobs, in_place: nn.SELU(),
    "GLU": lambda p, blobs, in_place: nn.GLU(p.get("axis", -1)),
    "Maxout": lambda p, blobs, in_place: Call(
        lambda x: x.unflatten(1, (-1, p.get("pieces", 2))).max(2).values
    ),
    "GroupNorm": lambda p, blobs, in_place: _loaded(
        nn.GroupNorm(p["num_groups"], len(blobs[0])), blobs
    ),
    "InstanceNorm": lambda p, blobs, in_place: Call(nn.functional.instance_norm),
    "Gram": lambda p, blobs, in_place: Call(
        lambda x: torch.matmul(x.flatten(2), x.flatten(2).mT) / x[0].numel()
    ),
    "L1Loss": lambda p, blobs, in_place: Call(nn.functional.l1_loss),
    "HuberLoss": lambda p, blobs, in_place: Call(nn.functional.huber_loss),
    "KLDivLoss": lambda p, blobs, in_place: Call(
        lambda x, t: nn.functional.kl_div(x, t, reduction="batchmean"), labelled=True
    ),
    "FocalLoss": lambda p, blobs, in_place: Call(_focal, labelled=True),
    "CosineEmbeddingLoss": lambda p, blobs, in_place: Call(
        lambda a, b, label: nn.functional.cosine_embedding_loss(a.flatten(1), b.flatten(1), label),
        labelled=True,
    ),
    "TripletLoss": lambda p, blobs, in_place: Call(
        lambda a, b, c: nn.functional.triplet_margin_loss(*(x.flatten(1) for x in (a, b, c)))
    ),
    "TotalVariationLoss": lambda p, blobs, in_place: Call(
        lambda x: (x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()) / len(x)
    ),
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "RotaryEmbedding": _rotary,
    "SequenceAttention": lambda p, blobs, in_place: SequenceAttention(
        p.get("score", "ADDITIVE"), blobs
    ),
    "PositionalEmbedding": lambda p, blobs, in_place: PositionalEmbedding(blobs),
    "RNN": lambda p, blobs, in_place: Rnn(blobs),
    "LSTM": lambda p, blobs, in_place: Lstm(blobs),
    "GRU": lambda p, blobs, in_place: Gru(blobs),
    "ReLU": lambda p, blobs, in_place: nn.ReLU(inplace=in_place),
    "Sigmoid": lambda p, blobs, in_place: nn.Sigmoid(),
    "ELU": lambda p, blobs, in_place: nn.ELU(p.get("alpha", 1.0)),
    "TanH": lambda p, blobs, in_place: nn.Tanh(),
    "AbsVal": lambda p, blobs, in_place: Call(torch.abs),
    "BNLL": lambda p, blobs, in_place: nn.Softplus(),
    "Clip": lambda p, blobs, in_place: nn.Hardtanh(p["min"], p["max"]),
    "Exp": lambda p, blobs, in_place: Call(torch.exp),
    "Swish": lambda p, blobs, in_place: nn.SiLU(),
    "Threshold": lambda p, blobs, in_place: Call(lambda x: (x > 0).to(x.dtype)),
    "Dropout": _dropout,
    "NegativeSamplingLoss": lambda p, blobs, in_place: NegativeSampling(p["negatives"], blobs),
    "Softmax": lambda p, blobs, in_place: nn.Softmax(dim=p.get("axis", 1)),
    "SmoothL1Loss": lambda p, blobs, in_place: Call(
        lambda a, b: nn.functional.smooth_l1_loss(a, b, reduction="sum") / len(a)
    ),
}


class Torch:
    """A net in PyTorch, in one of its modes.

    Args:
        layers, weights: as of `Model`.
        inputs: arrays by name, with the labels as "label" for training.
        mode: "eager", "channels_last" or "compile" (of a channels-last model).
        bf16: autocast to bfloat16.
    """

    def __init__(
        self,
        layers: Sequence[Params],
        weights: Mapping[str, Blobs],
        inputs: Mapping[str, np.ndarray],
        mode: str = "eager",
        bf16: bool = False,
        rate: float = 0.001,
        momentum: float = 0.9,
        decay: float = 0.0005,
    ) -> None:
        self.train = "label" in inputs
        self.model = Model(layers, weights).train(self.train)
        self._autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
        self._inputs = {name: _tensor(array) for name, array in inputs.items() if name != "cont"}
        self._labels = self._inputs.pop("label", None)
        if self.train:
            groups = self.model.groups(rate, decay)
            self._optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
        if mode != "eager" and self._inputs["data"].ndim == 4:
            self.model = self.model.to(memory_format=torch.channels_last)
            data = self._inputs["data"]
            self._inputs["data"] = data.to(memory_format=torch.channels_last)
        self._run = torch.compile(self.model) if mode == "compile" else self.model

    def forward(self) -> torch.Tensor:
        with torch.inference_mode(), self._autocast():
            return self._run(**self._inputs)

    def step(self) -> float:
        """Forward, backward, and SGD with momentum; returns the loss."""
        self._optimizer.zero_grad()
        with self._autocast():
            logits = self._run(**self._inputs)
        logits = logits.float().flatten(0, -2)
        loss = nn.functional.cross_entropy(logits, self._labels.flatten())
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def blobs(self) -> dict[str, list[np.ndarray]]:
        return self.model.blobs()

    def call(self) -> Callable[[], object]:
        return self.step if self.train else self.forward


def modes(images: bool) -> tuple[str, ...]:
    """Those worth timing; channels-last is for images."""
    if torch is None:
        return ()
    return ("eager", "channels_last", "compile") if images else ("eager", "compile")


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))  # a copy: the model may write to it

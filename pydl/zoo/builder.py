"""Writes a net layer by layer; the families of the zoo are made with it.

>>> net = Builder("tiny", batch=1, classes=10)
>>> blob = net.input("data", 1, 3, 8, 8)
>>> blob = net.relu("relu1", net.conv("conv1", blob, 16, 3, pad=1))
>>> net.classifier(net.fc("fc2", blob, net.classes))
>>> [layer.type for layer in net.message().layer]
['Input', 'Convolution', 'ReLU', 'InnerProduct', 'Softmax']
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydl import prototxt
from pydl.errors import Error

# Weights, then biases, which learn twice as fast and do not decay: the rule of Caffe's own nets.
_RATES = ({"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0})
FIRST = "first"  # the input that says where a part of a sequence begins
_TEST = {"include": [{"phase": "TEST"}]}


class Builder:
    """A net under construction: each method adds a layer and returns the name of its top.

    `train` asks for the net that learns: it has labels and losses in the place of probabilities.
    Layers work in place where `top` is not given and Caffe's nets do so (ReLU, BatchNorm, Scale,
    Dropout); others name their top after themselves.
    """

    def __init__(
        self,
        name: str,
        *,
        batch: int,
        classes: int,
        published_classes: int | None = None,
        train: bool = False,
    ) -> None:
        self.name, self.batch, self.classes, self.train = name, batch, classes, train
        self._published_classes = published_classes or classes
        self._inputs: list[prototxt.Message] = []
        self._layers: list[prototxt.Message] = []

    def message(self) -> prototxt.Message:
        """The net: its inputs, then its layers in the order they were added."""
        return prototxt.new("NetParameter", name=self.name, layer=self._inputs + self._layers)

    def scores(self, name: str) -> str:
        """The name of a layer whose size depends on the classes: another than the published net's
        if the classes are others, so that its weights load without that layer."""
        return name if self.classes == self._published_classes else f"{name}_{self.classes}"

    # ---- any layer ----
    def layer(
        self,
        kind: str,
        name: str,
        bottom: str | Sequence[str],
        top: str | Sequence[str] | None = None,
        **fields: Any,
    ) -> str:
        """Adds a layer of any type; the result is its first top."""
        bottoms = [bottom] if isinstance(bottom, str) else list(bottom)
        tops = [top or name] if top is None or isinstance(top, str) else list(top)
        self._layers.append(
            prototxt.new("LayerParameter", name=name, type=kind, bottom=bottoms, top=tops, **fields)
        )
        return tops[0] if tops else ""

    def input(self, name: str, *shape: int) -> str:
        """An input of the net; it stands in front of all layers."""
        shapes = {"shape": [{"dim": list(shape)}]}
        self._inputs.append(
            prototxt.new("LayerParameter", name=name, type="Input", top=[name], input_param=shapes)
        )
        return name

    # ---- layers with weights ----
    def conv(
        self,
        name: str,
        bottom: str,
        filters: int,
        kernel: int | Sequence[int],
        *,
        stride: int = 1,
        pad: int | Sequence[int] = 0,
        dilation: int = 1,
        group: int = 1,
        bias: float | None = 0,
        filler: str = "msra",
        kind: str = "Convolution",
        **fields: Any,
    ) -> str:
        """A convolution. `kernel` and `pad` are one number, (rows, columns), or (depth, rows,
        columns); `bias` is its start value, None for a convolution without."""
        param = {"num_output": filters, "bias_term": bias is not None}
        param |= _sizes("kernel", "kernel_size", kernel) | _sizes("pad", "pad", pad)
        given = {"stride": stride, "dilation": dilation, "group": group}
        param |= {key: value for key, value in given.items() if value != 1}
        for key in ("stride", "dilation"):
            if key in param:
                param[key] = [param[key]]
        param |= self._fillers(filler, bias)
        if bias is not None:
            del param["bias_term"]
        fields = self._rates(bias is not None) | fields
        return self.layer(kind, name, bottom, convolution_param=param, **fields)

    def fc(
        self, name: str, bottom: str, outputs: int, *, filler: str = "xavier", axis: int = 1
    ) -> str:
        """A fully connected layer of all axes from `axis` on."""
        param = {"num_output": outputs, **self._fillers(filler, 0)}
        if axis != 1:
            param["axis"] = axis
        return self.layer(
            "InnerProduct", name, bottom, inner_product_param=param, **self._rates(True)
        )

    def deconv(
        self, name: str, bottom: str, filters: int, kernel: int, *, stride: int, pad: int = 0
    ) -> str:
        """A learned deconvolution."""
        return self.conv(
            name, bottom, filters, kernel, stride=stride, pad=pad, kind="Deconvolution"
        )

    def upsample(
        self, name: str, bottom: str, channels: int, factor: int, between_classes: bool = False
    ) -> str:
        """A deconvolution that interpolates, twice the factor wide, and does not learn;
        `between_classes`: with weights from each channel to each, for published ones."""
        param = {
            "num_output": channels,
            "bias_term": False,
            "kernel_size": [2 * factor],
            "stride": [factor],
            "weight_filler": {"type": "bilinear"},
        }
        if not between_classes:
            param["group"] = channels
        rates = {"param": [{"lr_mult": 0, "decay_mult": 0}]} if self.train else {}
        return self.layer("Deconvolution", name, bottom, convolution_param=param, **rates)

    def bn(
        self,
        blob: str,
        name: str,
        scale: str,
        *,
        top: str | None = None,
        eps: float = 1e-5,
        average: float = 0.999,
        frozen: bool = False,
    ) -> str:
        """BatchNorm and Scale, in place unless `top` is given; `average`: what is left of the
        stored statistics after a batch; `frozen`: by those in training too."""
        param: dict[str, Any] = {"eps": eps} if eps != 1e-5 else {}
        if average != 0.999:
            param["moving_average_fraction"] = average
        if frozen:
            param["use_global_stats"] = True
        fields = {"batch_norm_param": param} if param else {}
        blob = self.layer("BatchNorm", name, blob, top or blob, **fields)
        rates = {}
        if self.train:
            rates["param"] = [{"lr_mult": 0 if frozen else 1, "decay_mult": 0}] * 2
        return self.layer("Scale", scale, blob, blob, scale_param={"bias_term": True}, **rates)

    # ---- sequences: (steps, sequences, ...), and cont (steps, sequences) ----
    def recurrent(
        self,
        kind: str,
        name: str,
        bottom: str,
        hidden: int,
        *,
        cont: str = "cont",
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0,
        mask: str | None = None,
        expose: bool = False,
    ) -> str:
        """`layers` of an LSTM, GRU or RNN one behind the other, as torch stacks them, named
        ``<name>/l0``, ``<name>/l0_reverse``, ``<name>/l1`` ... as torch names their weights.

        Args:
            cont: the blob that says where sequences go on; `pydl.sequences.goes_on` makes it.
            bidirectional: each layer runs both ways and gives 2 * hidden values.
            dropout: what each layer but the last one loses of its output in training.
            mask: a blob that the result is multiplied by, 0 behind the ends of sequences;
                `pydl.sequences.mask` makes it.
            expose: the state of each layer (1, sequences, hidden) comes in as ``<layer>/h0``, with
                an LSTM's ``<layer>/c0``, and goes out as ``<layer>/h1`` and ``<layer>/c1``, as
                `pydl.generate` wants it. For layers that run one way.
        """
        if expose and bidirectional:
            raise Error(f"{name}: layers that run both ways cannot expose their state")
        make = self.bidirectional if bidirectional else self._exposed if expose else self._one_way
        for i in range(layers):
            if i and dropout:
                bottom = self.dropout(f"{name}/dropout{i - 1}", bottom, dropout)
            bottom = make(kind, f"{name}/l{i}", bottom, hidden, cont=cont)
        if mask is None:
            return bottom
        return self.layer("Scale", f"{name}/masked", [bottom, mask], scale_param={"axis": 0})

    def bidirectional(
        self, kind: str, name: str, bottom: str, hidden: int, *, cont: str = "cont"
    ) -> str:
        """Two recurrent layers, `name` and ``<name>_reverse``, the second from the last step to
        the first, side by side: (steps, sequences, 2 * hidden)."""
        ways = [
            self._one_way(kind, name, bottom, hidden, cont=cont),
            self._one_way(kind, f"{name}_reverse", bottom, hidden, cont=cont, direction="BACKWARD"),
        ]
        return self.concat(f"{name}_both", ways, axis=2)

    def _one_way(
        self, kind: str, name: str, bottom: str, hidden: int, *, cont: str,
        states: Sequence[str] = (), **param: Any,
    ) -> str:  # fmt: skip
        limit = hidden**-0.5  # as in torch
        uniform = {"type": "uniform", "min": -limit, "max": limit}
        param |= {"num_output": hidden, "weight_filler": uniform, "bias_filler": uniform}
        bottoms = [bottom, cont, *(f"{name}/{state}0" for state in states)]
        tops = [name, *(f"{name}/{state}1" for state in states)]
        return self.layer(kind, name, bottoms, tops, recurrent_param=param)

    def _exposed(self, kind: str, name: str, bottom: str, hidden: int, *, cont: str) -> str:
        states = "hc" if kind == "LSTM" else "h"
        for state in states:
            self.input(f"{name}/{state}0", 1, self.batch, hidden)
        return self._one_way(
            kind, name, bottom, hidden, cont=cont, states=states, expose_hidden=True
        )

    # ---- Transformers: blocks with the names, order and shapes of torch's layers ----
    def transformer_encoder(
        self, name: str, x: str, channels: int, heads: int, *, mask: str | None = None,
        causal: bool = False, cache: int = 0, **options: Any,
    ) -> str:  # fmt: skip
        """A block of self-attention and a feed-forward net (Vaswani et al. 2017,
        arXiv:1706.03762) on `x` (N, T, channels), as torch.nn.TransformerEncoderLayer has it.

        Args:
            mask: the blob that says which steps take part, as layer Attention reads it.
            causal: a step sees none behind it: the block of a language model.
            cache: the most steps of a sequence that comes in parts, as in generation: their keys
                and values go in as ``<name>/past`` (N, cache, 2 * channels) and come out as
                ``<name>/present``; ``first`` is the place of the part's first step.
            options: ``hidden`` units of the feed-forward net, 4 * channels if not given; its
                ``activation``, "ReLU" or another layer's type; ``norm_first``: normalise what goes
                into a part, not its sum; ``dropout``; ``eps`` of the normalisations;
                ``rotary_base``: self-attention turns queries and keys by their places.
        """
        block = _Transformer(self, name, channels, heads, **options)
        seen = block.past(cache) if cache else []
        x = block.part(x, "norm1", lambda y: block.attention("self_attn", y, seen, mask, causal))
        return block.part(x, "norm2", block.feed_forward)

    def transformer_decoder(
        self, name: str, x: str, memory: str, channels: int, heads: int, *,
        mask: str | None = None, memory_mask: str | None = None, cache: int = 0, **options: Any,
    ) -> str:  # fmt: skip
        """The same with causal self-attention, and attention to `memory` (N, T_memory, channels)
        behind it, as torch.nn.TransformerDecoderLayer has it."""
        block = _Transformer(self, name, channels, heads, **options)
        past = block.past(cache) if cache else []
        x = block.part(x, "norm1", lambda y: block.attention("self_attn", y, past, mask, True))
        seen = [memory, memory]
        x = block.part(
            x, "norm2", lambda y: block.attention("multihead_attn", y, seen, memory_mask)
        )
        return block.part(x, "norm3", block.feed_forward)

    # ---- layers without ----
    def relu(self, name: str, blob: str, slope: float = 0) -> str:
        fields = {"relu_param": {"negative_slope": slope}} if slope else {}
        return self.layer("ReLU", name, blob, blob, **fields)

    def act(self, kind: str, name: str, blob: str) -> str:
        """An activation without parameters, in place."""
        return self.layer(kind, name, blob, blob)

    def pool(
        self,
        name: str,
        bottom: str,
        kind: str = "MAX",
        kernel: int | Sequence[int] | None = None,
        stride: int | Sequence[int] = 1,
        pad: int | Sequence[int] = 0,
        *,
        floor: bool = False,
        mask: str | None = None,
    ) -> str:
        """MAX or AVE pooling, over the whole plane without a `kernel`. `floor`: the last window
        must not reach beyond the edge, as other frameworks have it; `mask`: a second top with the
        indices of the maxima."""
        param: dict[str, Any] = {"pool": kind}
        if kernel is None:
            param["global_pooling"] = True
        else:
            param |= {"kernel_size": _list(kernel), "stride": _list(stride)}
            param |= {"pad": _list(pad)} if pad else {}
        if floor:
            param["round_mode"] = "FLOOR"
        tops = [name, mask] if mask else name
        return self.layer("Pooling", name, bottom, tops, pooling_param=param)

    def lrn(self, name: str, bottom: str) -> str:
        param = {"local_size": 5, "alpha": 0.0001, "beta": 0.75}
        return self.layer("LRN", name, bottom, lrn_param=param)

    def dropout(self, name: str, blob: str, ratio: float = 0.5) -> str:
        return self.layer("Dropout", name, blob, blob, dropout_param={"dropout_ratio": ratio})

    def concat(self, name: str, bottoms: Sequence[str], axis: int = 1) -> str:
        fields = {"concat_param": {"axis": axis}} if axis != 1 else {}
        return self.layer("Concat", name, bottoms, **fields)

    def add(self, name: str, bottoms: Sequence[str], coeff: Sequence[float] = ()) -> str:
        param = {"operation": "SUM", **({"coeff": list(coeff)} if coeff else {})}
        return self.layer("Eltwise", name, bottoms, eltwise_param=param)

    def crop(self, name: str, bottom: str, like: str, offset: int) -> str:
        """What of `bottom`, from `offset` on in rows and columns, is as large as `like`."""
        return self.layer("Crop", name, [bottom, like], crop_param={"axis": 2, "offset": [offset]})

    def reshape(self, name: str, bottom: str, dims: Sequence[int]) -> str:
        param = {"shape": {"dim": list(dims)}}
        return self.layer("Reshape", name, bottom, reshape_param=param)

    # ---- ends ----
    def classifier(self, logits: str, prob: str = "prob") -> None:
        """Probabilities of images' classes or, to train, loss and accuracies against ``label``."""
        if not self.train:
            self.layer("Softmax", prob, logits)
            return
        self.input("label", self.batch)
        self.layer("SoftmaxWithLoss", "loss", [logits, "label"])
        self.layer("Accuracy", "accuracy", [logits, "label"], **_TEST)
        if self.classes > 5:
            top5 = {"accuracy_param": {"top_k": 5}}
            self.layer("Accuracy", "accuracy_top5", [logits, "label"], **top5, **_TEST)

    def head(self, number: int, logits: str, weight: float) -> None:
        """An auxiliary classifier of a net in training."""
        name = f"loss{number}/loss"
        self.layer("SoftmaxWithLoss", name, [logits, "label"], loss_weight=[weight])

    def segmenter(self, logits: str, rows: int, columns: int, ignore: int = 255) -> None:
        """To train: the loss of each pixel against ``label`` (N, 1, rows, columns), without those
        that are labelled `ignore`. Else the logits are the output: their maximum is the class."""
        if not self.train:
            return
        self.pixel_loss(logits, self.input("label", self.batch, 1, rows, columns), ignore)

    def pixel_loss(self, logits: str, label: str, ignore: int = 255) -> None:
        """Loss and accuracy of the pixels that are not labelled `ignore`."""
        loss = {"loss_param": {"ignore_label": ignore}}
        self.layer("SoftmaxWithLoss", "loss", [logits, label], **loss)
        accuracy = {"accuracy_param": {"ignore_label": ignore}}
        self.layer("Accuracy", "accuracy", [logits, label], **accuracy, **_TEST)

    # ---- how weights start and learn ----
    def _fillers(self, filler: str, bias: float | None) -> dict[str, Any]:
        fillers: dict[str, Any] = {"weight_filler": {"type": filler}}
        if bias:
            fillers["bias_filler"] = {"type": "constant", "value": bias}
        return fillers

    def _rates(self, bias: bool) -> dict[str, Any]:
        return {"param": list(_RATES[: 1 + bias])} if self.train else {}


class _Transformer:
    """The parts of a block, added to `net`; their layers are named after torch's."""

    def __init__(
        self,
        net: Builder,
        name: str,
        channels: int,
        heads: int,
        *,
        hidden: int | None = None,
        activation: str = "ReLU",
        norm_first: bool = False,
        dropout: float = 0.1,
        eps: float = 1e-5,
        rotary_base: float = 0,
    ) -> None:
        self._rotary_base = rotary_base
        self._net, self._name, self._channels, self._heads = net, name, channels, heads
        self._hidden, self._activation = hidden or 4 * channels, activation
        self._norm_first, self._dropout, self._eps = norm_first, dropout, eps

    def part(self, x: str, norm: str, inner: Callable[[str], str]) -> str:
        """x + inner(normalised x), or the sum x + inner(x) normalised."""
        if self._norm_first:
            return self._sum(norm, x, inner(self._normalized(norm, x)))
        return self._normalized(norm, self._sum(norm, x, inner(x)))

    def attention(
        self, name: str, x: str, seen: Sequence[str], mask: str | None, causal: bool = False
    ) -> str:
        param = {"num_heads": self._heads, **({"causal": True} if causal else {})}
        if self._rotary_base and name == "self_attn":
            param["rotary_base"] = self._rotary_base
        bottoms, tops = [x, *seen, *([mask] if mask else [])], [self._named(name)]
        if FIRST in seen:
            param["expose_cache"] = True
            tops.append(self._named("present"))
        fields = {"top": tops, "multi_head_attention_param": param}
        return self._drop(name, self._add("MultiHeadAttention", name, bottoms, **fields))

    def past(self, length: int) -> list[str]:
        """The inputs of a sequence that comes in parts: cache and place of the first step."""
        net = self._net
        if all(FIRST not in layer.top for layer in net._inputs):
            net.input(FIRST, 1)
        return [net.input(self._named("past"), net.batch, length, 2 * self._channels), FIRST]

    def feed_forward(self, x: str) -> str:
        x = self._net.fc(self._named("linear1"), x, self._hidden, axis=2)
        if self._activation == "ReLU":
            x = self._net.relu(self._named("activation"), x)
        else:
            x = self._add(self._activation, "activation", x)
        x = self._drop("activation", x)
        x = self._net.fc(self._named("linear2"), x, self._channels, axis=2)
        return self._drop("linear2", x)

    def _named(self, name: str) -> str:
        return f"{self._name}/{name}"

    def _add(self, kind: str, name: str, bottoms: str | Sequence[str], **fields: Any) -> str:
        return self._net.layer(kind, self._named(name), bottoms, **fields)

    def _sum(self, norm: str, x: str, y: str) -> str:
        return self._net.add(self._named(norm.replace("norm", "sum")), [x, y])

    def _normalized(self, name: str, x: str) -> str:
        fields = {} if self._eps == 1e-5 else {"layer_norm_param": {"eps": self._eps}}
        return self._add("LayerNorm", name, x, **fields)

    def _drop(self, name: str, x: str) -> str:
        if not self._dropout:
            return x
        return self._net.dropout(self._named(f"{name}/dropout"), x, self._dropout)


def _list(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _sizes(prefix: str, field: str, value: int | Sequence[int]) -> dict[str, Any]:
    """A field of one number, of rows and columns in fields of their own, or of three axes."""
    if isinstance(value, int):
        return {field: [value]} if value or field != "pad" else {}
    if len(value) == 2:
        return {f"{prefix}_h": value[0], f"{prefix}_w": value[1]}
    return {field: list(value)}

"""Writes a net layer by layer; the families of the zoo are made with it.

>>> net = Builder("tiny", batch=1, classes=10)
>>> blob = net.input("data", 1, 3, 8, 8)
>>> blob = net.relu("relu1", net.conv("conv1", blob, 16, 3, pad=1))
>>> net.classifier(net.fc("fc2", blob, net.classes))
>>> [layer.type for layer in net.message().layer]
['Input', 'Convolution', 'ReLU', 'InnerProduct', 'Softmax']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydl import prototxt

# Weights, then biases, which learn twice as fast and do not decay: the rule of Caffe's own nets.
_RATES = ({"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0})
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

    def fc(self, name: str, bottom: str, outputs: int, *, filler: str = "xavier") -> str:
        param = {"num_output": outputs, **self._fillers(filler, 0)}
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


def _list(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _sizes(prefix: str, field: str, value: int | Sequence[int]) -> dict[str, Any]:
    """A field of one number, of rows and columns in fields of their own, or of three axes."""
    if isinstance(value, int):
        return {field: [value]} if value or field != "pad" else {}
    if len(value) == 2:
        return {f"{prefix}_h": value[0], f"{prefix}_w": value[1]}
    return {field: list(value)}

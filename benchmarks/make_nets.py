#!/usr/bin/env python3
"""Writes the nets that repeat themselves, as Caffe's model zoo defines them: benchmarks/nets/*.

python benchmarks/make_nets.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "nets"
LEARN = ["param { lr_mult: 1 decay_mult: 1 }"]
LEARN_BIAS = [*LEARN, "param { lr_mult: 2 decay_mult: 0 }"]


class Prototxt:
    """A net as text; each method adds a layer and returns the name of its top."""

    def __init__(self, name: str, comment: str, batch: int) -> None:
        self._lines = [f"# {comment}", f'name: "{name}"']
        self.input("data", (batch, 3, 224, 224))
        self.input("label", (batch,), "include { phase: TRAIN }")

    def layer(self, name: str, kind: str, bottoms: Iterable[str], top: str, *fields: str) -> str:
        wires = "".join(f' bottom: "{bottom}"' for bottom in bottoms) + f' top: "{top}"'
        head = f'name: "{name}" type: "{kind}"{wires}'
        one_line = f"layer {{ {' '.join([head, *fields])} }}"
        if len(one_line) <= 100:
            self._lines.append(one_line)
        else:
            self._lines += ["layer {", f"  {head}", *(f"  {field}" for field in fields), "}"]
        return top

    def input(self, name: str, shape: Iterable[int], *fields: str) -> str:
        dims = " ".join(f"dim: {size}" for size in shape)
        return self.layer(name, "Input", (), name, *fields, f"input_param {{ shape {{ {dims} }} }}")

    def conv(self, name: str, bottom: str, filters: int, kernel: int, *, stride: int = 1,
             pad: int = 0, filler: str = "xavier", bias: float | None = 0) -> str:  # fmt: skip
        shape = [f"num_output: {filters} kernel_size: {kernel}"]
        shape += [f"stride: {stride}"] * (stride > 1) + [f"pad: {pad}"] * (pad > 0)
        fields = LEARN if bias is None else LEARN_BIAS
        param = [
            "convolution_param {",
            f"  {' '.join(shape)}",
            f'  weight_filler {{ type: "{filler}" }}',
            "  bias_term: false" if bias is None else f"  {_constant(bias)}",
            "}",
        ]
        return self.layer(name, "Convolution", [bottom], name, *fields, *param)

    def fc(self, name: str, bottom: str, outputs: int, bias: float = 0) -> str:
        param = [
            "inner_product_param {",
            f"  num_output: {outputs}",
            '  weight_filler { type: "xavier" }',
            f"  {_constant(bias)}",
            "}",
        ]
        return self.layer(name, "InnerProduct", [bottom], name, *LEARN_BIAS, *param)

    def relu(self, name: str, blob: str) -> str:
        return self.layer(name, "ReLU", [blob], blob)

    def pool(self, name: str, bottom: str, kind: str, kernel: int, stride: int,
             pad: int = 0) -> str:  # fmt: skip
        padding = f" pad: {pad}" if pad else ""
        param = f"pool: {kind} kernel_size: {kernel} stride: {stride}{padding}"
        return self.layer(name, "Pooling", [bottom], name, f"pooling_param {{ {param} }}")

    def lrn(self, name: str, bottom: str) -> str:
        param = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
        return self.layer(name, "LRN", [bottom], name, param)

    def dropout(self, name: str, blob: str, ratio: float) -> str:
        param = f"dropout_param {{ dropout_ratio: {ratio} }}"
        return self.layer(name, "Dropout", [blob], blob, param)

    def write(self, file: str, logits: str) -> None:
        """Ends the net with a loss in training and a Softmax otherwise."""
        only = "include {{ phase: {} }}"
        self.layer("loss", "SoftmaxWithLoss", [logits, "label"], "loss", only.format("TRAIN"))
        self.layer("prob", "Softmax", [logits], "prob", only.format("TEST"))
        (FOLDER / file).write_text("\n".join(self._lines) + "\n")


def _constant(value: float) -> str:
    return f'bias_filler {{ type: "constant" value: {value} }}'


def vgg16() -> None:
    net = Prototxt("VGG-16", "VGG-16 (Simonyan, Zisserman 2014), model D of its Caffe release.", 4)
    blob = "data"
    for block, (convs, filters) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for i in range(1, convs + 1):
            blob = net.conv(f"conv{block}_{i}", blob, filters, 3, pad=1, filler="msra")
            net.relu(f"relu{block}_{i}", blob)
        blob = net.pool(f"pool{block}", blob, "MAX", 2, 2)
    for i in (6, 7):
        blob = net.fc(f"fc{i}", blob, 4096)
        net.relu(f"relu{i}", blob)
        net.dropout(f"drop{i}", blob, 0.5)
    net.write("vgg16.prototxt", net.fc("fc8", blob, 1000))


# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> None:
    comment = "GoogLeNet (Szegedy et al. 2014) as bvlc_googlenet, without its auxiliary heads."
    net = Prototxt("GoogLeNet", comment, 16)

    def conv(name: str, bottom: str, filters: int, kernel: int, stride: int = 1) -> str:
        pad = kernel // 2
        blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=pad, bias=0.2)
        return net.relu(_beside(name, "relu_" + name.split("/")[1]), blob)

    def inception(block: str, bottom: str) -> str:
        prefix, sizes = f"inception_{block}", INCEPTIONS[block]
        branches = [conv(f"{prefix}/1x1", bottom, sizes[0], 1)]
        for kernel, (reduce, filters) in ((3, sizes[1:3]), (5, sizes[3:5])):
            name = f"{prefix}/{kernel}x{kernel}"
            branches.append(conv(name, conv(f"{name}_reduce", bottom, reduce, 1), filters, kernel))
        pooled = net.pool(f"{prefix}/pool", bottom, "MAX", 3, 1, pad=1)
        branches.append(conv(f"{prefix}/pool_proj", pooled, sizes[5], 1))
        return net.layer(f"{prefix}/output", "Concat", branches, f"{prefix}/output")

    blob = conv("conv1/7x7_s2", "data", 64, 7, stride=2)
    blob = net.lrn("pool1/norm1", net.pool("pool1/3x3_s2", blob, "MAX", 3, 2))
    blob = conv("conv2/3x3", conv("conv2/3x3_reduce", blob, 64, 1), 192, 3)
    blob = net.pool("pool2/3x3_s2", net.lrn("conv2/norm2", blob), "MAX", 3, 2)
    for block in INCEPTIONS:
        blob = inception(block, blob)
        if block in ("3b", "4e"):
            blob = net.pool(f"pool{block[0]}/3x3_s2", blob, "MAX", 3, 2)
    blob = net.pool("pool5/7x7_s1", blob, "AVE", 7, 1)
    net.dropout("pool5/drop_7x7_s1", blob, 0.4)
    net.write("googlenet.prototxt", net.fc("loss3/classifier", blob, 1000))


def _beside(name: str, other: str) -> str:
    return f"{name.split('/')[0]}/{other}"


def resnet50() -> None:
    comment = (
        "ResNet-50 (He et al. 2015) as released for Caffe: a block's first 1x1 has the stride."
    )
    net = Prototxt("ResNet-50", comment, 8)

    def conv(suffix: str, bottom: str, filters: int, kernel: int, stride: int = 1, *,
             first: bool = False, relu: bool = True) -> str:  # fmt: skip
        name = suffix if first else f"res{suffix}"
        bias = 0 if first else None
        blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=kernel // 2,
                        filler="msra", bias=bias)  # fmt: skip
        join = "_" if first else ""
        net.layer(f"bn{join}{suffix}", "BatchNorm", [blob], blob)
        net.layer(f"scale{join}{suffix}", "Scale", [blob], blob, "scale_param { bias_term: true }")
        return net.relu(f"{name}_relu", blob) if relu else blob

    def block(name: str, bottom: str, width: int, stride: int, shortcut: bool) -> str:
        side = bottom
        if shortcut:
            side = conv(f"{name}_branch1", bottom, 4 * width, 1, stride, relu=False)
        blob = conv(f"{name}_branch2a", bottom, width, 1, stride)
        blob = conv(f"{name}_branch2b", blob, width, 3)
        blob = conv(f"{name}_branch2c", blob, 4 * width, 1, relu=False)
        return net.relu(
            f"res{name}_relu", net.layer(f"res{name}", "Eltwise", [side, blob], f"res{name}")
        )

    blob = conv("conv1", "data", 64, 7, 2, first=True)
    blob = net.pool("pool1", blob, "MAX", 3, 2)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
        for i in range(blocks):
            stride = 2 if i == 0 and stage > 2 else 1
            blob = block(f"{stage}{'abcdef'[i]}", blob, width, stride, shortcut=i == 0)
    blob = net.pool("pool5", blob, "AVE", 7, 1)
    net.write("resnet50.prototxt", net.fc("fc1000", blob, 1000))


def main() -> None:
    for make in (vgg16, googlenet, resnet50):
        make()


if __name__ == "__main__":
    main()

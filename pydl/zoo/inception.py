"""Inception-v3 (Szegedy et al. 2015), Inception-v4 and Inception-ResNet-v2 (Szegedy et al. 2016),
with the names of their best-known Caffe conversion."""

from __future__ import annotations

from collections.abc import Sequence

from pydl.zoo.builder import Builder

# (part of the name, filters, kernel); a branch is a chain of these.
Step = tuple[str, int, "int | tuple[int, int]"]
Branch = Sequence[Step]
_ROW, _COLUMN = (1, 7), (7, 1)
_EPS = 1e-3


def _conv(
    net: Builder, name: str, bottom: str, filters: int, kernel: int | tuple[int, int],
    stride: int = 1, padded: bool = True,
) -> str:  # fmt: skip
    pad: int | tuple[int, int] = 0
    if padded:
        pad = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=pad, bias=None)
    return net.relu(f"{name}_relu", net.bn(blob, f"{name}_bn", f"{name}_scale", eps=_EPS))


def _chain(net: Builder, prefix: str, blob: str, steps: Branch) -> str:
    for part, filters, kernel in steps:
        blob = _conv(net, f"{prefix}_{part}", blob, filters, kernel)
    return blob


def _reduce(net: Builder, prefix: str, bottom: str, branches: Sequence[Branch]) -> str:
    """Halves the plane: branches whose last convolution has stride 2, and pooling."""
    blobs = []
    for branch in branches:
        part, filters, kernel = branch[-1]
        blob = _chain(net, prefix, bottom, branch[:-1])
        blobs.append(_conv(net, f"{prefix}_{part}", blob, filters, kernel, 2, padded=False))
    blobs.append(net.pool(f"{prefix}_pool", bottom, "MAX", 3, 2))
    return net.concat(f"{prefix}_concat", blobs)


def _averaged(net: Builder, pool: str, conv: str, bottom: str, filters: int) -> str:
    """The branch that averages neighbours first."""
    return _conv(net, conv, net.pool(pool, bottom, "AVE", 3, 1, pad=1), filters, 1)


def _classify(net: Builder, blob: str, dropout: float) -> None:
    blob = net.pool("pool_8x8_s1", blob, "AVE")
    blob = net.dropout("pool_8x8_s1_drop", blob, dropout)
    net.classifier(net.fc(net.scores("classifier"), blob, net.classes))


def _small_stem(net: Builder) -> str:
    """From 299 to 35 across, as in Inception-v3."""
    blob = _conv(net, "conv1_3x3_s2", "data", 32, 3, 2, padded=False)
    blob = _conv(net, "conv2_3x3_s1", blob, 32, 3, padded=False)
    blob = _conv(net, "conv3_3x3_s1", blob, 64, 3)
    blob = net.pool("pool1_3x3_s2", blob, "MAX", 3, 2)
    blob = _conv(net, "conv4_3x3_reduce", blob, 80, 1)
    blob = _conv(net, "conv4_3x3", blob, 192, 3, padded=False)
    return net.pool("pool2_3x3_s2", blob, "MAX", 3, 2)


# ---- Inception-v3 ----
def inception_v3(net: Builder) -> None:
    blob = _small_stem(net)
    for i, pooled in enumerate((32, 64, 64), 1):
        blob = _v3_a(net, f"inception_a{i}", blob, pooled)
    double = [("3x3_2_reduce", 64, 1), ("3x3_2", 96, 3), ("3x3_3", 96, 3)]
    blob = _reduce(net, "reduction_a", blob, [[("3x3", 384, 3)], double])
    for i, width in enumerate((128, 160, 160, 192), 1):
        blob = _v3_b(net, f"inception_b{i}", blob, width)
    if net.train:
        _v3_head(net, blob)
    single = [("3x3_reduce", 192, 1), ("3x3", 320, 3)]
    wide = [("1x7_reduce", 192, 1), ("1x7", 192, _ROW), ("7x1", 192, _COLUMN), ("3x3_2", 192, 3)]
    blob = _reduce(net, "reduction_b", blob, [single, wide])
    for i in (1, 2):
        blob = _v3_c(net, f"inception_c{i}", blob)
    _classify(net, blob, 0.2)


def _v3_a(net: Builder, prefix: str, bottom: str, pooled: int) -> str:
    branches = (
        [("1x1", 64, 1)],
        [("5x5_reduce", 48, 1), ("5x5", 64, 5)],
        [("3x3_reduce", 64, 1), ("3x3_1", 96, 3), ("3x3_2", 96, 3)],
    )
    blobs = [_chain(net, prefix, bottom, branch) for branch in branches]
    blobs.append(_averaged(net, f"{prefix}_pool", f"{prefix}_pool_proj", bottom, pooled))
    return net.concat(f"{prefix}_output", blobs)


def _v3_b(net: Builder, prefix: str, bottom: str, width: int) -> str:
    branches = (
        [("1x1_2", 192, 1)],
        [("1x7_reduce", width, 1), ("1x7", width, _ROW), ("7x1", 192, _COLUMN)],
        [
            ("7x1_reduce", width, 1),
            ("7x1_2", width, _COLUMN),
            ("1x7_2", width, _ROW),
            ("7x1_3", width, _COLUMN),
            ("1x7_3", 192, _ROW),
        ],
    )
    blobs = [_chain(net, prefix, bottom, branch) for branch in branches]
    blobs.append(_averaged(net, f"{prefix}_pool_ave", f"{prefix}_1x1", bottom, 192))
    return net.concat(f"{prefix}_concat", blobs)


def _v3_c(net: Builder, prefix: str, bottom: str) -> str:
    def fork(blob: str, suffix: str) -> list[str]:
        return [
            _conv(net, f"{prefix}_1x3{suffix}", blob, 384, (1, 3)),
            _conv(net, f"{prefix}_3x1{suffix}", blob, 384, (3, 1)),
        ]

    blobs = [_conv(net, f"{prefix}_1x1_2", bottom, 320, 1)]
    blobs += fork(_conv(net, f"{prefix}_1x3_reduce", bottom, 384, 1), "")
    double = _chain(net, prefix, bottom, [("3x3_reduce", 448, 1), ("3x3", 384, 3)])
    blobs += fork(double, "_2")
    blobs.append(_averaged(net, f"{prefix}_pool", f"{prefix}_1x1", bottom, 192))
    return net.concat(f"{prefix}_concat", blobs)


def _v3_head(net: Builder, blob: str) -> None:
    """The auxiliary classifier, on the 17x17 maps."""
    blob = net.pool("loss1/ave_pool", blob, "AVE", 5, 3)
    blob = _conv(net, "loss1/conv", blob, 128, 1)
    blob = _conv(net, "loss1/conv_5x5", blob, 768, 5, padded=False)
    net.head(1, net.fc(net.scores("loss1/classifier"), blob, net.classes), 0.4)


# ---- Inception-v4 ----
def inception_v4(net: Builder) -> None:
    blob = _v4_stem(net)
    for i in range(1, 5):
        blob = _v4_a(net, f"inception_a{i}", blob)
    double = [("3x3_2_reduce", 192, 1), ("3x3_2", 224, 3), ("3x3_3", 256, 3)]
    blob = _reduce(net, "reduction_a", blob, [[("3x3", 384, 3)], double])
    for i in range(1, 8):
        blob = _v4_b(net, f"inception_b{i}", blob)
    single = [("3x3_reduce", 192, 1), ("3x3", 192, 3)]
    wide = [("1x7_reduce", 256, 1), ("1x7", 256, _ROW), ("7x1", 320, _COLUMN), ("3x3_2", 320, 3)]
    blob = _reduce(net, "reduction_b", blob, [single, wide])
    for i in range(1, 4):
        blob = _v4_c(net, f"inception_c{i}", blob)
    _classify(net, blob, 0.2)


def _v4_stem(net: Builder) -> str:
    """From 299 to 35 across, with three forks on the way."""
    blob = _conv(net, "conv1_3x3_s2", "data", 32, 3, 2, padded=False)
    blob = _conv(net, "conv2_3x3_s1", blob, 32, 3, padded=False)
    blob = _conv(net, "conv3_3x3_s1", blob, 64, 3)
    strided = _conv(net, "inception_stem1_3x3_s2", blob, 96, 3, 2, padded=False)
    pooled = net.pool("inception_stem1_pool", blob, "MAX", 3, 2)
    blob = net.concat("inception_stem1", [pooled, strided])

    prefix = "inception_stem2"
    short = _conv(net, f"{prefix}_3x3_reduce", blob, 64, 1)
    short = _conv(net, f"{prefix}_3x3", short, 96, 3, padded=False)
    steps = [("1x7_reduce", 64, 1), ("1x7", 64, _ROW), ("7x1", 64, _COLUMN)]
    long = _chain(net, prefix, blob, steps)
    long = _conv(net, f"{prefix}_3x3_2", long, 96, 3, padded=False)
    blob = net.concat(prefix, [short, long])

    strided = _conv(net, "inception_stem3_3x3_s2", blob, 192, 3, 2, padded=False)
    pooled = net.pool("inception_stem3_pool", blob, "MAX", 3, 2)
    return net.concat("inception_stem3", [strided, pooled])


def _v4_a(net: Builder, prefix: str, bottom: str) -> str:
    branches = (
        [("1x1_2", 96, 1)],
        [("3x3_reduce", 64, 1), ("3x3", 96, 3)],
        [("3x3_2_reduce", 64, 1), ("3x3_2", 96, 3), ("3x3_3", 96, 3)],
    )
    blobs = [_chain(net, prefix, bottom, branch) for branch in branches]
    blobs.append(_averaged(net, f"{prefix}_pool_ave", f"{prefix}_1x1", bottom, 96))
    return net.concat(f"{prefix}_concat", blobs)


def _v4_b(net: Builder, prefix: str, bottom: str) -> str:
    branches = (
        [("1x1_2", 384, 1)],
        [("1x7_reduce", 192, 1), ("1x7", 224, _ROW), ("7x1", 256, _COLUMN)],
        [
            ("7x1_2_reduce", 192, 1),
            ("7x1_2", 192, _COLUMN),
            ("1x7_2", 224, _ROW),
            ("7x1_3", 224, _COLUMN),
            ("1x7_3", 256, _ROW),
        ],
    )
    blobs = [_chain(net, prefix, bottom, branch) for branch in branches]
    blobs.append(_averaged(net, f"{prefix}_pool_ave", f"{prefix}_1x1", bottom, 128))
    return net.concat(f"{prefix}_concat", blobs)


def _v4_c(net: Builder, prefix: str, bottom: str) -> str:
    def conv(part: str, blob: str, filters: int, kernel: int | tuple[int, int]) -> str:
        return _conv(net, f"{prefix}_{part}", blob, filters, kernel)

    blobs = [conv("1x1_2", bottom, 256, 1)]
    blob = conv("1x1_3", bottom, 384, 1)
    blobs += [conv("1x3", blob, 256, (1, 3)), conv("3x1", blob, 256, (3, 1))]
    steps = [("1x1_4", 384, 1), ("3x1_2", 448, (3, 1)), ("1x3_2", 512, (1, 3))]
    blob = _chain(net, prefix, bottom, steps)
    blobs += [conv("1x3_3", blob, 256, (1, 3)), conv("3x1_3", blob, 256, (3, 1))]
    blobs.append(_averaged(net, f"{prefix}_pool_ave", f"{prefix}_1x1", bottom, 256))
    return net.concat(f"{prefix}_concat", blobs)


# ---- Inception-ResNet-v2 ----
def inception_resnet_v2(net: Builder) -> None:
    blob = _small_stem(net)
    branches = (
        [("1x1", 96, 1)],
        [("5x5_reduce", 48, 1), ("5x5", 64, 5)],
        [("3x3_reduce", 64, 1), ("3x3", 96, 3), ("3x3_2", 96, 3)],
    )
    blobs = [_chain(net, "conv5", blob, branch) for branch in branches]
    blobs.append(_averaged(net, "ave_pool", "conv5_1x1_ave", blob, 64))
    blob = net.concat("stem_concat", blobs)

    wide = [("3x3_2_reduce", 32, 1), ("3x3_2", 48, 3), ("3x3_3", 64, 3)]
    a = ([("1x1", 32, 1)], [("3x3_reduce", 32, 1), ("3x3", 32, 3)], wide)
    for i in range(1, 11):
        blob = _residual(net, f"a{i}", blob, a, 320, 0.17)
    double = [("3x3_2_reduce", 256, 1), ("3x3_2", 256, 3), ("3x3_3", 384, 3)]
    blob = _reduce(net, "reduction_a", blob, [[("3x3", 384, 3)], double])

    b = ([("1x1", 192, 1)], [("1x7_reduce", 128, 1), ("1x7", 160, _ROW), ("7x1", 192, _COLUMN)])
    for i in range(1, 21):
        blob = _residual(net, f"b{i}", blob, b, 1088, 0.1)
    branches = [
        [("3x3_reduce", 256, 1), ("3x3", 384, 3)],
        [("3x3_2_reduce", 256, 1), ("3x3_2", 288, 3)],
        [("3x3_3_reduce", 256, 1), ("3x3_3", 288, 3), ("3x3_4", 320, 3)],
    ]
    blob = _reduce(net, "reduction_b", blob, branches)

    c = ([("1x1", 192, 1)], [("1x3_reduce", 192, 1), ("1x3", 224, (1, 3)), ("3x1", 256, (3, 1))])
    for i in range(1, 10):
        blob = _residual(net, f"c{i}", blob, c, 2080, 0.2)
    blob = _residual(net, "c10", blob, c, 2080, 1, relu=False)
    _classify(net, _conv(net, "conv6_1x1", blob, 1536, 1), 0.2)


def _residual(
    net: Builder, block: str, bottom: str, branches: Sequence[Branch], channels: int,
    scale: float, relu: bool = True,
) -> str:  # fmt: skip
    """The input plus a share of what the branches find, which keeps deep sums from running off."""
    prefix = f"inception_resnet_v2_{block}"
    blobs = [_chain(net, prefix, bottom, branch) for branch in branches]
    up = net.conv(f"{prefix}_up", net.concat(f"{prefix}_concat", blobs), channels, 1)
    name = f"{prefix}_residual_eltwise"
    blob = net.add(name, [bottom, up], (1, scale))
    return net.relu(f"{name}_relu", blob) if relu else blob

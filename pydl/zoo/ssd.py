"""SSD (Liu et al. 2015) on VGG-16 and on MobileNet, with the names of their releases: boxes and
classes are read off six or seven maps, from fine to coarse. Classes include the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydl.zoo import vgg
from pydl.zoo.builder import Builder
from pydl.zoo.mobilenet import V1_BLOCKS

_VARIANCES = (0.1, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class _Source:
    """A map, and the boxes around each of its cells: sizes in pixels of the image."""

    blob: str
    min_size: float
    max_size: float | None
    ratios: Sequence[float]
    step: int = 0

    @property
    def boxes(self) -> int:
        """Squares of the sizes given, and for each ratio a wide and a tall box."""
        return 1 + (self.max_size is not None) + 2 * len(self.ratios)

    def prior_box_param(self) -> dict[str, Any]:
        param = {
            "min_size": [self.min_size],
            "aspect_ratio": list(self.ratios),
            "flip": True,
            "clip": False,
            "variance": list(_VARIANCES),
            "offset": 0.5,
        }
        if self.max_size is not None:
            param["max_size"] = [self.max_size]
        return param | ({"step": self.step} if self.step else {})


# ---- on VGG-16 ----
def ssd300(net: Builder) -> None:
    blobs = _vgg(net, (("6", 256, 512, 2), ("7", 128, 256, 2), ("8", 128, 256, 1),
                       ("9", 128, 256, 1)))  # fmt: skip
    sizes = (30, 60, 111, 162, 213, 264, 315)
    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    steps = (8, 16, 32, 64, 100, 300)
    _detect(net, _sources(blobs, sizes, ratios, steps), 0.01, 400, 200, kernel=3)


def ssd512(net: Builder) -> None:
    blobs = _vgg(net, (("6", 256, 512, 2), ("7", 128, 256, 2), ("8", 128, 256, 2),
                       ("9", 128, 256, 2), ("10", 128, 256, 4)))  # fmt: skip
    sizes = (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6)
    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
    steps = (8, 16, 32, 64, 128, 256, 512)
    _detect(net, _sources(blobs, sizes, ratios, steps), 0.01, 400, 200, kernel=3)


def _sources(blobs: Sequence[str], sizes: Sequence[float], ratios: Sequence[Sequence[float]],
             steps: Sequence[int]) -> list[_Source]:  # fmt: skip
    return [
        _Source(blob, sizes[i], sizes[i + 1], ratios[i], steps[i]) for i, blob in enumerate(blobs)
    ]


def _vgg(net: Builder, extras: Sequence[tuple[str, int, int, int]]) -> list[str]:
    """VGG-16 with fc6 and fc7 as (dilated) convolutions, and pairs of convolutions behind it: by
    stride 2, by stride 1 without padding, or (4) by a padded 4x4 kernel."""
    blob, sources = "data", []
    for block in range(1, 6):
        blob = vgg.convolutions(net, blob, block)
        if block == 4:
            norm = {"across_spatial": False, "channel_shared": False}
            norm |= {"scale_filler": {"type": "constant", "value": 20}}
            sources.append(net.layer("Normalize", "conv4_3_norm", blob, norm_param=norm))
        window = (3, 1, 1) if block == 5 else (2, 2, 0)
        blob = net.pool(f"pool{block}", blob, "MAX", *window)
    blob = net.relu("relu6", net.conv("fc6", blob, 1024, 3, pad=6, dilation=6))
    blob = net.relu("relu7", net.conv("fc7", blob, 1024, 1))
    sources.append(blob)
    for name, reduced, filters, how in extras:
        blob = net.relu(f"conv{name}_1_relu", net.conv(f"conv{name}_1", blob, reduced, 1))
        kernel, stride, pad = {1: (3, 1, 0), 2: (3, 2, 1), 4: (4, 1, 1)}[how]
        blob = net.conv(f"conv{name}_2", blob, filters, kernel, stride=stride, pad=pad)
        sources.append(net.relu(f"conv{name}_2_relu", blob))
    return sources


# ---- on MobileNet ----
def mobilenet_ssd(net: Builder) -> None:
    _mobilenet_ssd(net, norm=True)


def mobilenet_ssd_released(net: Builder) -> None:
    """As its released deploy weights have it: BatchNorm is merged into the convolutions."""
    _mobilenet_ssd(net, norm=False)


def _mobilenet_ssd(net: Builder, norm: bool) -> None:
    def conv(name: str, bottom: str, filters: int, kernel: int, **shape: int) -> str:
        bias = None if norm else 0
        blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=bias, **shape)
        blob = net.bn(blob, f"{name}/bn", f"{name}/scale") if norm else blob
        return net.relu(f"{name}/relu", blob)

    blob, channels, seen = conv("conv0", "data", 32, 3, stride=2), 32, {}
    for i, (_, filters, stride) in enumerate(V1_BLOCKS, 1):
        blob = conv(f"conv{i}/dw", blob, channels, 3, stride=stride, group=channels)
        blob, channels = conv(f"conv{i}", blob, filters, 1), filters
        seen[i] = blob
    sources = [seen[11], seen[13]]
    for i, filters in ((14, 512), (15, 256), (16, 256), (17, 128)):
        blob = conv(f"conv{i}_1", blob, filters // 2, 1)
        blob = conv(f"conv{i}_2", blob, filters, 3, stride=2)
        sources.append(blob)
    sizes = (105, 150, 195, 240, 285, 300)
    coarse = [_Source(name, sizes[i], sizes[i + 1], (2, 3)) for i, name in enumerate(sources[1:])]
    _detect(net, [_Source(sources[0], 60, None, (2,)), *coarse], 0.25, 100, 100, kernel=1)


# ---- boxes and classes ----
def _detect(
    net: Builder, sources: Sequence[_Source], threshold: float, top_k: int, keep_top_k: int, *,
    kernel: int,
) -> None:  # fmt: skip
    locs, confs, priors = [], [], []
    for source in sources:
        prefix = f"{source.blob}_mbox"
        locs.append(_head(net, f"{prefix}_loc", source, 4 * source.boxes, kernel))
        confs.append(_head(net, f"{prefix}_conf", source, net.classes * source.boxes, kernel))
        bottoms, param = [source.blob, "data"], source.prior_box_param()
        priors.append(net.layer("PriorBox", f"{prefix}_priorbox", bottoms, prior_box_param=param))
    loc = net.concat("mbox_loc", locs)
    conf = net.concat("mbox_conf", confs)
    prior = net.concat("mbox_priorbox", priors, axis=2)
    if net.train:
        _loss(net, loc, conf, prior)
        return
    conf = net.reshape("mbox_conf_reshape", conf, (0, -1, net.classes))
    conf = net.layer("Softmax", "mbox_conf_softmax", conf, softmax_param={"axis": 2})
    conf = net.layer("Flatten", "mbox_conf_flatten", conf)
    param = {
        "num_classes": net.classes,
        "share_location": True,
        "background_label_id": 0,
        "nms_param": {"nms_threshold": 0.45, "top_k": top_k},
        "code_type": "CENTER_SIZE",
        "keep_top_k": keep_top_k,
        "confidence_threshold": threshold,
    }
    bottoms = [loc, conf, prior]
    net.layer("DetectionOutput", "detection_out", bottoms, detection_output_param=param)


def _head(net: Builder, name: str, source: _Source, channels: int, kernel: int) -> str:
    """Numbers for each box of each cell: (N, cells * boxes * numbers)."""
    conv = net.scores(name) if name.endswith("conf") else name
    blob = net.conv(conv, source.blob, channels, kernel, pad=kernel // 2, filler="xavier")
    blob = net.layer("Permute", f"{name}_perm", blob, permute_param={"order": [0, 2, 3, 1]})
    return net.layer("Flatten", f"{name}_flat", blob)


def _loss(net: Builder, loc: str, conf: str, prior: str) -> None:
    """``label``: (1, 1, boxes, 8), rows of image, class, instance, corners from 0 to 1, difficult;
    of any number."""
    net.input("label", 1, 1, net.batch, 8)
    param = {
        "loc_loss_type": "SMOOTH_L1",
        "conf_loss_type": "SOFTMAX",
        "num_classes": net.classes,
        "overlap_threshold": 0.5,
        "neg_pos_ratio": 3,
        "neg_overlap": 0.5,
        "code_type": "CENTER_SIZE",
        "mining_type": "MAX_NEGATIVE",
    }
    net.layer("MultiBoxLoss", "mbox_loss", [loc, conf, prior, "label"],
              multibox_loss_param=param, loss_param={"normalization": "VALID"},
              propagate_down=[True, True, False, False])  # fmt: skip

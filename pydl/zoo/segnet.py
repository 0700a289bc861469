"""SegNet (Badrinarayanan et al. 2015) on VGG-16 with the names of its release: the decoder puts
each value back to where the encoder's pooling took it from."""

from __future__ import annotations

from pydl.zoo import vgg
from pydl.zoo.builder import Builder

ROWS, COLUMNS = 360, 480
_FILLERS = {
    "scale_filler": {"type": "constant", "value": 1},
    "shift_filler": {"type": "constant", "value": 0.001},
}


def segnet(net: Builder) -> None:
    blob, sizes = "data", [(ROWS, COLUMNS)]
    for block in range(1, 6):
        for i in range(1, _convs(block) + 1):
            blob = _conv(net, f"{block}_{i}", "", blob, vgg.FILTERS[block - 1])
        blob = net.pool(f"pool{block}", blob, "MAX", 2, 2, mask=f"pool{block}_mask")
        rows, columns = sizes[-1]
        sizes.append(((rows + 1) // 2, (columns + 1) // 2))
    for block in range(5, 0, -1):
        blob = _upsample(net, block, blob, sizes[block], sizes[block - 1])
        for i in range(_convs(block), 1 if block == 1 else 0, -1):
            filters = vgg.FILTERS[block - (2 if i == 1 else 1)]
            blob = _conv(net, f"{block}_{i}", "_D", blob, filters)
    scores = net.conv(net.scores("conv1_1_D"), blob, net.classes, 3, pad=1)
    net.segmenter(scores, ROWS, COLUMNS, ignore=net.classes)
    if not net.train:
        net.layer("Softmax", "prob", scores)


def _convs(block: int) -> int:
    return 2 if block < 3 else 3


def _conv(net: Builder, name: str, suffix: str, bottom: str, filters: int) -> str:
    blob = net.conv(f"conv{name}{suffix}", bottom, filters, 3, pad=1)
    param = _FILLERS if net.train else {**_FILLERS, "bn_mode": "INFERENCE"}
    blob = net.layer("BN", f"conv{name}{suffix}_bn", blob, blob, bn_param=param)
    return net.relu(f"relu{name}{suffix}", blob)


def _upsample(
    net: Builder, block: int, blob: str, size: tuple[int, int], wanted: tuple[int, int]
) -> str:
    """Twice the size, or what the encoder had, which pooling may have rounded up."""
    param: dict[str, int] = {"scale": 2}
    if wanted != (2 * size[0], 2 * size[1]):
        param |= {"upsample_h": wanted[0], "upsample_w": wanted[1]}
    return net.layer("Upsample", f"upsample{block}", [blob, f"pool{block}_mask"],
                     f"pool{block}_D", upsample_param=param)  # fmt: skip

"""U-Net (Ronneberger et al. 2015) with the names of its release. Nothing is padded: 572 pixels
across give the classes of the inner 388."""

from __future__ import annotations

from pydl.zoo.builder import Builder


def unet(net: Builder) -> None:
    blob, seen = "data", {}
    for level in range(5):
        for a, b in ("ab", "bc"):
            blob = net.conv(f"conv_d{level}{a}-{b}", blob, 64 << level, 3)
            blob = net.relu(f"relu_d{level}{b}", blob)
        if level > 2:
            blob = net.dropout(f"dropout_d{level}c", blob)
        seen[level] = blob
        if level < 4:
            blob = net.pool(f"pool_d{level}c-{level + 1}a", blob, "MAX", 2, 2)
    for level in range(3, -1, -1):
        blob = _up(net, level, blob, seen[level])
    scores = net.conv(net.scores("conv_u0d-score"), blob, net.classes, 1)
    net.segmenter(scores, 388, 388)


def _up(net: Builder, level: int, blob: str, seen: str) -> str:
    """Twice the size and half the channels, beside what the way down saw at this size."""
    filters = 64 << level
    below = "d4c" if level == 3 else f"u{level + 1}d"
    blob = net.deconv(f"upconv_{below}_u{level}a", blob, filters, 2, stride=2)
    blob = net.relu(f"relu_u{level}a", blob)
    seen = net.crop(f"crop_d{level}c-d{level}cc", seen, blob, _BORDERS[level])
    blob = net.concat(f"concat_d{level}cc_u{level}a-b", [blob, seen])
    for a, b in ("bc", "cd"):
        blob = net.relu(f"relu_u{level}{b}", net.conv(f"conv_u{level}{a}-{b}", blob, filters, 3))
    return blob


_BORDERS = (88, 40, 16, 4)  # what the convolutions further down have cut off on each side

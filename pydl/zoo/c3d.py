"""C3D (Tran et al. 2014): 3x3x3 convolutions over 16 frames, with the names of its release."""

from __future__ import annotations

from pydl.zoo.builder import Builder

_BLOCKS = (("1", "a", 64), ("2", "a", 128), ("3", "ab", 256), ("4", "ab", 512), ("5", "ab", 512))


def c3d(net: Builder) -> None:
    """Blobs are (N, channels, frames, rows, columns)."""
    blob = "data"
    for block, letters, filters in _BLOCKS:
        for letter in letters:
            blob = net.conv(f"conv{block}{letter}", blob, filters, 3, pad=1, filler="xavier")
            blob = net.relu(f"relu{block}{letter}", blob)
        window = (1, 2, 2) if block == "1" else 2
        blob = net.pool(f"pool{block}", blob, "MAX", window, window)
    for i in (6, 7):
        blob = net.relu(f"relu{i}", net.fc(f"fc{i}-1", blob, 4096))
        blob = net.dropout(f"drop{i}", blob)
    net.classifier(net.fc(net.scores("fc8-1"), blob, net.classes))

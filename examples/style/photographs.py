"""Photographs that come with scikit-image and scikit-learn, as arrays (1, 3, H, W) of values around
0."""

import numpy as np
from PIL import Image

GREY, SCALE = 0.45, 4.0  # a pixel from 0 to 1, less GREY, times SCALE
LOW, HIGH = SCALE * (0 - GREY), SCALE * (1 - GREY)
NAMES = ["astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel",
         "hubble_deep_field", "immunohistochemistry", "moon", "retina", "rocket"]  # fmt: skip


def load():
    """All photographs by name: (H, W, 3), uint8."""
    try:
        from skimage import data
        from sklearn.datasets import load_sample_images
    except ImportError as missing:
        raise SystemExit(f"{missing}; pip install scikit-image scikit-learn") from None
    found = {name: np.asarray(getattr(data, name)()) for name in NAMES}
    found |= dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
    return {name: np.stack([x] * 3, -1) if x.ndim == 2 else x for name, x in found.items()}


def fitted(photograph, height, width):
    """Its middle, of this shape, in the net's terms: (1, 3, height, width)."""
    image = Image.fromarray(photograph)
    scale = max(height / image.height, width / image.width)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    x, y = (image.width - width) // 2, (image.height - height) // 2
    return to_net(np.asarray(image.crop((x, y, x + width, y + height))))


def to_net(pixels):
    """(H, W, 3), uint8, to (1, 3, H, W)."""
    return np.float32(SCALE * (pixels.transpose(2, 0, 1)[None] / 255 - GREY))


def to_pixels(picture):
    """The way back."""
    return np.uint8(255 * np.clip(picture[0].transpose(1, 2, 0) / SCALE + GREY, 0, 1))


class Pieces:
    """Pieces without end, of 48x48 pixels, of photographs at several sizes: turned and mirrored,
    brighter and darker, and every other one grey, so that colours alone do not tell them apart."""

    SIZE = 48

    def __init__(self, photographs, seed):
        self.random = np.random.default_rng(seed)
        self.sizes = [
            [np.asarray(image.resize((int(image.width * s), int(image.height * s))), np.float32)
             for s in (0.3, 0.5, 0.8)]
            for image in map(Image.fromarray, photographs)
        ]  # fmt: skip

    def batch(self, count):
        """(count, 3, 48, 48), and the numbers of the photographs."""
        labels = self.random.integers(0, len(self.sizes), count)
        return np.stack([self.piece(label) for label in labels]), labels

    def piece(self, label):
        image = self.sizes[label][self.random.integers(3)]
        y, x = (self.random.integers(n - self.SIZE) for n in image.shape[:2])
        piece = image[y : y + self.SIZE, x : x + self.SIZE] / 255 - GREY
        piece = np.rot90(piece, self.random.integers(4))[:, :: self.random.choice((1, -1))]
        if self.random.random() < 0.5:
            piece = np.broadcast_to(piece.mean(axis=2, keepdims=True), piece.shape)
        gain, shift = self.random.uniform(0.7, 1.3), self.random.uniform(-0.2, 0.2)
        return SCALE * (gain * piece + shift).transpose(2, 0, 1)

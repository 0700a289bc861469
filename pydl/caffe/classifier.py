"""pycaffe's Classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from pydl.caffe import io
from pydl.caffe.net import TEST, Net


def image_transformer(
    net: Net,
    mean: np.ndarray | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> io.Transformer:
    """A Transformer for a net's first input, with the channels in front."""
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net that scores images.

    Args:
        model_file, pretrained_file: the net's deploy prototxt and its weights.
        image_dims: (height, width) that images are resized to before crops are cut out of them;
            the net's input size if not given.
        mean, input_scale, raw_scale, channel_swap: see `pydl.caffe.io.Transformer`.
        allow_python: see `pydl.Net`.

    >>> classifier = Classifier("deploy.prototxt", "caffenet.caffemodel", (256, 256), raw_scale=255)
    >>> classifier.predict([caffe.io.load_image("cat.jpg")]).argmax()
    """

    def __init__(
        self,
        model_file: str | os.PathLike,
        pretrained_file: str | os.PathLike,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        allow_python: bool = True,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file, allow_python=allow_python)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Scores of images (H, W, K) of floats.

        Args:
            oversample: the mean over ten crops of each image, not the centre crop alone.

        Returns:
            (number of images, number of classes)
        """
        images = np.stack([io.resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            images = io.oversample(images, self.crop_dims)
        else:
            y, x = (int(size / 2 - crop / 2) for size, crop in self._sizes())
            height, width = self.crop_dims
            images = images[:, y : y + height, x : x + width]
        name = self.inputs[0]
        data = np.stack([self.transformer.preprocess(name, image) for image in images])
        scores = self.forward_all(**{name: data})[self.outputs[0]]
        return scores.reshape(len(inputs), 10, -1).mean(axis=1) if oversample else scores

    def _sizes(self) -> list[tuple[int, int]]:
        return list(zip(self.image_dims, self.crop_dims, strict=True))

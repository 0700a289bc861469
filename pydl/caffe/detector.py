"""pycaffe's Detector: scores of windows in images, as for R-CNN (Girshick et al. 2014)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pydl.caffe import io
from pydl.caffe.classifier import image_transformer
from pydl.caffe.net import TEST, Net
from pydl.errors import Error

Windows = Iterable[tuple[str, np.ndarray]]  # (image file, windows (n, 4))


class Detector(Net):
    """A net that scores windows of images.

    Args:
        model_file, pretrained_file: the net's deploy prototxt and its weights.
        mean, input_scale, raw_scale, channel_swap: see `pydl.caffe.io.Transformer`.
        context_pad: how much of the surroundings goes along with a window, in pixels of the net's
            input on each side.
        allow_python: see `pydl.Net`.
    """

    def __init__(
        self,
        model_file: str | os.PathLike,
        pretrained_file: str | os.PathLike,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
        allow_python: bool = True,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file, allow_python=allow_python)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Windows) -> list[dict[str, Any]]:
        """Scores windows.

        Args:
            images_windows: pairs of an image file and its windows (ymin, xmin, ymax, xmax).

        Returns:
            For each window a dict of ``window``, ``prediction`` and ``filename``.
        """
        name = self.inputs[0]
        places, inputs = [], []
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                places.append((filename, window))
                crop = self.crop(image, np.asarray(window))
                inputs.append(self.transformer.preprocess(name, crop))
        if not inputs:
            return []
        scores = self.forward_all(**{name: np.stack(inputs)})[self.outputs[0]]
        return [
            {"window": window, "prediction": score, "filename": filename}
            for (filename, window), score in zip(places, scores, strict=True)
        ]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Scores the windows that selective search finds. Raises Error without its module."""
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError as error:
            raise Error(
                "detect_selective_search needs the module selective_search_ijcv_with_python, which "
                "runs MATLAB; find windows by other means and give them to detect_windows"
            ) from error
        files = [os.path.abspath(name) for name in image_fnames]
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(zip(files, windows, strict=True))

    def crop(self, im: np.ndarray, window: np.ndarray) -> np.ndarray:
        """A window (ymin, xmin, ymax, xmax) of an image (H, W, K).

        With ``context_pad`` it is enlarged by that, resized to the net's input, and where it goes
        beyond the image filled up with the mean.
        """
        if not self.context_pad:
            top, left, bottom, right = np.asarray(window).astype(int)
            return im[top:bottom, left:right]
        box = self._with_context(np.asarray(window, np.float64))
        full = box[2:] - box[:2] + 1  # height and width, R-CNN's way of counting
        scale = self._input_size() / full
        start = np.round(np.maximum(0, -box[:2]) * scale).astype(int)
        box = np.clip(box, 0, np.tile(im.shape[:2], 2)).astype(int)
        clipped = box[2:] - box[:2] + 1
        if (box[2:] <= box[:2]).any():
            raise Error(f"window {window.tolist()} lies outside of the image {im.shape[:2]}")
        size = np.minimum(np.round(clipped * scale).astype(int), self._input_size() - start)
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        inside = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
        crop[inside] = io.resize_image(im[box[0] : box[2], box[1] : box[3]], size)
        return crop

    def _with_context(self, box: np.ndarray) -> np.ndarray:
        """The window about its centre, so much larger that `context_pad` pixels of the input
        show what is around it."""
        scale = self._input_size() / (self._input_size() - 2.0 * self.context_pad)
        half = (box[2:] - box[:2] + 1) / 2
        centre = box[:2] + half
        return np.round(np.concatenate([centre - scale * half, centre + scale * half]))

    def _input_size(self) -> int:
        return self.blobs[self.inputs[0]].width  # of a square

    def configure_crop(self, context_pad: int | None) -> None:
        """Sets `context_pad`, and what fills up windows beyond an image."""
        name = self.inputs[0]
        transformer = self.transformer
        back = np.argsort(transformer.transpose[name])
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[back]
        self.context_pad = context_pad
        if not context_pad:
            return
        mean = transformer.mean.get(name)
        if mean is None:
            self.crop_mean = np.zeros(self.crop_dims, np.float32)
            return
        crop_mean = mean.transpose(back)
        if transformer.channel_swap.get(name) is not None:
            crop_mean = crop_mean[:, :, np.argsort(transformer.channel_swap[name])]
        if transformer.raw_scale.get(name) is not None:
            crop_mean = crop_mean / transformer.raw_scale[name]
        self.crop_mean = crop_mean

"""Microseconds per picture of transform_param.augment, beside Pillow (and OpenCV's warp), one core.

python benchmarks/augment.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageEnhance

import pydl
from pydl import prototxt

GEOMETRY = "rotation: 15 shear: 8 scale_min: 0.9 scale_max: 1.2 translation: 0.1"
COLOURS = "brightness: 0.2 contrast: 0.2 saturation: 0.2 hue: 10"
FIELDS = {
    "nothing": "probability: 0",
    "geometry": GEOMETRY,
    "colours": COLOURS,
    "blur": "blur: 1",
    "noise": "noise: 10",
    "geometry, colours": f"{GEOMETRY} {COLOURS}",
    "all": f"{GEOMETRY} {COLOURS} blur: 1 noise: 10 cutout: 0.3",
}
MAP = np.float32([[0.95, 0.2, 1], [-0.2, 1.05, 2]])
TEXT = """layer {{ name: "data" type: "MemoryData" top: "x" top: "t"
  memory_data_param {{ batch_size: {n} channels: 3 height: {size} width: {size} }}
  transform_param {{ mirror: true mean_value: 100 augment {{ {fields} }} }} }}"""


def best(call: Callable[[], object], count: int, repeats: int = 9) -> float:
    """The shortest of some calls, in microseconds per picture."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / count


def pydl_time(pictures: list[np.ndarray], fields: str) -> float:
    size, labels = pictures[0].shape[-1], [0.0] * len(pictures)
    text = TEXT.format(n=len(pictures), size=size, fields=fields)
    memory = pydl.Net(prototxt.parse(text), phase="TRAIN")._core.layer(0)
    return best(lambda: memory.add_records(pictures, labels), len(pictures))


def pillow(image: Image.Image, colours: bool) -> np.ndarray:
    image = image.transform(image.size, Image.AFFINE, MAP.ravel().tolist(), Image.BILINEAR)
    if colours:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(1.1)
        hue, saturation, value = image.convert("HSV").split()
        hue = Image.fromarray(np.asarray(hue) + np.uint8(7))
        image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return np.asarray(image, np.float32).transpose(2, 0, 1) - 100


def compare(size: int, count: int) -> None:
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (count, 3, size, size)).astype(np.uint8))
    arrays = [np.ascontiguousarray(p.transpose(1, 2, 0)) for p in pictures]
    images = [Image.fromarray(a) for a in arrays]
    rows = {name: pydl_time(pictures, fields) for name, fields in FIELDS.items()}
    rows["Pillow geometry"] = best(lambda: [pillow(i, False) for i in images], count)
    rows["Pillow geometry, colours"] = best(lambda: [pillow(i, True) for i in images], count)
    rows["OpenCV geometry, of bytes"] = best(
        lambda: [cv2.warpAffine(a, MAP, (size, size)) for a in arrays], count
    )
    print(f"{size}x{size}x3, microseconds per picture")
    for name, took in rows.items():
        print(f"  {name:<26}{took:9.1f}")


def main() -> None:
    pydl.set_num_threads(1)
    cv2.setNumThreads(1)
    compare(32, 256)
    compare(256, 16)


if __name__ == "__main__":
    main()

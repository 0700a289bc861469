"""A small Faster R-CNN learns to find and read pasted digits (Ren et al. 2015, arXiv:1506.01497).

python examples/faster_rcnn/faster_rcnn.py [--iterations N] [--pictures N] [--output FILE.png]
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import pydl
from pydl.tools.detections import detect

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from objects.pictures import PictureMaker  # noqa: E402
from objects.scores import Detections, mean_average_precision  # noqa: E402

CLASSES = 10
STDS = np.float32([0.1, 0.1, 0.2, 0.2])  # bbox_normalize_stds of the prototxt


def fill(net, picture):
    size = picture.image.shape[1]
    net.blobs["data"].data[...] = picture.image
    net.blobs["im_info"].data[...] = [[size, size, 1]]
    truth = np.hstack([picture.boxes, picture.labels[:, None] + 1])  # 0 is the background
    net.blobs["gt_boxes"].reshape(*truth.shape)
    net.blobs["gt_boxes"].data[...] = truth


def train(solver, maker, iterations, rng):
    began, losses = time.monotonic(), []
    for i in range(1, iterations + 1):
        fill(solver.net, maker.make(rng))
        losses.append(solver.step(1))
        if i % 500 == 0 or i == iterations:
            loss, seconds = np.mean(losses[-500:]), time.monotonic() - began
            print(f"iteration {i}: loss {loss:.3f}, {seconds:.0f} s", flush=True)


def denormalize(net):
    """Lets the net say where boxes are in sides of the regions, as py-faster-rcnn does when it
    saves a net: in training these numbers are divided by their usual size."""
    for blob in net.params["bbox_pred"]:
        rows = blob.data.reshape(-1, 4, blob.count // blob.data.shape[0])
        rows *= STDS[:, None]


def found_in(net, picture):
    found = detect(net, np.uint8(np.round(255 * picture.image)), scale=1 / 255, threshold=0.05)
    return Detections(
        np.array([d.box for d in found]).reshape(-1, 4),
        np.array([d.label - 1 for d in found], int),
        np.array([d.score for d in found]),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--pictures", type=int, default=200, help="to test on")
    parser.add_argument("--output", default="faster_rcnn.png")
    given = parser.parse_args()
    solver = pydl.Solver(HERE / "solver.prototxt")
    train(solver, PictureMaker.of("mnist_sample/train"), given.iterations or solver.max_iter,
          np.random.default_rng(1))  # fmt: skip
    denormalize(solver.net)
    solver.net.save("faster_rcnn.caffemodel")

    maker, rng = PictureMaker.of("mnist_sample/test"), np.random.default_rng(2)
    pictures = [maker.make(rng) for _ in range(given.pictures)]
    net = pydl.Net(HERE / "faster_rcnn.prototxt", "faster_rcnn.caffemodel", phase="TEST")
    began = time.monotonic()
    found = [found_in(net, picture) for picture in pictures]
    each = 1000 * (time.monotonic() - began) / len(pictures)
    score = mean_average_precision(found, pictures, CLASSES)
    print(f"mAP@0.5: {score:.3f} on {len(pictures)} pictures of new digits, {each:.1f} ms each")

    from objects.drawing import draw  # needs matplotlib

    draw(pictures[:8], [f.above(0.5) for f in found[:8]], maker.class_names, given.output)
    print(f"{given.output}: detections with a score above 0.5")


if __name__ == "__main__":
    main()

"""A small Faster R-CNN learns to find and read pasted digits (Ren et al. 2015, arXiv:1506.01497).

python examples/faster_rcnn/faster_rcnn.py [--iterations N] [--pictures N] [--output FILE.png]
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import pydl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from objects.pictures import PictureMaker  # noqa: E402
from objects.scores import Detections, mean_average_precision, suppressed  # noqa: E402

CLASSES = 10
STDS = np.float32([0.1, 0.1, 0.2, 0.2])  # bbox_normalize_stds of the prototxt
NMS = 0.3  # greatest overlap of two detections of a class
LEAST_SCORE = 0.05


def fill(net, picture, train):
    size = picture.image.shape[1]
    net.blobs["data"].data[...] = picture.image
    net.blobs["im_info"].data[...] = [[size, size, 1]]
    if train:
        truth = np.hstack([picture.boxes, picture.labels[:, None] + 1])  # 0 is the background
        net.blobs["gt_boxes"].reshape(*truth.shape)
        net.blobs["gt_boxes"].data[...] = truth


def train(solver, maker, iterations, rng):
    began, losses = time.monotonic(), []
    for i in range(1, iterations + 1):
        fill(solver.net, maker.make(rng), train=True)
        losses.append(solver.step(1))
        if i % 500 == 0 or i == iterations:
            loss, seconds = np.mean(losses[-500:]), time.monotonic() - began
            print(f"iteration {i}: loss {loss:.3f}, {seconds:.0f} s", flush=True)


def detect(net, picture):
    """Detections of one picture, class by class, by the score of each region."""
    fill(net, picture, train=False)
    net.forward()
    regions, prob = net.blobs["rois"].data[:, 1:], net.blobs["cls_prob"].data
    deltas = net.blobs["bbox_pred"].data.reshape(len(regions), CLASSES + 1, 4) * STDS
    found = []
    for label in range(CLASSES):
        scores = prob[:, label + 1]
        keep = scores > LEAST_SCORE
        boxes = moved(regions[keep], deltas[keep, label + 1], picture.image.shape[1])
        best = suppressed(boxes, scores[keep], NMS)
        found.append(Detections(boxes[best], np.full(len(best), label), scores[keep][best]))
    return Detections(*(np.concatenate([getattr(f, field) for f in found])
                        for field in ("boxes", "labels", "scores")))  # fmt: skip


def moved(boxes, deltas, size):
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    centre = boxes[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = np.exp(deltas[:, 2:]) * sides / 2
    return np.clip(np.hstack([centre - half, centre + half - 1]), 0, size - 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--pictures", type=int, default=200, help="to test on")
    parser.add_argument("--output", default="faster_rcnn.png")
    given = parser.parse_args()
    solver = pydl.Solver(HERE / "solver.prototxt")
    train(solver, PictureMaker.of("mnist_sample/train"), given.iterations or solver.max_iter,
          np.random.default_rng(1))  # fmt: skip
    solver.net.save("faster_rcnn.caffemodel")

    maker, rng = PictureMaker.of("mnist_sample/test"), np.random.default_rng(2)
    pictures = [maker.make(rng) for _ in range(given.pictures)]
    net = pydl.Net(HERE / "faster_rcnn.prototxt", "faster_rcnn.caffemodel", phase="TEST")
    began = time.monotonic()
    found = [detect(net, picture) for picture in pictures]
    each = 1000 * (time.monotonic() - began) / len(pictures)
    score = mean_average_precision(found, pictures, CLASSES)
    print(f"mAP@0.5: {score:.3f} on {len(pictures)} pictures of new digits, {each:.1f} ms each")

    from objects.drawing import draw  # needs matplotlib

    draw(pictures[:8], [f.above(0.5) for f in found[:8]], maker.class_names, given.output)
    print(f"{given.output}: detections with a score above 0.5")


if __name__ == "__main__":
    main()

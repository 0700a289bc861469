"""R-CNN on pasted digits (Girshick et al. 2014, arXiv:1311.2524): regions from selective search, a
CNN's features of each, linear SVMs that name it, and regression that moves its box.

python examples/rcnn/rcnn.py [--iterations N] [--pictures N] [--output FILE.png]

Needs scikit-image, scikit-learn and matplotlib.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from proposals import propose
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

import pydl
import pydl.data
from pydl.tools.detectors import suppressed

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from objects.pictures import PictureMaker  # noqa: E402
from objects.scores import Detections, mean_average_precision, overlaps  # noqa: E402

CLASSES = 10
SIDE, CONTEXT = 32, 3  # of a region as the net sees it, and pixels of its surroundings in that
OBJECT, NOTHING, NEAR = 0.5, 0.3, 0.6  # overlaps: of an object, of none, close enough to be moved
NMS = 0.3


class Regions:
    """Proposals of a picture and its objects, what each overlaps most, and their pixels."""

    def __init__(self, picture, with_objects):
        boxes = propose(picture.image[0])
        self.boxes = np.vstack([boxes, picture.boxes]) if with_objects else boxes
        shared = overlaps(self.boxes, picture.boxes)
        self.best, self.overlap = shared.argmax(1), shared.max(1)
        self.labels = np.where(self.overlap >= OBJECT, picture.labels[self.best] + 1, 0)
        self.truth = picture.boxes[self.best]
        self.pixels = warped(picture.image[0], self.boxes)


def warped(image, boxes):
    """(B, 1, SIDE, SIDE): each box with its surroundings, whatever its shape, bilinear."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    step = size / (SIDE - 2 * CONTEXT)
    where = (np.arange(SIDE) - CONTEXT + 0.5)[:, None, None] * step + boxes[:, :2] - 0.5
    x, y = np.clip(where, 0, image.shape[0] - 1.001).transpose(2, 1, 0)  # (B, SIDE) each
    left, above = x.astype(int), y.astype(int)
    right, below = (x - left)[:, None], (y - above)[:, :, None]
    rows, columns = above[:, :, None], left[:, None]
    top = image[rows, columns] * (1 - right) + image[rows, columns + 1] * right
    bottom = image[rows + 1, columns] * (1 - right) + image[rows + 1, columns + 1] * right
    return (top * (1 - below) + bottom * below)[:, None]


def train_net(regions, iterations, rng):
    """A CNN that tells digits and background apart; as in the paper, one region in four is of an
    object."""
    pixels, labels = (
        np.concatenate([getattr(r, f) for r in regions]) for f in ("pixels", "labels")
    )
    objects, nothing = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    order = rng.permutation(np.append(rng.choice(objects, 5000), rng.choice(nothing, 15000)))
    pydl.data.write_npz("regions.npz", np.uint8(255 * pixels[order]), labels[order])
    solver = pydl.Solver(HERE / "solver.prototxt")
    solver.step(iterations or solver.max_iter)
    solver.net.save("rcnn.caffemodel")


def features(net, pixels):
    """(B, 128): what the net's last layer but one says of regions."""
    return net.predict(np.float32(np.uint8(255 * pixels)) / 256, batch_size=128)


class Classifier:
    """A linear SVM for each class: its objects against what overlaps none of them."""

    def __init__(self, regions, seen):
        labels = np.concatenate([r.labels for r in regions])
        overlap = np.concatenate([r.overlap for r in regions])
        self.scale = np.sqrt((seen**2).sum(1).mean())
        self.svms = []
        for label in range(1, CLASSES + 1):
            object_ = (labels == label) & (overlap > 0.9)  # the objects and what is as good
            other = (labels != label) | (overlap < NOTHING)
            used = object_ | other
            svm = LinearSVC(C=1, class_weight={True: 2, False: 1}, dual=False, tol=1e-3)
            self.svms.append(svm.fit(seen[used] / self.scale, object_[used]))

    def scores(self, seen):
        """(B, CLASSES): distances from the planes that separate each class."""
        return np.stack([svm.decision_function(seen / self.scale) for svm in self.svms], axis=1)


class BoxRegression:
    """Ridge regression from features to where in the region its object is, for each class."""

    def __init__(self, regions, seen):
        labels = np.concatenate([r.labels for r in regions])
        near = np.concatenate([r.overlap for r in regions]) >= NEAR
        boxes, truth = (
            np.concatenate([getattr(r, f) for r in regions]) for f in ("boxes", "truth")
        )
        self.models = []
        for label in range(1, CLASSES + 1):
            used = near & (labels == label)
            self.models.append(Ridge(alpha=10).fit(seen[used], deltas(boxes[used], truth[used])))

    def __call__(self, label, boxes, seen, size):
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        d = self.models[label].predict(seen)
        centre = boxes[:, :2] + sides / 2 + d[:, :2] * sides
        half = np.exp(np.clip(d[:, 2:], -1, 1)) * sides / 2
        return np.clip(np.hstack([centre - half, centre + half - 1]), 0, size - 1)


def deltas(boxes, truth):
    sides = [b[:, 2:] - b[:, :2] + 1 for b in (boxes, truth)]
    centres = [b[:, :2] + s / 2 for b, s in zip((boxes, truth), sides, strict=True)]
    return np.hstack([(centres[1] - centres[0]) / sides[0], np.log(sides[1] / sides[0])])


def detect(net, classifier, regression, regions, size):
    seen = features(net, regions.pixels)
    scores, found = classifier.scores(seen), []
    for label in range(CLASSES):
        keep = np.flatnonzero(scores[:, label] > -1)
        if len(keep) == 0:
            continue
        boxes = regression(label, regions.boxes[keep], seen[keep], size)
        best = suppressed(boxes, scores[keep, label], NMS)
        found.append((boxes[best], np.full(len(best), label), scores[keep[best], label]))
    if not found:
        return Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    return Detections(*(np.concatenate(part) for part in zip(*found, strict=True)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, help="of the net's training")
    parser.add_argument(
        "--pictures", type=int, default=400, help="to learn from; 1/4 as many to test"
    )
    parser.add_argument("--output", default="rcnn.png")
    given = parser.parse_args()
    began, rng = time.monotonic(), np.random.default_rng(1)

    def say(text):
        print(f"{time.monotonic() - began:4.0f} s  {text}", flush=True)

    makers = [PictureMaker.of(f"mnist_sample/{part}") for part in ("train", "test")]
    known, new = ([maker.make(rng) for _ in range(count)] for maker, count in
                  zip(makers, (given.pictures, given.pictures // 4), strict=True))  # fmt: skip
    regions = [Regions(picture, with_objects=True) for picture in known]
    tested = [Regions(picture, with_objects=False) for picture in new]
    hit = np.concatenate([(overlaps(p.boxes, r.boxes) >= OBJECT).any(1)
                          for p, r in zip(new, tested, strict=True)])  # fmt: skip
    count = np.mean([len(r.boxes) for r in tested])
    say(f"selective search: {count:.0f} regions a picture, with {hit.mean():.1%} of the digits")

    train_net(regions, given.iterations, rng)
    net = pydl.Net(HERE / "rcnn_features.prototxt", "rcnn.caffemodel")
    say("the net is trained")
    seen = features(net, np.concatenate([r.pixels for r in regions]))
    classifier, regression = Classifier(regions, seen), BoxRegression(regions, seen)
    say("the SVMs and the regression are fitted")
    size = known[0].image.shape[1]
    found = [detect(net, classifier, regression, r, size) for r in tested]
    score = mean_average_precision(found, new, CLASSES)
    say(f"mAP@0.5: {score:.3f} on {len(new)} pictures of new digits")

    from objects.drawing import draw  # needs matplotlib

    draw(new[:8], [f.above(0) for f in found[:8]], makers[0].class_names, given.output)
    say(f"{given.output}: detections with a score above 0")


if __name__ == "__main__":
    main()

"""Trains a small FCN and a small SegNet to find handwritten digits on patterned backgrounds.

python examples/segmentation/segment.py [--iterations N]
"""

import argparse
import time

import nets
import numpy as np
from scenes import CLASSES, Scenes

import pydl

BATCH, ITERATIONS = 16, 3000
NETS = {"fcn": nets.fcn, "segnet": nets.segnet}  # the second starts with the first's encoder


def train(name, scenes, iterations, weights=None):
    """Learns for so many batches, from `weights` on where layers have the same names; leaves
    <name>.prototxt and <name>.caffemodel."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=NETS[name](BATCH, train=True),
            type="Adam",
            base_lr=0.003,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    if weights:
        solver.net.load(weights)
    inputs, start = solver.net.blobs, time.monotonic()
    for i in range(1, iterations + 1):
        inputs["data"].data[...], inputs["label"].data[...] = prepared(*scenes.batch(BATCH))
        loss = solver.step()
        if i % 100 == 0 or i == iterations:
            print(f"{name} {i}: loss {loss:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    solver.net.save(f"{name}.caffemodel")
    with open(f"{name}.prototxt", "w") as file:
        file.write(pydl.prototxt.dumps(NETS[name](1, train=False)))


def prepared(images, masks):
    return (images - 128) / 64, masks


def predict(name, images):
    """(N, 64, 64): the class of each pixel."""
    net = pydl.Net(f"{name}.prototxt", f"{name}.caffemodel", keep="outputs")
    return net.predict(prepared(images, None)[0], batch_size=BATCH).argmax(axis=1)


def intersection_over_union(found, true):
    """Of each class: the pixels that are of it in both, over those that are in either."""
    pairs = len(CLASSES) * true.ravel() + found.ravel()
    counts = np.bincount(pairs, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)
    both = np.diag(counts)
    return both / np.maximum(counts.sum(axis=0) + counts.sum(axis=1) - both, 1)


def draw(path, images, true, found):
    """Rows of scenes, their true masks, and what each net found."""
    from PIL import Image

    from pydl.cli.segment import palette

    colours = palette(len(CLASSES))
    rows = [images.transpose(0, 2, 3, 1), *(colours[masks] for masks in (true, *found))]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows]).astype(np.uint8)
    picture = Image.fromarray(sheet)
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--scenes", type=int, default=320, help="to test on (320)")
    args = parser.parse_args()
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    images, masks = Scenes(x_test, y_test, seed=2).batch(args.scenes)
    found = []
    for name in NETS:
        weights = None if name == "fcn" else "fcn.caffemodel"
        train(name, Scenes(x_train, y_train, seed=1), args.iterations, weights)
        found.append(predict(name, images))
        scores = intersection_over_union(found[-1], masks[:, 0])
        print(f"{name}: mean IoU {scores.mean():.3f}, the worst {CLASSES[scores.argmin()]} "
              f"{scores.min():.3f}")  # fmt: skip
    draw("segmentation.png", images[:8], masks[:8, 0], [masks[:8] for masks in found])
    print("segmentation.png: scenes, their masks, and what the nets found")


if __name__ == "__main__":
    main()

"""Trains a small C3D (Tran et al. 2014) to tell how a digit moves through a clip of 16 frames.

python examples/c3d/motion.py [--iterations N]
"""

import argparse
import time

import numpy as np

import pydl
from pydl.zoo import Builder

FRAMES, SIZE, BATCH = 16, 40, 16
# How the centre (x, y), the angle and the size change from the first frame to the last.
MOTIONS = {
    "left": (-1, 0, 0, 0),
    "right": (1, 0, 0, 0),
    "up": (0, -1, 0, 0),
    "down": (0, 1, 0, 0),
    "clockwise": (0, 0, 1, 0),
    "counterclockwise": (0, 0, -1, 0),
    "nearer": (0, 0, 0, 1),
    "farther": (0, 0, 0, -1),
}


class Clips:
    """Clips without end of a set's digits (N, 1, 28, 28); no frame alone tells the motion."""

    def __init__(self, digits, seed):
        self.digits, self.random = np.asarray(digits)[:, 0] / 255, np.random.default_rng(seed)

    def batch(self, count):
        """(count, 1, 16, 40, 40), 0 to 1, with noise, and the number of each one's motion."""
        labels = self.random.integers(0, len(MOTIONS), count)
        return np.stack([self.clip(label) for label in labels])[:, None], labels

    def clip(self, label):
        dx, dy, turn, zoom = list(MOTIONS.values())[label]
        digit = self.digits[self.random.integers(len(self.digits))]
        speed = self.random.uniform(0.5, 1)
        times = np.linspace(-speed, speed, FRAMES)
        x, y = (self.random.uniform(-3, 3) + 8 * part * times for part in (dx, dy))
        angle = self.random.uniform(-0.6, 0.6) + 1.2 * turn * times
        size = self.random.uniform(0.8, 1.2) * np.exp(0.5 * zoom * times)
        frames = [placed(digit, *at) for at in zip(x, y, angle, size, strict=True)]
        return np.stack(frames) + self.random.normal(0, 0.1, (FRAMES, SIZE, SIZE))


def placed(digit, x, y, angle, size):
    """(40, 40): the digit turned and scaled, with its centre off the frame's by (x, y)."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    rows, columns = (rows - y) / size, (columns - x) / size
    cos, sin = np.cos(angle), np.sin(angle)
    at = np.stack([cos * rows - sin * columns, sin * rows + cos * columns]) + 13.5
    low = np.floor(at).astype(int)
    part, padded = at - low, np.pad(digit, 1)  # what is beyond the digit is 0
    row, column = np.clip(low + 1, 0, 28)
    inside = ((low >= -1) & (low < 28)).all(axis=0)
    top = padded[row, column] * (1 - part[1]) + padded[row, column + 1] * part[1]
    bottom = padded[row + 1, column] * (1 - part[1]) + padded[row + 1, column + 1] * part[1]
    return inside * (top * (1 - part[0]) + bottom * part[0])


def c3d(batch, train):
    """3x3x3 convolutions; the first pooling leaves all frames."""
    net = Builder("C3D for motion", batch=batch, classes=len(MOTIONS), train=train)
    blob = net.input("data", batch, 1, FRAMES, SIZE, SIZE)
    for i, filters in enumerate((8, 16, 32), 1):
        blob = net.relu(f"relu{i}a", net.conv(f"conv{i}a", blob, filters, 3, pad=1))
        window = (1, 2, 2) if i == 1 else 2
        blob = net.pool(f"pool{i}", blob, "MAX", window, window)
    blob = net.dropout("drop4", net.relu("relu4", net.fc("fc4", blob, 128)))
    net.classifier(net.fc("fc5", blob, net.classes))
    return net.message()


def train(clips, iterations):
    """Leaves c3d.prototxt and c3d.caffemodel."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=c3d(BATCH, train=True),
            type="Adam",
            base_lr=0.002,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    inputs, start = solver.net.blobs, time.monotonic()
    for i in range(1, iterations + 1):
        inputs["data"].data[...], inputs["label"].data[...] = clips.batch(BATCH)
        loss = solver.step()
        if i % 100 == 0 or i == iterations:
            print(f"{i}: loss {loss:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    solver.net.save("c3d.caffemodel")
    with open("c3d.prototxt", "w") as file:
        file.write(pydl.prototxt.dumps(c3d(1, train=False)))


def draw(path, clips, found):
    """Every other frame of some clips, and what the net says of each."""
    from PIL import Image, ImageDraw

    rows = [np.concatenate(list(clip[0, ::2]), axis=1) for clip in clips]
    sheet = np.uint8(255 * np.clip(np.concatenate(rows), 0, 1))
    picture = Image.new("L", (2 * sheet.shape[1] + 130, 2 * sheet.shape[0]), 255)
    picture.paste(Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0])))
    for i, name in enumerate(found):
        where = (2 * sheet.shape[1] + 10, 2 * SIZE * i + SIZE - 6)
        ImageDraw.Draw(picture).text(where, name, fill=0)
    picture.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--clips", type=int, default=400, help="to test on (400)")
    args = parser.parse_args()
    x_train, _, x_test, _ = pydl.data.load("mnist_sample")
    train(Clips(x_train, seed=1), args.iterations)
    clips, labels = Clips(x_test, seed=2).batch(args.clips)
    net = pydl.Net("c3d.prototxt", "c3d.caffemodel", keep="outputs")
    found = net.predict(clips, batch_size=BATCH).argmax(axis=1)
    print(f"accuracy {np.mean(found == labels):.3f} of {len(labels)} clips of digits never seen")
    names = list(MOTIONS)
    draw("motion.png", clips[:6], [names[k] for k in found[:6]])
    print("motion.png: clips, and how the net says they move")


if __name__ == "__main__":
    main()

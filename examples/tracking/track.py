"""Follows handwritten digits through a video: a small FCN finds them, a tracker keeps them apart.

python examples/tracking/track.py [--frames N]

The net is that of examples/segmentation; without fcn.caffemodel here it is trained first.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import ndimage
from tracker import Tracker, assign

import pydl

sys.path.insert(0, str(Path(__file__).parents[1] / "segmentation"))
import scenes
import segment

ROWS, COLUMNS, OBJECTS = 96, 128, 4


class Video:
    """Digits that drift over a wall, turn back at its edges and pass before each other."""

    def __init__(self, digits, labels, seed):
        self.painter = scenes.Scenes(digits, labels, seed)
        self.random = self.painter.random
        chosen = self.random.permutation(len(labels))[:OBJECTS]
        self.inks, self.classes = self.painter.digits[chosen], self.painter.labels[chosen] + 1
        wall = self.painter.background()
        self.wall = np.tile(wall, (1, 2, 2))[:, :ROWS, :COLUMNS]
        side = 1 if self.wall.mean() < 128 else -1
        self.colours = self.wall.mean() + side * self.random.uniform(70, 140, (OBJECTS, 3))
        self.place = self.random.uniform(0, (ROWS - 28, COLUMNS - 28), (OBJECTS, 2))
        angle = self.random.uniform(0, 2 * np.pi, OBJECTS)
        self.speed = 1.5 * np.stack([np.sin(angle), np.cos(angle)], axis=1)

    def frame(self):
        """The next image (3, 96, 128), 0 to 255, with each object's box, None if it is covered."""
        image, owner = self.wall.copy(), np.full((ROWS, COLUMNS), -1)
        for k, (row, column) in enumerate(np.rint(self.place).astype(int)):
            window = np.s_[row : row + 28, column : column + 28]
            image[(slice(None), *window)] += self.inks[k] * (
                self.colours[k][:, None, None] - image[(slice(None), *window)]
            )
            owner[window][self.inks[k] > 0.4] = k
        self._move()
        return np.clip(image, 0, 255), [box_of(owner == k) for k in range(OBJECTS)]

    def _move(self):
        self.place += self.speed
        for axis, most in enumerate((ROWS - 28, COLUMNS - 28)):
            beyond = (self.place[:, axis] < 0) | (self.place[:, axis] > most)
            self.speed[beyond, axis] *= -1
            self.place[:, axis] = np.clip(self.place[:, axis], 0, most)


def box_of(mask, least=20):
    """x1, y1, x2, y2 around the pixels of a mask; None if they are too few."""
    if mask.sum() < least:
        return None
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def detections(classes):
    """Boxes of connected patches of ink, and the class that most of a patch's pixels have."""
    patches, count = ndimage.label(classes > 0, np.ones((3, 3)))
    boxes, labels = [], []
    for k in range(1, count + 1):
        box = box_of(patches == k)
        if box is not None:
            boxes.append(box)
            labels.append(np.bincount(classes[patches == k]).argmax())
    return boxes, labels


class Score:
    """Misses, false alarms and changes of identity (Bernardin and Stiefelhagen 2008)."""

    def __init__(self):
        self.objects, self.errors, self.names = 0, Counter(), {}

    def add(self, true, tracks):
        present = [k for k, box in enumerate(true) if box is not None]
        shown = [track for track in tracks if track.missed == 0]
        pairs = assign([true[k] for k in present], [track.box for track in shown], 0.4)
        self.objects += len(present)
        self.errors["missed"] += len(present) - len(pairs)
        self.errors["false"] += len(shown) - len(pairs)
        for a, b in pairs:
            number = shown[b].number
            self.errors["switched"] += self.names.get(present[a], number) != number
            self.names[present[a]] = number

    def __str__(self):
        accuracy = 1 - sum(self.errors.values()) / self.objects
        errors = ", ".join(f"{count} {what}" for what, count in self.errors.items())
        return f"MOTA {accuracy:.3f}: of {self.objects} boxes {errors}"


def draw(path, images, boxes):
    """Four frames, each with the tracks' boxes, numbers and classes."""
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (2 * COLUMNS * 2, 2 * ROWS * 2))
    for i, (image, tracks) in enumerate(zip(images, boxes, strict=True)):
        frame = Image.fromarray(image.transpose(1, 2, 0).astype(np.uint8))
        frame = frame.resize((2 * COLUMNS, 2 * ROWS))
        pen = ImageDraw.Draw(frame)
        for number, label, box in tracks:
            pen.rectangle((2 * box).tolist(), outline="yellow")
            pen.text((2 * box[0] + 3, 2 * box[1] + 1), f"#{number}: {label - 1}", fill="yellow")
        sheet.paste(frame, (2 * COLUMNS * (i % 2), 2 * ROWS * (i // 2)))
    sheet.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=segment.ITERATIONS, help="of training")
    args = parser.parse_args()
    x_train, y_train, x_test, y_test = pydl.data.load("mnist_sample")
    if not Path("fcn.caffemodel").exists():
        segment.train("fcn", scenes.Scenes(x_train, y_train, seed=1), args.iterations)
    net = pydl.Net("fcn.prototxt", "fcn.caffemodel", keep="outputs")
    video, tracker, score = Video(x_test, y_test, seed=4), Tracker(), Score()
    shown = [args.frames * part // 4 for part in (1, 2, 3, 4)]
    images, boxes, named = [], [], {}
    for number in range(1, args.frames + 1):
        image, true = video.frame()
        classes = net.predict(segment.prepared(image[None], None)[0])[0].argmax(axis=0)
        tracks = tracker.step(*detections(classes))
        score.add(true, tracks)
        named |= {track.number: track.label for track in tracks}
        if number in shown:
            images.append(image)
            boxes.append([(t.number, t.label, t.box) for t in tracks if t.missed == 0])
    print(score)
    right = sum(named.get(score.names.get(k)) == c for k, c in enumerate(video.classes))
    print(f"{right} of {OBJECTS} tracks have the right digit")
    draw("tracks.png", images, boxes)
    print("tracks.png: frames with their tracks")


if __name__ == "__main__":
    main()

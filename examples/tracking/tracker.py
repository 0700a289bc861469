"""Tracking by detection: a Kalman filter for each object, and the Hungarian method to say which
detection belongs to which (Bewley et al. 2016, arXiv:1602.00763)."""

from collections import Counter

import numpy as np
from scipy.optimize import linear_sum_assignment

# State: centre, size (x, y, width, height), then their speeds; the first four are seen.
_MOVE = np.eye(8) + np.eye(8, k=4)
_SEE = np.eye(4, 8)
_DRIFT = np.diag([1, 1, 1, 1, 0.1, 0.1, 0.02, 0.02])
_BLUR = np.diag([1, 1, 4, 4])


class Track:
    """One object through time."""

    def __init__(self, number, box, label):
        self.number, self.hits, self.missed = number, 1, 0
        self.state = np.concatenate([_centred(box), np.zeros(4)])
        self.covariance = np.diag([2.0, 2, 4, 4, 10, 10, 1, 1])
        self.labels = Counter([label])

    @property
    def box(self):
        x, y, width, height = self.state[:4]
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])

    @property
    def label(self):
        """The class that most detections had."""
        return self.labels.most_common(1)[0][0]

    def predict(self):
        self.state = _MOVE @ self.state
        self.covariance = _MOVE @ self.covariance @ _MOVE.T + _DRIFT

    def update(self, box, label):
        gain = self.covariance @ _SEE.T
        gain = gain @ np.linalg.inv(_SEE @ self.covariance @ _SEE.T + _BLUR)
        self.state = self.state + gain @ (_centred(box) - _SEE @ self.state)
        self.covariance = self.covariance - gain @ _SEE @ self.covariance
        self.labels[label] += 1
        self.hits, self.missed = self.hits + 1, 0


class Tracker:
    """Tracks begin with a detection that fits none and end when `patience` frames lack one."""

    def __init__(self, least_overlap=0.25, patience=12, confirmed=3):
        self.least_overlap, self.patience, self.confirmed = least_overlap, patience, confirmed
        self.tracks, self.count = [], 0

    def step(self, boxes, labels):
        """The tracks of the next frame, given its detections (x1, y1, x2, y2)."""
        for track in self.tracks:
            track.predict()
            track.missed += 1
        free = set(range(len(boxes)))
        for t, d in assign([track.box for track in self.tracks], boxes, self.least_overlap):
            self.tracks[t].update(boxes[d], labels[d])
            free.discard(d)
        for d in sorted(free):
            self.count += 1
            self.tracks.append(Track(self.count, boxes[d], labels[d]))
        self.tracks = [track for track in self.tracks if track.missed <= self.patience]
        return [track for track in self.tracks if track.hits >= self.confirmed]


def assign(ours, theirs, least_overlap):
    """Pairs of boxes with the greatest sum of overlaps, each of at least so much."""
    if not len(ours) or not len(theirs):
        return []
    overlaps = np.array([[overlap(a, b) for b in theirs] for a in ours])
    pairs = zip(*linear_sum_assignment(-overlaps), strict=True)
    return [(a, b) for a, b in pairs if overlaps[a, b] >= least_overlap]


def overlap(a, b):
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def _centred(box):
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])

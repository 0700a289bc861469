"""examples/tracking: the tracker on boxes, and the whole on a few frames; examples/c3d."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import environment

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def tracker(monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(EXAMPLES / "tracking"))
    import tracker

    return tracker


def square(x, y, side=10.0):
    return np.array([x, y, x + side, y + side])


def test_two_objects_keep_their_numbers_as_they_pass(tracker):
    """Rows apart by less than a side, in opposite directions; one is not seen for a while."""
    tracks = tracker.Tracker()
    for t in range(40):
        seen = [(square(2 * t, 0), 3)]
        if not 15 <= t < 20:
            seen.append((square(80 - 2 * t, 7), 5))
        shown = tracks.step([box for box, _ in seen], [label for _, label in seen])
    assert {track.number: track.label for track in shown} == {1: 3, 2: 5}
    np.testing.assert_allclose(shown[1].box, square(2, 7), atol=1)
    np.testing.assert_allclose(shown[1].state[4:6], [-2, 0], atol=0.2)


def test_tracks_begin_when_confirmed_and_end_when_lost(tracker):
    tracks = tracker.Tracker(patience=2, confirmed=3)
    counts = [len(tracks.step([square(0, 0)], [1])) for _ in range(4)]
    counts += [len(tracks.step([], [])) for _ in range(4)]
    assert counts == [0, 0, 1, 1, 1, 1, 0, 0]


def test_assignment_is_the_best_of_all_together(tracker):
    ours = [square(0, 0), square(4, 0)]
    theirs = [square(3, 0), square(-3, 0)]
    assert tracker.assign(ours, theirs, 0.25) == [(0, 1), (1, 0)]
    assert tracker.assign(ours, [square(50, 50)], 0.25) == []
    assert tracker.assign([], theirs, 0.25) == []


@pytest.mark.parametrize(
    ("program", "flags", "shown", "picture"),
    [
        ("tracking/track.py", ["--frames", "8", "--iterations", "2"], "MOTA", "tracks.png"),
        ("c3d/motion.py", ["--iterations", "2", "--clips", "8"], "accuracy", "motion.png"),
    ],
)
def test_example_runs(tmp_path, program, flags, shown, picture):
    pytest.importorskip("PIL")
    if program.startswith("tracking"):
        pytest.importorskip("scipy")
    command = [sys.executable, EXAMPLES / program, *flags]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout and (tmp_path / picture).exists()


def test_clips_move_as_their_labels_say(monkeypatch):
    """Centres of mass of clips without noise."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "c3d"))
    import motion

    digits = np.zeros((1, 1, 28, 28))
    digits[:, :, 10:18, 8:20] = 255  # wider than high
    clips = motion.Clips(digits, seed=1)
    rows, columns = np.mgrid[: motion.SIZE, : motion.SIZE]
    for label, (name, (dx, dy, _, zoom)) in enumerate(motion.MOTIONS.items()):
        clip = np.maximum(clips.clip(label) - 0.5, 0)
        mass = clip.sum(axis=(1, 2))
        x, y = ((clip * at).sum(axis=(1, 2)) / mass for at in (columns, rows))
        assert np.sign(round((x[-1] - x[0]) / 4)) == dx, name
        assert np.sign(round((y[-1] - y[0]) / 4)) == dy, name
        assert np.sign(np.round(np.log(mass[-1] / mass[0]))) == zoom, name

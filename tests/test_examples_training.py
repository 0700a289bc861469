"""The examples that train: the commands of each README, with few iterations."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import environment, run_pydl

from pydl import formats

EXAMPLES = Path(__file__).parents[1] / "examples"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # small nets: threads would mostly wait for each other


@pytest.fixture
def folder(tmp_path):
    """A working directory in which the examples are where the READMEs say."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    return tmp_path


def readme_commands(example):
    """The lines of the README's shell blocks, continued ones joined, as words without comments."""
    text = (EXAMPLES / example / "README.md").read_text()
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_example(example, folder, *iterations, more=None):
    """Runs the README's commands, each training to one of `iterations`; returns what they print.
    `more`: further arguments for a program or sub-command."""
    remaining = list(iterations)
    shown = []
    for program, *words in readme_commands(example):
        args = [_last_snapshot(word, folder) for word in words]
        if args[0] == "train":
            args += ["-iterations", remaining.pop(0), "-plot", "none"]
        args += (more or {}).get(Path(args[0]).name, [])
        run = {"pydl": run_pydl, "python": _run_python}[program]
        done = run(*args, cwd=folder, **ONE_THREAD)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert not remaining
    return "".join(shown)


def _last_snapshot(word, folder):
    """PREFIX_iter_N.SUFFIX of the README as the last such file that the shorter run left."""
    pattern = re.sub(r"_iter_\d+\.", "_iter_*.", word)
    if pattern == word:
        return word
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime).name


def _run_python(*args, cwd, **extra):
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment(**extra), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def numbers(pattern, shown):
    return [float(value) for value in re.findall(pattern, shown)]


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 1000


def test_autoencoder(folder):
    """Both test nets report both losses, and the copies are better than the mean digit."""
    shown = run_example("autoencoder", folder, 150)
    tested = re.findall(
        r"Final test \(net #(\d)\): cross_entropy_loss = ([\d.]+), l2_error = ([\d.]+)", shown
    )
    assert [net for net, _, _ in tested] == ["0", "1"]
    assert all(100 < float(loss) < 200 for _, loss, _ in tested)  # 543 where every pixel is 1/2
    ((copy, mean),) = re.findall(r"squared error: ([\d.]+) a test digit; .* digit ([\d.]+)", shown)
    assert float(copy) == pytest.approx(2 * float(tested[1][2]), abs=0.01)
    assert float(copy) < 0.9 * float(mean)
    assert is_picture(folder / "digits.png")


def test_siamese(folder):
    shown = run_example("siamese", folder, 80)
    (loss,) = numbers(r"Final test: loss = ([\d.]+)", shown)
    assert loss < 0.12  # 0.25 where all digits lie on one point
    (right,) = numbers(r"nearest neighbour in the plane: ([\d.]+)%", shown)
    assert right > 40
    assert is_picture(folder / "siamese.png")
    blobs = formats.load_weights(folder / "mnist_siamese_iter_80.caffemodel").blobs()
    for name in ("conv1", "conv2", "ip1", "ip2", "feat"):
        for one, other in zip(blobs[name], blobs[f"{name}_p"], strict=True):
            np.testing.assert_array_equal(one, other)


def test_ssd(folder):
    """A few steps on few scenes, from making them to a picture of what is found."""
    pytest.importorskip("lmdb", reason="the lmdb package is not installed (extra lmdb)")
    small = {"make_scenes.py": ["--train", "64", "--test", "40"], "detect": ["-threshold", "0.01"]}
    shown = run_example("ssd", folder, 6, more=small)
    assert "digits_train_lmdb: 64 scenes" in shown
    (precision,) = numbers(r"Final test: detection_eval = ([\d.]+)", shown)
    assert 0 <= precision < 0.5
    assert is_picture(folder / "found.png") and "Saved to found.png" in shown


def test_hdf5_classification(folder):
    shown = run_example("hdf5_classification", folder, 2000, 2000)
    logistic, two_layers = numbers(r"Final test: accuracy = ([\d.]+)", shown)
    assert 0.65 < logistic < 0.8
    assert two_layers > 0.9


def test_cifar10_quick(folder):
    """From image files to the second stage; the second goes on where the first stopped."""
    shown = run_example("cifar10_quick", folder, 40, 50)
    first, second = numbers(r"Final test: accuracy = ([\d.]+)", shown)
    assert first > 0.2
    assert second >= first - 0.05


def test_fine_tuning(folder):
    """A trained net learns the other task better than a new one."""
    shown = run_example("fine_tuning", folder, 100, 40, 40)
    _, scratch, tuned = numbers(r"Final test: accuracy = ([\d.]+)", shown)
    assert tuned > scratch + 0.03


def test_feature_extraction(folder):
    shown = run_example("feature_extraction", folder, 60)
    assert "1000 records of 500 features" in shown
    (agree,) = numbers(r"the nearest other digit is the same one: ([\d.]+)%", shown)
    assert agree > 85
    assert is_picture(folder / "features.png")

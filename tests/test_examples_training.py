"""The examples that train: the commands of each README, with few iterations."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import environment, run_pydl

EXAMPLES = Path(__file__).parents[1] / "examples"


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


def run_example(example, folder, *iterations):
    """Runs the README's commands, each training to one of `iterations`; returns what they print."""
    remaining = list(iterations)
    shown = []
    for program, *words in readme_commands(example):
        args = [_last_snapshot(word, folder) for word in words]
        if args[0] == "train":
            args += ["-iterations", remaining.pop(0), "-plot", "none"]
        run = {"pydl": run_pydl, "python": _run_python}[program]
        done = run(*args, cwd=folder)
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


def _run_python(*args, cwd):
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment(), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def numbers(pattern, shown):
    return [float(value) for value in re.findall(pattern, shown)]


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 1000


def test_hdf5_classification(folder):
    shown = run_example("hdf5_classification", folder, 2000, 2000)
    logistic, two_layers = numbers(r"Final test: accuracy = ([\d.]+)", shown)
    assert 0.65 < logistic < 0.8
    assert two_layers > 0.9


def test_feature_extraction(folder):
    shown = run_example("feature_extraction", folder, 60)
    assert "1000 records of 500 features" in shown
    (agree,) = numbers(r"the nearest other digit is the same one: ([\d.]+)%", shown)
    assert agree > 85
    assert is_picture(folder / "features.png")

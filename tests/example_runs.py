"""Runs an example's program for a few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import environment

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(program: str, folder: Path, *flags: str) -> str:
    """What the program prints; its pictures are in the folder."""
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *flags],
        cwd=folder, env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def are_pictures(folder: Path, *names: str) -> bool:
    return all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names)

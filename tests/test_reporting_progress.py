"""The progress bar, in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from cli_tools import command, environment, run_pydl, write_run


def set_columns(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def train_in_terminal(
    folder: Path, columns: int, *flags: str, resize: tuple[bytes, int] | None = None, **extra: str
) -> tuple[str, int]:
    """What appears on a terminal; ``resize`` gives it other columns once some text has come."""
    ours, theirs = pty.openpty()
    set_columns(ours, columns)
    process = subprocess.Popen(
        command("train", "-solver", "solver.prototxt", "-plot", "none", *flags), cwd=folder,
        env=environment(**{"TERM": "xterm", "PYTHONIOENCODING": "utf-8", **extra}),
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    content = b""
    try:
        while chunk := os.read(ours, 65536):
            content += chunk
            if resize and resize[0] in content:
                set_columns(ours, resize[1])
                resize = None
    except OSError:  # Linux says EIO when the other side has closed
        pass
    os.close(ours)
    status = process.wait(timeout=120)
    return content.decode(), status


def frames(content: str) -> list[str]:
    """The states of the line that the bar is on."""
    return [
        part.replace("\x1b[K", "")
        for line in content.split("\n")
        for part in line.split("\r")
        if "%" in part
    ]


@pytest.fixture
def folder(tmp_path):
    write_run(tmp_path, max_iter=400, snapshot=200, test_interval=100, display=50)
    return tmp_path


def test_bar_shows_everything(folder):
    content, status = train_in_terminal(folder, 120)
    assert status == 0, content
    shown = frames(content)
    assert re.search(r"^[━─]+ +0%  0/400$", shown[0])
    assert re.search(
        r"^━+ 100%  400/400  loss \d\.\d{4}  accuracy \d\.\d{4}  [\d.]+ it/s  ETA 0:00$", shown[-1]
    )
    done = [int(re.search(r"(\d+)/400", frame)[1]) for frame in shown]
    assert done == sorted(done)
    lines = [line.strip().replace("\x1b[K", "").split("\r")[-1] for line in content.split("\n")]
    for iteration in (0, 100, 200, 300, 400):
        assert any(re.match(rf"Iteration {iteration}, test: .*accuracy", line) for line in lines)
    assert "Iteration 200, snapshot: run_iter_200.solverstate" in lines
    assert any(line.startswith("Final test: ") for line in lines)
    assert "lr = " not in content  # Caffe's lines are in the log


@pytest.mark.parametrize("columns", [20, 40, 60, 81])
def test_bar_fits_the_terminal(folder, columns):
    content, status = train_in_terminal(folder, columns)
    assert status == 0, content
    assert max(map(len, frames(content))) < columns


def test_bar_follows_the_size_of_the_terminal(folder):
    content, status = train_in_terminal(folder, 40, resize=(b"Iteration 200, test", 110))
    assert status == 0, content
    shown = frames(content)
    assert len(shown[0]) < 40
    assert 40 < len(shown[-1]) < 110


def test_bar_in_plain_ascii(folder):
    content, status = train_in_terminal(folder, 100, PYTHONIOENCODING="ascii")
    assert status == 0, content
    assert content.isascii()
    assert re.match(r"#+ 100%", frames(content)[-1])


@pytest.mark.parametrize(("flags", "extra"), [(["-progress", "off"], {}), ([], {"TERM": "dumb"})])
def test_terminal_without_a_bar_gets_caffes_lines(folder, flags, extra):
    content, status = train_in_terminal(folder, 100, *flags, **extra)
    assert status == 0, content
    assert "\x1b" not in content and "%" not in content
    assert "Iteration 100, lr = " in content


def test_quiet(folder):
    content, status = train_in_terminal(folder, 100, "-quiet")
    assert status == 0
    assert content.startswith("Final test: ")


def test_no_bar_where_there_is_no_terminal(folder):
    done = run_pydl("train", "-solver", "solver.prototxt", "-plot", "none", cwd=folder)
    assert done.returncode == 0
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    for line in done.stderr.splitlines():
        assert re.match(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+:\d+\] ", line)


def test_bar_on_demand(folder):
    done = run_pydl(
        "train", "-solver", "solver.prototxt", "-plot", "none", "-progress", "on", cwd=folder
    )
    assert done.returncode == 0
    assert "100%" in done.stderr and max(map(len, frames(done.stderr))) < 80

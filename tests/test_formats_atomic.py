"""A write that fails or is interrupted, at any step, leaves what was there before."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from pydl.errors import Error
from pydl.formats import LayerWeights, binaryproto, load_weights, save_weights, solverstate
from pydl.formats.atomic import atomic_write


def weights_of(value: float) -> list[LayerWeights]:
    return [LayerWeights("ip", blobs=[np.full((64, 64), value, np.float32)])]


def save_state(path, value):
    solverstate.save(path, iter=int(value), learned_net="", history=[np.full(64, value)])


WRITERS = {
    ".caffemodel": (
        lambda path, value: save_weights(path, "net", weights_of(value)),
        lambda path: load_weights(path).blobs()["ip"][0].flat[0],
    ),
    ".caffemodel.h5": (
        lambda path, value: save_weights(path, "net", weights_of(value)),
        lambda path: load_weights(path).blobs()["ip"][0].flat[0],
    ),
    ".safetensors": (
        lambda path, value: save_weights(path, "net", weights_of(value)),
        lambda path: load_weights(path).blobs()["ip"][0].flat[0],
    ),
    ".solverstate": (save_state, lambda path: solverstate.load(path)["iter"]),
    ".solverstate.h5": (save_state, lambda path: solverstate.load(path)["iter"]),
    ".binaryproto": (
        lambda path, value: binaryproto.save(path, np.full((3, 4, 5), value)),
        lambda path: binaryproto.load(path).flat[0],
    ),
}
STEPS = ["open", "fdopen", "chmod", "fsync", "replace"]


@pytest.fixture(params=WRITERS)
def writer(request, tmp_path):
    if request.param.endswith(".h5"):
        pytest.importorskip("h5py")
    save, load = WRITERS[request.param]
    path = tmp_path / f"file{request.param}"
    save(path, 1)
    return path, save, load


def assert_untouched(path, load):
    assert load(path) == 1
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_step(writer, step, monkeypatch):
    path, save, load = writer

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(Error, match=r"cannot write: No space left on device") as caught:
            save(path, 2)
    assert str(path) in str(caught.value)
    assert_untouched(path, load)


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_at_a_step(writer, step, monkeypatch):
    path, save, load = writer

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            save(path, 2)
    assert_untouched(path, load)


@pytest.mark.parametrize("limit", [0, 1, 40, 100])
def test_the_disk_fills_up_while_writing(writer, limit):
    """A real failing write(2): no file of this process may grow past `limit` bytes."""
    path, save, load = writer
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(Error, match="cannot write: File too large"):
            save(path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_untouched(path, load)


def test_success_replaces_the_file(writer):
    path, save, load = writer
    save(path, 2)
    assert load(path) == 2
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
import numpy as np
from pydl.formats import LayerWeights, save_weights, wire
module, step, path = sys.argv[1:]
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
setattr({"os": os, "wire": wire}[module], step, die)
save_weights(path, "net", [LayerWeights("ip", blobs=[np.zeros((64, 64))])])
"""


@pytest.mark.parametrize("step", [("wire", "packed"), ("os", "fsync"), ("os", "replace")])
def test_kill_9_while_writing(tmp_path, step):
    path = tmp_path / "a.caffemodel"
    save_weights(path, "net", weights_of(1))
    done = subprocess.run([sys.executable, "-c", KILLED, *step, path], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert load_weights(path).blobs()["ip"][0].flat[0] == 1


def test_an_exception_in_the_block(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(b"new")
        _ = 1 / 0
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_nobody_sees_half_a_file(tmp_path):
    path = tmp_path / "a"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_modes(tmp_path):
    path = tmp_path / "a"
    old = os.umask(0o027)
    try:
        with atomic_write(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with atomic_write(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(old)


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(Error, match="folder .*missing does not exist; create it first"):
        save_weights(tmp_path / "missing" / "a.caffemodel", "net", weights_of(1))
    with pytest.raises(Error, match="not a regular file"), atomic_write(tmp_path):
        pass
    with pytest.raises(Error, match="not a regular file"), atomic_write("/dev/null"):
        pass
    with pytest.raises(Error, match="Not a directory"), atomic_write("/dev/null/a"):
        pass
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_very_long_names(tmp_path):
    path = tmp_path / ("é" * 120)
    with atomic_write(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"

"""Reading and decoding in several processes, for sets whose images cost more than one core gives.

Each process has a part of memory that this one sees too (a file without a name): images go through
it, not through a pipe. The processes are started anew, not forked, and do not run the program's
own main module. They end with this one, however it ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from itertools import chain
from multiprocessing.connection import Connection, Pipe

import numpy as np

from pydl.data.dataset import Dataset, Records
from pydl.errors import Error

_START = "import sys; sys.path[:] = {path!r}; from pydl.data.workers import _serve; _serve({fds})"
_END_SECONDS = 5
_MOST = 256
_ALIGN = 64  # of an image in the shared memory


class Workers:
    """A set's ``records``, read by several processes, each a part of the numbers asked for.

    Raises:
        Error: what a process raised; or one that ended by itself, and how.

    >>> from pydl.data import open_source
    >>> workers = Workers(open_source("ilsvrc12_train_lmdb"), 2)  # doctest: +SKIP
    >>> images, labels, names = workers.records(range(64))  # doctest: +SKIP
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        if count > _MOST:
            raise Error(f"{dataset.name}: {count} workers; at most {_MOST} can be started")
        self._dataset, self._count = dataset, count
        self._workers: list[_Worker] = []

    def records(self, numbers: Sequence[int]) -> Records:
        if len(numbers) == 1:  # a look at the shape: not worth the start of processes
            return self._dataset.records(numbers)
        try:
            return self._read(list(numbers))
        except _WorkerEnded as error:
            self.close()  # the next call starts others
            raise Error(f"{self._dataset.name}: {error}") from None

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _read(self, numbers: list[int]) -> Records:
        if not self._workers:
            content = pickle.dumps(self._dataset)
            self._workers = [_Worker(content) for _ in range(self._count)]
        parts = np.array_split(np.asarray(numbers, np.int64), self._count)
        for worker, part in zip(self._workers, parts, strict=True):
            worker.ask(part.tolist())
        answers = [worker.answer() for worker in self._workers]
        errors = [answer for answer in answers if isinstance(answer, str)]
        if errors:
            raise Error(errors[0])
        images, labels, names = (list(chain(*lists)) for lists in zip(*answers, strict=True))
        return images, labels, names


class _WorkerEnded(Exception):
    """A process is not there any more."""


class _Worker:
    """The side of one process that this one sees."""

    def __init__(self, dataset: bytes) -> None:
        self._memory = os.memfd_create("pydl")
        self._connection, theirs = Pipe()
        fds = (theirs.fileno(), self._memory)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, fds=f"{fds[0]}, {fds[1]}")],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self.end = weakref.finalize(self, _end, self._process, self._connection, self._memory)
        self._send(dataset)

    def ask(self, numbers: list[int]) -> None:
        self._send(pickle.dumps(numbers))

    def answer(self) -> Records | str:
        """Images, labels and names, or the message of an Error."""
        try:
            answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, str):
            return answer
        size, places, labels, names = answer
        if not size:
            return [], labels, names
        with mmap.mmap(self._memory, size, prot=mmap.PROT_READ) as shared:
            content = np.frombuffer(bytearray(shared), np.uint8)
        return [_image(content, *place) for place in places], labels, names

    def _send(self, content: bytes) -> None:
        try:
            self._connection.send_bytes(content)
        except OSError:
            raise self._ended() from None

    def _ended(self) -> _WorkerEnded:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.returncode
        if code is not None and code < 0:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
            hint = "; out of memory? fewer workers need less" if -code == signal.SIGKILL else ""
        else:
            how, hint = f"ended with status {code}; what it wrote is above", ""
        return _WorkerEnded(f"a worker (process {self._process.pid}) {how}{hint}")


def _image(content: np.ndarray, at: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    count = int(np.prod(shape))
    return np.frombuffer(content, dtype, count, at).reshape(shape)


def _end(process: subprocess.Popen, connection: Connection, memory: int) -> None:
    connection.close()  # which the process takes as its end
    os.close(memory)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(connection_fd: int, memory: int) -> None:
    """What a process does: for each list of numbers it gets, it reads those records."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that trains
    with Connection(connection_fd) as connection, contextlib.suppress(EOFError, OSError):
        dataset = pickle.loads(connection.recv_bytes())
        while True:
            numbers = pickle.loads(connection.recv_bytes())
            try:
                answer = _write(dataset.records(numbers), memory)
            except Error as error:
                answer = str(error)
            connection.send_bytes(pickle.dumps(answer))


def _write(records: Records, memory: int) -> tuple[int, list[tuple], list[float], list[str]]:
    """Puts the images into the shared memory; gives its size, and where each is."""
    images, labels, names = records
    places, size = [], 0
    for image in images:
        places.append((size, image.shape, image.dtype.str))
        size += -(-image.nbytes // _ALIGN) * _ALIGN
    if size > os.fstat(memory).st_size:
        os.ftruncate(memory, size)
    if size:
        with mmap.mmap(memory, size) as shared:
            content = np.frombuffer(shared, np.uint8)
            for image, (at, _, _) in zip(images, places, strict=True):
                content[at : at + image.nbytes] = image.reshape(-1).view(np.uint8)
            del content
    return size, places, labels, names

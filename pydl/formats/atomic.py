"""Files that are either wholly written or not written at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from pydl.errors import Error


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open ``path`` for writing bytes; the file appears, complete and synced, when the block ends.

    The bytes go to a temporary file in the same folder, which then takes the place of ``path``. If
    anything fails on the way the temporary file is removed and what ``path`` held before is
    untouched. An existing file keeps its permissions, a new one gets the usual ones (umask). Arrays
    mapped from the old file stay valid.

    Raises:
        Error: the file system refused (no such folder, no permission, disk full).

    >>> from pydl.formats.atomic import atomic_write
    >>> with atomic_write("net.bin") as file:
    ...     _ = file.write(b"all or nothing")
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:40]}.{os.urandom(4).hex()}.tmp")
    try:
        mode = _existing_mode(target)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise Error(f"{os.fspath(path)}: cannot write: {_reason(error, folder)}") from error
        raise


def _existing_mode(target: str) -> int | None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it exists and is not a regular file")
    return stat.S_IMODE(status.st_mode)


def _sync_folder(folder: str) -> None:
    """Make the rename durable. Where a folder cannot be opened or synced there is nothing to do."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _reason(error: OSError, folder: str) -> str:
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        return f"the folder {folder} does not exist; create it first"
    return error.strerror or str(error)

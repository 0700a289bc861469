"""LMDB's file, read in place, without the package lmdb.

That package maps the file and trusts it: a damaged one ends the process. Here every page number and
offset is checked before it is followed. It also gives records by number, which LMDB does not: the
whole tree is walked once, a level at a time. The layout is that of LMDB 0.9 (its mdb.c), 64-bit,
little-endian, which has not changed since 2011.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pydl.errors import Error

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_HEADER, _NODE_HEADER = 16, 8
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # kinds of pages
_BIG, _UNUSUAL = 1, 6  # nodes: the value has pages of its own; a database in it, or several values
_NO_PAGE = 2**64 - 1
_MAX_DEPTH = 32
_META = np.dtype(
    [
        ("magic", "<u4"), ("version", "<u4"), ("address", "<u8"), ("mapsize", "<u8"),
        ("page_size", "<u4"), ("free", "V44"),
        ("pad", "<u4"), ("flags", "<u2"), ("depth", "<u2"), ("branches", "<u8"),
        ("leaves", "<u8"), ("overflows", "<u8"), ("entries", "<u8"), ("root", "<u8"),
        ("last_page", "<u8"), ("transaction", "<u8"),
    ]
)  # fmt: skip


class _Nodes(NamedTuple):
    """The nodes of several pages, in order."""

    at: np.ndarray  # where each begins in the file
    page_end: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flags: np.ndarray
    key_size: np.ndarray


class LmdbFile:
    """The records of a ``data.mdb``, in the order of their keys.

    Raises:
        Error: not an LMDB file, truncated or damaged.

    >>> from pathlib import Path
    >>> file = LmdbFile(Path("train_lmdb/data.mdb"), "train_lmdb")  # doctest: +SKIP
    >>> file.key(0), len(file.value(0))  # doctest: +SKIP
    (b'00000000', 12)
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        with open(path, "rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise self._damaged(f"{path.name} is empty") from None
        self._bytes = np.frombuffer(self._map, np.uint8)
        meta = self._newest_meta()
        nodes = self._leaf_nodes(meta)
        self._key_at = nodes.at + _NODE_HEADER
        self._key_size = nodes.key_size
        self._value_at, self._value_size = self._values(nodes)
        if len(nodes.at) != meta["entries"]:
            raise self._damaged(f"{len(nodes.at)} records found, {meta['entries']} announced")

    def __len__(self) -> int:
        return len(self._key_at)

    def key(self, number: int) -> bytes:
        at = int(self._key_at[number])
        return self._map[at : at + int(self._key_size[number])]

    def value(self, number: int) -> memoryview:
        """Not copied: a part of the mapped file."""
        at = int(self._value_at[number])
        return memoryview(self._map)[at : at + int(self._value_size[number])]

    def _damaged(self, problem: str) -> Error:
        return Error(
            f"{self._name}: not a readable LMDB, damaged or truncated: {problem}; copy or convert "
            "it anew"
        )

    def _newest_meta(self) -> np.void:
        """The file has two heads, written in turn: the one with the later transaction counts."""
        first = self._meta(0)
        if first is None:
            raise self._damaged("it does not begin as LMDB files do")
        size = self._page_size = int(first["page_size"])
        if size < 512 or size > 1 << 16 or size & (size - 1):
            raise self._damaged(f"pages of {size} bytes")
        second = self._meta(size)
        metas = [meta for meta in (first, second) if meta is not None]
        newest = max(metas, key=lambda meta: int(meta["transaction"]))
        if newest["flags"]:
            raise Error(f"{self._name}: an LMDB of a special kind (flags {newest['flags']:#x})")
        return newest

    def _meta(self, page: int) -> np.void | None:
        at = page + _PAGE_HEADER
        if at + _META.itemsize > len(self._bytes):
            raise self._damaged(f"{len(self._bytes)} bytes")
        meta = np.frombuffer(self._map, _META, 1, at)[0]
        return meta if meta["magic"] == _MAGIC and meta["version"] == _VERSION else None

    def _leaf_nodes(self, meta: np.void) -> _Nodes:
        pages = np.array([meta["root"]] if meta["root"] != _NO_PAGE else [], np.uint64)
        depth = int(meta["depth"]) if len(pages) else 1
        if not 1 <= depth <= _MAX_DEPTH:
            raise self._damaged(f"a tree of {depth} levels")
        for _ in range(depth - 1):
            nodes = self._nodes(pages, _BRANCH)
            pages = nodes.low | nodes.high << 16 | nodes.flags << 32
            if len(np.unique(pages)) != len(pages):
                raise self._damaged("pages that are in the tree twice")
        return self._nodes(pages, _LEAF)

    def _nodes(self, pages: np.ndarray, kind: int) -> _Nodes:
        size = self._page_size
        if (pages >= len(self._bytes) // size).any():
            raise self._damaged(f"page {pages.max()} of {len(self._bytes) // size}")
        start = pages.astype(np.int64) * size
        header = self._gather(start, _PAGE_HEADER)
        number, flags, lower = (
            header[:, :8].copy().view("<u8")[:, 0],
            header[:, 10:12].copy().view("<u2")[:, 0],
            header[:, 12:14].copy().view("<u2")[:, 0].astype(np.int64),
        )
        if (number != pages).any() or (flags & 0xF != kind).any():
            raise self._damaged("a page that is not what its place says")
        counts = (lower - _PAGE_HEADER) // 2
        if (lower < _PAGE_HEADER).any() or (lower > size).any():
            raise self._damaged("a page that is fuller than it can be")
        # Entry k of a page's list of nodes is at start + header + 2 k.
        owner = np.repeat(np.arange(len(pages)), counts)
        k = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        offsets = self._gather(start[owner] + _PAGE_HEADER + 2 * k, 2).view("<u2")[:, 0]
        if (offsets < _PAGE_HEADER).any() or (offsets.astype(np.int64) > size - _NODE_HEADER).any():
            raise self._damaged("a node that is not in its page")
        at = start[owner] + offsets
        fields = self._gather(at, _NODE_HEADER).view("<u2").astype(np.uint64)
        low, high, node_flags, key_size = fields.T
        return _Nodes(at, start[owner] + size, low, high, node_flags, key_size.astype(np.int64))

    def _values(self, nodes: _Nodes) -> tuple[np.ndarray, np.ndarray]:
        if (nodes.flags & _UNUSUAL).any():
            raise Error(f"{self._name}: an LMDB of several databases; one of Datums is needed")
        sizes = (nodes.low | nodes.high << 16).astype(np.int64)
        at = nodes.at + _NODE_HEADER + nodes.key_size
        big = (nodes.flags & _BIG) != 0
        if (at + np.where(big, 8, sizes) > nodes.page_end).any():
            raise self._damaged("a record that is not in its page")
        pages = self._gather(at[big], 8).view("<u8")[:, 0]
        if (pages >= len(self._bytes) // self._page_size).any():
            raise self._damaged("a record's page is missing")
        start = pages.astype(np.int64) * self._page_size
        if (self._gather(start + 10, 1)[:, 0] & 0xF != _OVERFLOW).any():
            raise self._damaged("a record's page is something else")
        at[big] = start + _PAGE_HEADER
        if (at + sizes > len(self._bytes)).any():
            raise self._damaged("the last records are missing")
        return at, sizes

    def _gather(self, at: np.ndarray, size: int) -> np.ndarray:
        """``size`` bytes from each position: (len(at), size)."""
        return self._bytes[at[:, np.newaxis] + np.arange(size)]

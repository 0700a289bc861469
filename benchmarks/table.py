"""Rows of results, printed as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from peak import Peak

OUTPUTS = "pydl outputs"  # pydl with keep="outputs", where that is not what "pydl" is


@dataclass
class Row:
    """One case: what each side took, and what it amounts to."""

    case: str
    ms: dict[str, float]  # by side; "pydl" is one, where it can do this
    flops: float = 0  # per call
    bytes: float = 0  # read and written at least, where memory is the limit
    limit_ms: float = 0  # what moving as many bytes took at the same time
    bf16: bool = False
    note: str = ""  # the implementation pydl chose
    extra: dict[str, Any] = field(default_factory=dict)

    def best_peer(self) -> tuple[str, float] | None:
        """Name and milliseconds."""
        peers = [(ms, side) for side, ms in self.ms.items() if side not in ("pydl", OUTPUTS)]
        return min(peers)[::-1] if peers else None

    def ratio(self) -> float | None:
        """The best peer's time over pydl's: above 1, pydl is faster."""
        peer = self.best_peer()
        return peer[1] / self.ms["pydl"] if peer and "pydl" in self.ms else None

    def percent(self, peak: Peak, side: str = "pydl") -> float | None:
        """Of the peak FLOP/s or, where no FLOPs are counted, of the memory's bandwidth."""
        if side not in self.ms or not (self.flops or self.limit_ms):
            return None
        limit = 1e3 * self.flops / peak.of(self.bf16) if self.flops else self.limit_ms
        return 100 * limit / self.ms[side]

    def plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` reads it."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return known | known.pop("extra")

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Row:
        known = {field.name for field in fields(cls)}
        extra = {key: value for key, value in plain.items() if key not in known}
        return cls(**{key: plain[key] for key in plain if key in known}, extra=extra)


class Table:
    """Prints a title and a header, then each row at once."""

    WIDTH = 36

    def __init__(self, title: str, sides: list[str], peak: Peak) -> None:
        self._sides, self._peak = sides, peak
        self._has_peers = len(sides) > 1
        header = [f"{side.replace('torch ', 't.')} ms" for side in sides]
        header += ["peer/pydl"] * self._has_peers + ["% peak"]
        print(f"\n{title:<{self.WIDTH}}" + "".join(f"{text:>17}" for text in header))
        print("-" * (self.WIDTH + 17 * len(header)), flush=True)

    def fill(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, each printed when it is there."""
        for row in rows:
            self._print(row)
            yield row

    def _print(self, row: Row) -> None:
        cells = [f"{row.ms[side]:.3f}" if side in row.ms else "" for side in self._sides]
        ratio, percent = row.ratio(), row.percent(self._peak)
        if self._has_peers:
            cells.append(f"{ratio:.2f}" if ratio else "")
        mark = "" if row.flops else " m"
        cells.append(f"{percent:.0f}{mark}" if percent else "")
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        line = f"{row.case:<{self.WIDTH}}" + "".join(f"{cell:>17}" for cell in cells)
        print(clear + f"{line}  {row.note}".rstrip(), flush=True)


def progress(text: str) -> None:
    """Tells what is being timed, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r\033[K... {text}", end="", file=sys.stderr, flush=True)

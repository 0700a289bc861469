"""Rows of results, printed as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from peak import Peak


@dataclass
class Row:
    """One case: what each side took, and what it amounts to."""

    case: str
    ms: dict[str, float]  # by side; "pydl" is one
    flops: float = 0  # per call
    bytes: float = 0  # read and written at least, where memory is the limit
    note: str = ""  # the implementation pydl chose

    def ratio(self) -> float | None:
        """The best peer's time over pydl's: above 1, pydl is faster."""
        peers = [ms for side, ms in self.ms.items() if side != "pydl"]
        return min(peers) / self.ms["pydl"] if peers else None

    def percent(self, peak: Peak) -> float:
        """Of the peak FLOP/s or, where no FLOPs are counted, of the memory's bandwidth."""
        seconds = self.ms["pydl"] / 1e3
        limit = self.flops / peak.flops if self.flops else self.bytes / peak.bandwidth
        return 100 * limit / seconds

    def plain(self, peak: Peak) -> dict:
        return {
            "case": self.case,
            "ms": self.ms,
            "ratio": self.ratio(),
            "percent": self.percent(peak),
            "limit": "flops" if self.flops else "bandwidth",
            "note": self.note,
        }


class Table:
    """Prints a title and a header, then each row at once."""

    def __init__(self, title: str, sides: list[str], peak: Peak) -> None:
        self._sides, self._peak = sides, peak
        self._has_peers = len(sides) > 1
        header = [f"{side} ms" for side in sides]
        header += ["peer/pydl"] * self._has_peers + ["% peak"]
        print(f"\n{title:<34}" + "".join(f"{text:>13}" for text in header))
        print("-" * (34 + 13 * len(header)), flush=True)

    def fill(self, rows: Iterable[Row]) -> list[Row]:
        done = []
        for row in rows:
            self._print(row)
            done.append(row)
        return done

    def _print(self, row: Row) -> None:
        cells = [f"{row.ms[side]:.3f}" if side in row.ms else "" for side in self._sides]
        ratio = row.ratio()
        if self._has_peers:
            cells.append(f"{ratio:.2f}" if ratio else "")
        mark = "" if row.flops else " m"
        cells.append(f"{row.percent(self._peak):.0f}{mark}")
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        line = f"{row.case:<34}" + "".join(f"{cell:>13}" for cell in cells) + f"  {row.note}"
        print(clear + line.rstrip(), flush=True)


def progress(text: str) -> None:
    """Tells what is being timed, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r\033[K... {text}", end="", file=sys.stderr, flush=True)

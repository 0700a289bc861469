"""How much of the machine other processes used meanwhile: what they take falsifies the times."""

from __future__ import annotations

import os
import time
from pathlib import Path


class OtherLoad:
    """Counts from when it was made.

    >>> load = OtherLoad()
    >>> 0 <= load.share() <= 1
    True
    """

    def __init__(self) -> None:
        self._start = self._now()

    def share(self) -> float:
        """The part of all cores' time that other processes had; 0 where Linux's /proc is absent."""
        seconds, busy, own = (b - a for a, b in zip(self._start, self._now(), strict=True))
        cores = os.cpu_count() or 1
        return min(1.0, max(0.0, (busy - own) / max(seconds * cores, 1e-3)))

    def warning(self) -> str:
        share = self.share()
        return f"other processes used {share:.0%} of the CPU" if share > 0.03 else ""

    @staticmethod
    def _now() -> tuple[float, float, float]:
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return time.monotonic(), 0.0, 0.0
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
        busy = user + nice + system + irq + softirq + steal
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])

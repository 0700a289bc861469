"""Timing several sides of one case fairly: in turns, best of many."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

ROUNDS = 5
SAMPLE = 2e-3  # seconds that one sample takes at least: short calls are repeated
NAP = 0.03  # before a turn: the other side's threads stop spinning


def best(sides: Mapping[str, Callable[[], object]], seconds: float = 0.5) -> dict[str, float]:
    """Milliseconds per call of each side: the best of at least `ROUNDS` samples after warm-up.

    Args:
        sides: functions to call, by name; they take turns, `ROUNDS` turns each.
        seconds: about how long each is run in all.
    """
    repeats = {name: _repeats(call) for name, call in sides.items()}
    times = dict.fromkeys(sides, float("inf"))
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for name, call in sides.items():
                time.sleep(NAP)
                call()
                end = time.perf_counter() + seconds / ROUNDS
                times[name] = min(times[name], _best_until(end, call, repeats[name]))
    finally:
        gc.enable()
    return {name: 1e3 * value for name, value in times.items()}


def _repeats(call: Callable[[], object]) -> int:
    call()
    return max(1, round(SAMPLE / max(_sample(call, 1), 1e-7)))


def _best_until(end: float, call: Callable[[], object], repeats: int) -> float:
    best = _sample(call, repeats)
    while time.perf_counter() < end:
        best = min(best, _sample(call, repeats))
    return best


def _sample(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats

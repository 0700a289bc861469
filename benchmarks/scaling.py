"""All threads against one, of whole nets in pydl."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nets import BATCHES, Case, Ours, problem, tasks
from table import Row, progress
from timing import best

import pydl


def rows(net: str, threads: int, match: str = "") -> Iterator[Row]:
    for train in tasks(net):
        case = Case(net, BATCHES[net], train)
        if match not in str(case):
            continue
        progress(f"{case}, 1 and {threads} threads")
        given = problem(case)
        calls = {f"{n} threads": _with_threads(n, case, given) for n in (1, threads)}
        ms = best(calls, seconds=4)
        ratio = ms["1 threads"] / ms[f"{threads} threads"]
        yield Row(str(case), ms, extra={"net": net, "speedup": ratio}, note=f"{ratio:.2f}x")


def _with_threads(count: int, case: Case, given: object) -> Callable[[], object]:
    """A net of its own, as layers may choose their implementations by the number of threads."""
    pydl.set_num_threads(count)
    call = Ours(case, given).call()

    def run() -> None:
        pydl.set_num_threads(count)
        call()

    return run

"""Where a net's time goes: each layer of a training step and of inference."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from nets import BATCHES, Case, Ours, passes, problem, tasks
from table import progress
from timing import best

SECONDS = 4  # for the layers of one case
MIN_PASSES = 5


def rows(net: str, match: str = "") -> Iterator[dict[str, Any]]:
    """A row for each task and precision: the layers' best times, and those of the whole."""
    for bf16 in (False, True):
        for train in tasks(net):
            case = Case(net, BATCHES[net], train, bf16)
            if match in str(case):
                progress(f"{case}, its layers")
                yield {"case": str(case), "net": net, **layer_times(case)}


def layer_times(case: Case) -> dict[str, Any]:
    ours = Ours(case, problem(case))
    whole = best({"pydl": ours.call()}, seconds=2)["pydl"]
    ours.core.set_timing(True)
    update_ms, layers = float("inf"), [_named(row) for row in ours.core.layer_rows()]
    end, count = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end or count < MIN_PASSES:
        update_ms = min(update_ms, _pass(ours))
        for layer, row in zip(layers, ours.core.layer_rows(), strict=True):
            for key in ("forward_ms", "backward_ms"):
                layer[key] = min(layer[key], row[key])
        count += 1
    if not case.train:
        for layer in layers:
            layer["backward_ms"] = 0
    return {"ms": whole, "update_ms": update_ms if case.train else 0, "layers": layers}


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "type": row["type"],
        "implementation": "fused" if row["fused"] else row["implementation"],
        "flops": row["flops"],
        "passes": passes(row),
        "forward_ms": float("inf"),
        "backward_ms": float("inf"),
    }


def _pass(ours: Ours) -> float:
    """Runs a step in parts; returns the milliseconds of the update."""
    if not ours.train:
        ours.core.forward()
        return 0
    ours.core.clear_param_diffs()
    ours.core.forward()
    ours.core.backward()
    start = time.perf_counter()
    ours.solver.apply_update()
    return 1e3 * (time.perf_counter() - start)


def summary(row: dict[str, Any]) -> str:
    """The slowest layers in one line each.

    >>> summary({"case": "a net", "ms": 2, "update_ms": 0, "layers": [
    ...     {"name": "a", "forward_ms": 1, "backward_ms": 0, "implementation": "ref"}]})
    'a net: 2.0 ms\\n  1.00 + 0.00 ms  a  ref'
    """
    slowest = sorted(row["layers"], key=lambda x: -x["forward_ms"] - x["backward_ms"])[:8]
    lines = [
        f"  {x['forward_ms']:.2f} + {x['backward_ms']:.2f} ms  {x['name']}  {x['implementation']}"
        for x in slowest
    ]
    return "\n".join([f"{row['case']}: {row['ms']:.1f} ms", *lines])

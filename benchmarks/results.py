"""The raw results of all invocations on one machine, in one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Results:
    """Tables of rows by case; what is measured again replaces what was there.

    The file starts afresh where it is from another machine: times of two do not mix. Of the peaks
    that the runs measured it keeps the highest.

    >>> results = Results(path, {"cpu": "a"}); results.add("gemm", {"case": "512", "ms": {}})
    >>> results.table("gemm")
    [{'case': '512', 'ms': {}}]
    """

    def __init__(self, path: Path | None, machine: dict[str, Any] | None = None) -> None:
        self._path = path
        self.data: dict[str, Any] = {"machine": machine or {}, "tables": {}}
        if path and path.exists():
            known = json.loads(path.read_text())
            before = known["machine"]
            if machine is None or before.get("cpu") == machine.get("cpu"):
                self.data = known
            if machine is not None:
                self.data["machine"] = machine | _highest(machine, self.data["machine"])

    @property
    def machine(self) -> dict[str, Any]:
        return self.data["machine"]

    def table(self, name: str) -> list[dict[str, Any]]:
        return list(self.data["tables"].get(name, {}).values())

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Adds a row and writes the file, so that an interrupted run loses one row at most."""
        self.data["tables"].setdefault(table, {})[row["case"]] = row
        if self._path:
            self._path.write_text(json.dumps(self.data, indent=1) + "\n")


def _highest(*machines: dict[str, Any]) -> dict[str, Any]:
    peaks = [machine["peak"] for machine in machines if "peak" in machine]
    if not peaks:
        return {}
    return {"peak": {key: max(peak[key] for peak in peaks) for key in peaks[0]}}

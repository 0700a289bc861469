"""The table that `pydl.Net.summary` and `pydl summary` show."""

from __future__ import annotations

import math

from pydl import _core


def summary(core: _core.Net) -> str:
    """Layers with output shapes, parameters and FLOPs of a forward pass, and the totals.

    A parameter that layers share is counted where it first appears.
    """
    params = core.param_rows()
    sizes = [math.prod(row["shape"]) for row in params]
    counted: set[int] = set()
    table = [("Layer", "Type", "Output", "Params", "MFLOP")]
    total_flops = 0.0
    for row in core.layer_rows():
        own = [i for i in row["param_ids"] if i not in counted]
        counted.update(own)
        total_flops += row["flops"]
        shapes = " ".join("x".join(map(str, shape)) or "scalar" for shape in row["top_shapes"])
        count = sum(sizes[i] for i in own)
        flops = f"{row['flops'] / 1e6:,.1f}" if row["flops"] else ""
        table.append((row["name"], row["type"], shapes, f"{count:,}" if count else "", flops))
    blobs = {name: core.blob(name) for name in core.blob_names} if core.keep == "all" else {}
    activations = 4 * sum(blob.count for blob in blobs.values())
    total = sum(sizes)
    lines = [f'Net "{core.name}" ({core.phase})', *_columns(table)]
    lines.append(
        f"parameters {total:,} ({_mib(4 * total)}), {total_flops / 1e9:,.3f} GFLOP forward"
    )
    if blobs:
        lines.append(f"activations {_mib(activations)} per pass in one direction")
    return "\n".join(lines)


def _columns(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for n, row in enumerate(table):
        cells = [
            cell.rjust(width) if i >= 3 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("-" * len(lines[0]) if len(lines[0]) > sum(widths) else "-" * sum(widths))
    return lines


def _mib(size: int) -> str:
    return f"{size / 2**20:,.2f} MiB"

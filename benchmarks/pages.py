"""Puts results into docs/performance.md and docs/performance_layers.md, with their charts.

The first is written by hand but for what stands between `<!-- begin NAME -->` and `<!-- end -->`:
that is replaced by what the function of that name makes of the results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import charts
from goals import Goal, goals
from peak import Peak
from results import Results
from table import OUTPUTS, Row

NAMES = {
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "googlenet": "GoogLeNet",
    "resnet50": "ResNet-50",
    "lstm": "LSTM",
    "transformer": "Transformer",
    "mobilenet_v1": "MobileNet-v1",
    "mobilenet_v2": "MobileNet-v2",
    "ssd300": "SSD-300",
}
EXAMPLES = {"mnist": "LeNet, 4,000 digits", "fashion_mnist": "LeNet, Fashion-MNIST"}
KINDS = ("training step f32", "training step bf16", "inference f32", "inference bf16")
PART = re.compile(r"(<!-- begin (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
SMALL_SHARE = 0.005  # of a net's time: layers below are summed up by type


def write(results: Results, docs: Path) -> Iterator[Path]:
    """Rewrites the pages and charts in `docs`; yields the files."""
    page = docs / "performance.md"
    page.write_text(fill(page.read_text(), results))
    yield page
    layers = docs / "performance_layers.md"
    layers.write_text(layers_page(results))
    yield layers
    yield from draw(results, docs / "images")


def fill(text: str, results: Results) -> str:
    """A page's text with its parts made anew.

    Raises SystemExit for a part that no function makes.
    """

    def part(match: re.Match) -> str:
        name = match["name"]
        if name not in PARTS:
            raise SystemExit(f'no results are called "{name}"; there are {", ".join(PARTS)}')
        return f"{match[1]}{PARTS[name](results)}\n{match[3]}"

    return PART.sub(part, text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; all columns but the first are aligned to the right.

    >>> print(table(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(
        f"|{'|'.join(line)}|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines
    )


# ---- parts of the page ----
def machine(results: Results) -> str:
    about = results.machine
    return (
        f"{about['cpu']}, {about['threads']} threads, {about['kernels']} kernels; "
        f"{about['versions']}.\nMeasured peak: {_peak(results)}."
    )


def goal_table(results: Results) -> str:
    return table(["", "goal", "measured", "met"], map(_goal_row, goals(results)))


def _goal_row(goal: Goal) -> list[str]:
    sign = "&le;" if goal.at_most else "&ge;"
    met = {True: "yes", False: "**no**", None: "-"}[goal.met]
    return [goal.text, f"{sign} {goal.text_of(goal.limit)}", goal.text_of(goal.measured), met]


def net_table(kind: str) -> Callable[[Results], str]:
    """Milliseconds of every side, the ratio of the fastest peer, and pydl's share of the peak."""

    def render(results: Results) -> str:
        rows = [row for row in _rows(results, "nets") if row.extra["kind"] == kind]
        rows.sort(key=lambda row: (row.extra["batch"] == 1, list(NAMES).index(row.extra["net"])))
        sides = [side for side in _sides(rows) if side != "pydl"]
        header = ["net (batch)", "pydl ms", *sides, "fastest peer / pydl", "% of peak"]
        return table(header, [_net_row(row, sides, _peak(results)) for row in rows])

    return render


def _net_row(row: Row, sides: list[str], peak: Peak) -> list[str]:
    times = [_number(row.ms.get(side)) for side in ("pydl", *sides)]
    name = f"{NAMES[row.extra['net']]} ({row.extra['batch']})"
    return [name, *times, _times(row.ratio()), _number(row.percent(peak), 0)]


def gemm_table(results: Results) -> str:
    return _side_table(results, "gemm", "m x n x k", "% of peak")


def bandwidth_table(results: Results) -> str:
    return _side_table(results, "bandwidth", "layer", "% of bandwidth")


def _side_table(results: Results, name: str, first: str, share: str) -> str:
    rows, peak = _rows(results, name), _peak(results)
    sides = _sides(rows)
    body = [
        [
            row.case,
            *(_number(row.ms.get(side), 3) for side in sides),
            _times(row.ratio()),
            _number(row.percent(peak), 0),
        ]
        for row in rows
    ]
    return table([first, *(f"{s} ms" for s in sides), "fastest peer / pydl", share], body)


def memory_table(results: Results) -> str:
    rows = results.table("memory")
    sides = list(rows[0]["mib"]) if rows else []
    body = [
        [NAMES[r["case"]], *(f"{r['mib'][s]:.0f}" for s in sides), f"{r['ratio']:.2f}x"]
        for r in rows
    ]
    return table(["training step", *(f"{s} MiB" for s in sides), "pydl / least peer"], body)


def scaling_table(results: Results) -> str:
    rows = _rows(results, "scaling")
    sides = _sides(rows)
    body = [
        [row.case, *(_number(row.ms.get(s)) for s in sides), _times(row.extra["speedup"])]
        for row in rows
    ]
    return table(["", *(f"{s}, ms" for s in sides), "speed-up"], body)


def start_table(results: Results) -> str:
    body = [
        [row["case"], f"{row['bytes'] / 1e6:.0f}", f"{row['seconds']:.3f}"]
        for row in results.table("start")
    ]
    return table(["VGG-16 weights", "MB", "seconds"], body)


def shares_table(results: Results) -> str:
    """Each net's time by type of layer."""
    body = []
    for row in results.table("layers"):
        by_type = _by_type(row)
        total = sum(by_type.values())
        most = sorted(by_type.items(), key=lambda item: -item[1])[:5]
        body.append([row["case"], _number(row["ms"]), _shares(most, total)])
    return table(["", "ms", "share of the time"], body)


def _by_type(row: dict[str, Any]) -> dict[str, float]:
    by_type = {"update": row["update_ms"]} if row["update_ms"] else {}
    for layer in row["layers"]:
        ms = layer["forward_ms"] + layer["backward_ms"]
        by_type[layer["type"]] = by_type.get(layer["type"], 0) + ms
    inside = sum(by_type.values())
    by_type["between layers"] = max(0.0, row["ms"] - inside)
    return by_type


def _shares(most: list[tuple[str, float]], total: float) -> str:
    return ", ".join(f"{name} {100 * ms / total:.0f} %" for name, ms in most if ms > 0)


def precision_table(results: Results) -> str:
    """The accuracy at the end of each run."""
    body = []
    for (example, precision), runs in _runs(results).items():
        last = [run["accuracy"][-1] for run in runs]
        mean = sum(last) / len(last)
        body.append([EXAMPLES[example], precision, f"{mean:.2%}", *(f"{a:.2%}" for a in last)])
    seeds = [f"seed {i + 1}" for i in range(len(body[0]) - 3)] if body else []
    return table(["", "precision", "mean", *seeds], body)


def _runs(results: Results) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By example and precision, in order of their seeds."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(results.table("precision"), key=lambda row: row["seed"]):
        runs.setdefault((row["example"], row["precision"]), []).append(row)
    return dict(sorted(runs.items(), key=lambda run: list(EXAMPLES).index(run[0][0])))


PARTS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "goals": goal_table,
    **{kind: net_table(kind) for kind in KINDS},
    "gemm": gemm_table,
    "bandwidth": bandwidth_table,
    "memory": memory_table,
    "scaling": scaling_table,
    "start": start_table,
    "shares": shares_table,
    "precision": precision_table,
}


# ---- the page of layers ----
def layers_page(results: Results) -> str:
    peak = _peak(results)
    head = (
        "# Where the time goes, layer by layer\n\n"
        "Best times of each layer inside its net. GFLOP/s count the operations of a direct\n"
        "convolution, so Winograd's can be above the peak. A layer marked *fused* runs inside the\n"
        "one before it. Written by `python benchmarks/run.py`.\n\n"
    )
    parts = [
        f"## {NAMES[row['net']]}{row['case'].removeprefix(row['net'])}\n\n"
        f"{row['ms']:.2f} ms\n\n{layer_table(row, peak)}\n"
        for row in results.table("layers")
    ]
    return head + machine(results) + "\n\n" + "\n".join(parts)


def layer_table(row: dict[str, Any], peak: Peak) -> str:
    most = peak.of(bf16=row["case"].endswith("bf16"))
    train = row["update_ms"] > 0
    header = ["layer", "type", "implementation", "forward ms", "GFLOP/s", "% of peak"]
    header += ["backward ms", "GFLOP/s", "% of peak"] * train
    body, small = [], {}
    for layer in row["layers"]:
        ms = layer["forward_ms"] + layer["backward_ms"]
        if ms < SMALL_SHARE * row["ms"]:
            small[layer["type"]] = small.get(layer["type"], 0) + ms
            continue
        cells = [layer["name"], layer["type"], layer["implementation"]]
        cells += _speed(layer["forward_ms"], layer["flops"], most)
        if train:
            cells += _speed(layer["backward_ms"], layer["flops"] * layer["passes"], most)
        body.append(cells)
    rest = ", ".join(f"{kind} {ms:.2f} ms" for kind, ms in small.items())
    update = f"\n\nUpdate: {row['update_ms']:.2f} ms." if train else ""
    return table(header, body) + update + (f"\n\nSmaller layers: {rest}." if rest else "")


def _speed(ms: float, flops: float, most: float) -> list[str]:
    if not flops or not ms:
        return [_number(ms, 3), "", ""]
    rate = flops / (ms / 1e3)
    return [_number(ms, 3), f"{rate / 1e9:.0f}", f"{100 * rate / most:.0f}"]


# ---- charts ----
SIDES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def draw(results: Results, images: Path) -> Iterator[Path]:
    peak = _peak(results)
    for kind in KINDS:
        path = images / f"performance_{kind.replace(' step', '').replace(' ', '_')}.svg"
        rows = [row.extra | {"row": row} for row in _rows(results, "nets")]
        rows = [row for row in rows if row["kind"] == kind and row["batch"] != 1]
        rows.sort(key=lambda row: list(NAMES).index(row["net"]))
        if rows:
            names = [f"{NAMES[row['net']]} ({row['batch']})" for row in rows]
            percents = [_percents(row["row"], peak) for row in rows]
            charts.bars(path, kind, dict(zip(names, percents, strict=True)))
            yield path
    squares = [row for row in _rows(results, "gemm") if not row.case.startswith("ip")]
    if squares:
        path = images / "performance_gemm.svg"
        sizes = [int(row.case.split()[0]) for row in squares]
        percents = [_percents(row, peak) for row in squares]
        by_side = {side: [p[side] for p in percents] for side in percents[0]}
        charts.lines(path, "float32 matrix product", sizes, by_side)
        yield path
    panels: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (example, precision), runs in _runs(results).items():
        panels.setdefault(EXAMPLES[example], {})[precision] = runs
    if panels:
        path = images / "performance_precision.svg"
        charts.curves(path, panels)
        yield path


def _percents(row: Row, peak: Peak) -> dict[str, float]:
    """By side, of several modes the best."""
    best: dict[str, float] = {}
    for side in row.ms:
        if side == OUTPUTS:
            continue
        name = SIDES.get(side.split()[0], side)
        best[name] = max(best.get(name, 0), row.percent(peak, side) or 0)
    return best


# ---- formatting ----
def _rows(results: Results, name: str) -> list[Row]:
    return [Row.from_plain(plain) for plain in results.table(name)]


def _peak(results: Results) -> Peak:
    return Peak(**results.machine["peak"])


def _sides(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(side for row in rows for side in row.ms))


def _times(ratio: float | None) -> str:
    return f"{ratio:.2f}x" if ratio else "-"


def _number(value: float | None, digits: int | None = None) -> str:
    """With about three digits, unless told.

    >>> _number(1234.5), _number(12.34), _number(1.234), _number(None)
    ('1234', '12.3', '1.23', '-')
    """
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"

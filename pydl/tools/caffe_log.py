"""Training logs, Caffe's and ours: tables of what the nets put out, and charts of them."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydl.errors import Error
from pydl.formats import atomic_write
from pydl.reporting.curve import save_figure

Row = dict[str, float]

_ITERATION = re.compile(r"Iteration (\d+)")
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S+) = ([.\deE+-]+|-?nan|-?inf)")
_RATE = re.compile(r"lr = ([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)")
# glog's prefix: I1121 03:10:57.057163, with the year in newer versions
_TIME = re.compile(r"[IWEF](\d{4})?(\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{1,6})")

# Caffe's chart types: what is drawn, of which net, over what.
CHARTS = tuple(
    (kind, table, over)
    for kind, table in (
        ("accuracy", "Test"),
        ("loss", "Test"),
        ("learning rate", "Train"),
        ("loss", "Train"),
    )
    for over in ("Iters", "Seconds")
)
_OVER = {"Iters": "NumIters", "Seconds": "Seconds"}


def parse_log(path: str | os.PathLike) -> tuple[list[Row], list[Row]]:
    """What a log tells of the training net and of the test nets, a row for each iteration.

    Rows have NumIters, Seconds (since "Solving ..."), LearningRate (the last one seen) and the
    net's outputs by name.

    Raises:
        Error: a file that cannot be read or is no log of a training run.

    >>> train, test = parse_log("lenet.log")
    >>> list(train[0])
    ['NumIters', 'Seconds', 'LearningRate', 'loss']
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        year = datetime.fromtimestamp(os.path.getmtime(path)).year
    except OSError as error:
        raise Error(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error
    lines = text.splitlines()
    start = next((t for t in (_time(x, year) for x in lines if "Solving" in x) if t), None)
    if start is None:
        raise Error(
            f'{os.fspath(path)}: not a log of a training run: no line "Solving ..." with a time'
        )
    tables: dict[str, list[Row]] = {"Train": [], "Test": []}
    iteration, rate = None, math.nan
    for line in lines:
        if found := _ITERATION.search(line):
            iteration = float(found[1])
        when = _time(line, year)
        if iteration is None or when is None:
            continue
        if found := _RATE.search(line):
            rate = float(found[1])
        if found := _OUTPUT.search(line):
            seconds = _since(start, when)
            _add(tables[found[1]], iteration, seconds, rate, found[2], float(found[3]))
    for rows in tables.values():
        _fill_first_rate(rows)
    return tables["Train"], tables["Test"]


def _time(line: str, year: int) -> datetime | None:
    found = _TIME.match(line.strip())
    if not found:
        return None
    date = f"{found[1] or year:>04}{found[2]}{found[3]} {found[4]}"
    try:
        return datetime.strptime(date, "%Y%m%d %H:%M:%S.%f")
    except ValueError:  # such as month 13
        return None


def _since(start: datetime, when: datetime) -> float:
    if when < start:  # a run through New Year's Eve, in a log without years
        when = when.replace(year=start.year + 1)
    return (when - start).total_seconds()


def _add(
    rows: list[Row], iteration: float, seconds: float, rate: float, name: str, value: float
) -> None:
    """Into the last row; into a new one for another iteration, or where the name came before."""
    if not rows or rows[-1]["NumIters"] != iteration or name in rows[-1]:
        rows.append({"NumIters": iteration, "Seconds": seconds, "LearningRate": rate})
    rows[-1][name] = value


def _fill_first_rate(rows: list[Row]) -> None:
    """The first outputs come before the first rate."""
    if len(rows) > 1 and math.isnan(rows[0]["LearningRate"]):
        rows[0]["LearningRate"] = rows[1]["LearningRate"]


def save_tables(
    tables: tuple[list[Row], list[Row]],
    log: str | os.PathLike,
    folder: str | os.PathLike,
    delimiter: str = ",",
) -> tuple[Path, Path]:
    """Writes the tables of a log to ``<folder>/<log>.train`` and ``.test``, as CSV.

    Returns the two paths. Raises Error for files that cannot be written.

    >>> save_tables(parse_log("lenet.log"), "lenet.log", ".")
    (PosixPath('lenet.log.train'), PosixPath('lenet.log.test'))
    """
    written = []
    for suffix, rows in zip(("train", "test"), tables, strict=True):
        target = Path(folder) / f"{Path(log).name}.{suffix}"
        with atomic_write(target) as file:
            file.write(_csv(rows, delimiter).encode())
        written.append(target)
    return written[0], written[1]


def _csv(rows: Sequence[Row], delimiter: str) -> str:
    text = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, delimiter=delimiter)
    if rows:
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def plot_logs(chart: int, picture: str | os.PathLike, logs: Sequence[str | os.PathLike]) -> None:
    """Draws one of Caffe's eight charts (`CHARTS`) of one or several logs.

    Raises:
        Error: an unknown chart, a log without the values for it, no matplotlib, or a picture that
            cannot be written.

    >>> plot_logs(6, "loss.png", ["lenet.log"])  # training loss over iterations
    """
    if not 0 <= chart < len(CHARTS):
        raise Error(f"no chart {chart}; there are\n{chart_list()}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Error(f'{picture}: charts need matplotlib: pip install "pydl[plot]"') from error
    kind, table, over = CHARTS[chart]
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for log in logs:
        _plot(axes, log, kind, table, over)
    axes.set(title=_title(chart), xlabel=over, ylabel=f"{table} {kind}")
    axes.grid(True, color="0.9")
    axes.legend(frameon=False)
    save_figure(figure, Path(picture))


def chart_list() -> str:
    """The charts with their numbers, one a line."""
    return "\n".join(f"  {i}: {_title(i)}" for i in range(len(CHARTS)))


def _title(chart: int) -> str:
    kind, table, over = CHARTS[chart]
    return f"{table} {kind} vs. {over}"


def _plot(axes: Any, log: str | os.PathLike, kind: str, table: str, over: str) -> None:
    rows = parse_log(log)[0 if table == "Train" else 1]
    names = ["LearningRate"] if kind == "learning rate" else _outputs(rows, kind[:3].lower())
    if not names:
        raise Error(f"{log}: no {table.lower()} net output is named like {kind}")
    for name in names:
        points = [(row[_OVER[over]], row[name]) for row in rows if name in row]
        label = Path(log).name if len(names) == 1 else f"{Path(log).name}: {name}"
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else "", label=label)


def _outputs(rows: Sequence[Row], part: str) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in list(row)[3:])
    return [name for name in names if part in name.lower()]

"""What is to be drawn: one box for each layer, with the layers that work in place inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydl import prototxt
from pydl.drawing.details import details
from pydl.errors import Error
from pydl.prototxt import Message
from pydl.prototxt.definitions import PHASES


@dataclass
class Row:
    """One layer of a box."""

    name: str
    type: str
    detail: str  # its main parameters, or ""


@dataclass
class Box:
    rows: list[Row]
    tops: list[str]
    phases: frozenset[str] = frozenset(PHASES)


@dataclass
class Edge:
    """From box to box, with the names of the blobs that go along it."""

    source: int
    target: int
    blobs: list[str] = field(default_factory=list)


@dataclass
class Graph:
    name: str
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def label(self, edge: Edge) -> str:
        """The blobs of an edge that are not named like the one layer they can come from."""
        source = self.boxes[edge.source]
        names = {row.name for row in source.rows}
        return ", ".join(b for b in edge.blobs if len(source.tops) > 1 or b not in names)


def net_graph(net: Any, *, phase: str | int | None = None, lr_mult: bool = False) -> Graph:
    """The graph of a NetParameter; see `pydl.drawing.render`."""
    message = prototxt.as_message(net)
    graph = Graph(message.name)
    writers: dict[str, list[int]] = {}  # blob: several where each phase has its own
    for name in message.input:
        writers[name] = [_add_box(graph, Row(name, "Input", ""), [name])]
    for layer in message.layer:
        if phase is None or phase_name(phase) in phases(layer):
            _add_layer(graph, writers, layer, _row(layer, phase is None, lr_mult))
    if not graph.boxes:
        raise Error(f'net "{message.name}" has no layers to draw')
    return graph


def _add_layer(graph: Graph, writers: dict[str, list[int]], layer: Message, row: Row) -> None:
    bottoms, tops = list(layer.bottom), list(layer.top)
    in_place = len(bottoms) == 1 and bottoms == tops
    above = writers.get(bottoms[0], []) if in_place else []
    read = {(edge.source, blob) for edge in graph.edges for blob in edge.blobs}
    if len(above) == 1 and graph.boxes[above[0]].tops == tops and (above[0], tops[0]) not in read:
        graph.boxes[above[0]].rows.append(row)
        return
    box = _add_box(graph, row, tops, phases(layer))
    for bottom in bottoms:
        for source in writers.get(bottom, []):
            if graph.boxes[source].phases & graph.boxes[box].phases:
                _connect(graph, source, box, bottom)
    for top in tops:
        alternative = top in writers and top not in bottoms
        writers[top] = [*writers[top], box] if alternative else [box]


def _add_box(
    graph: Graph, row: Row, tops: list[str], phases: frozenset[str] = frozenset(PHASES)
) -> int:
    graph.boxes.append(Box([row], tops, phases))
    return len(graph.boxes) - 1


def _connect(graph: Graph, source: int, target: int, blob: str) -> None:
    for edge in graph.edges:
        if (edge.source, edge.target) == (source, target):
            edge.blobs += [] if blob in edge.blobs else [blob]
            return
    graph.edges.append(Edge(source, target, [blob]))


def _row(layer: Message, with_phase: bool, lr_mult: bool) -> Row:
    parts = [details(layer)]
    if with_phase:
        parts += [r.phase for r in layer.include if r.HasField("phase")]
        parts += [f"not {r.phase}" for r in layer.exclude if r.HasField("phase")]
    if lr_mult and layer.param:
        parts.append("lr_mult " + ", ".join(f"{p.lr_mult:g}" for p in layer.param))
    return Row(layer.name, layer.type, ", ".join(p for p in parts if p))


def phases(layer: Message) -> frozenset[str]:
    """Those that the layer's rules allow, whatever else they ask for."""
    if layer.include:
        some = [{r.phase} if r.HasField("phase") else set(PHASES) for r in layer.include]
        return frozenset().union(*some)
    return frozenset(PHASES) - {r.phase for r in layer.exclude if r.HasField("phase")}


def phase_name(phase: str | int) -> str:
    names = {number: name for name, number in PHASES.items()}
    name = names.get(phase, phase)
    if name not in PHASES:
        raise Error(f"phase {phase!r} is not one of {', '.join(PHASES)}")
    return name

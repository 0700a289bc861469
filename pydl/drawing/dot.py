"""A graph as Graphviz text."""

from __future__ import annotations

from pydl.drawing.graph import Graph
from pydl.drawing.style import colours


def dot_text(graph: Graph, rankdir: str, edge_labels: bool) -> str:
    """The picture as the text of a ``.dot`` file."""
    lines = [
        f"digraph {_quote(graph.name or 'net')} {{",
        f"  rankdir={rankdir};",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica"];',
    ]
    for i, box in enumerate(graph.boxes):
        rows = [" ".join(p for p in (r.name + ":", r.type, r.detail) if p) for r in box.rows]
        fill, stroke = colours(box.rows[0].type)
        text = _quote("\n".join(rows))
        lines.append(f'  n{i} [label={text}, fillcolor="{fill}", color="{stroke}"];')
    for edge in graph.edges:
        label = graph.label(edge) if edge_labels else ""
        shown = f" [label={_quote(label)}]" if label else ""
        lines.append(f"  n{edge.source} -> n{edge.target}{shown};")
    return "\n".join([*lines, "}", ""])


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

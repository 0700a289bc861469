"""A graph as SVG."""

from __future__ import annotations

import itertools
from xml.sax.saxutils import escape

from pydl.drawing.graph import Box, Graph, Row
from pydl.drawing.layout import Layout, Point, layout
from pydl.drawing.style import colours

_FONT, _SMALL = 13, 11  # pixels
_ROW, _PADDING, _MARGIN = 34.0, 12.0, 20.0
_IN_PLACE_ROW = 20.0
_WIDE, _NARROW = "mwMW@%→—", "iljtfrI.,:;'|! ()[]"


def svg_text(graph: Graph, rankdir: str, edge_labels: bool) -> str:
    """The picture as the text of an SVG file."""
    sizes = [_box_size(box) for box in graph.boxes]
    labels = [graph.label(edge) if edge_labels else "" for edge in graph.edges]
    plan = layout(sizes, [(edge.source, edge.target) for edge in graph.edges], rankdir)
    drawn = [_edge(path, rankdir) for path in plan.paths]
    drawn += [
        _box(box, centre, size)
        for box, centre, size in zip(graph.boxes, plan.centres, sizes, strict=True)
    ]
    targets = [edge.target for edge in graph.edges]
    places = dict(zip(zip(targets, labels, strict=True), plan.paths, strict=True))
    drawn += [_label(text, path) for (_, text), path in places.items() if text]
    return _page(plan, graph.name, labels, drawn)


def _page(plan: Layout, title: str, labels: list[str], drawn: list[str]) -> str:
    right = max((_text_width(label, _SMALL) for label in labels), default=0.0)
    width, height = plan.width + 2 * _MARGIN + right, plan.height + 2 * _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-_MARGIN:.0f} {-_MARGIN:.0f} {width:.0f} {height:.0f}" '
        f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="{_FONT}">\n'
        f"<title>{escape(title)}</title>\n"
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#667085"/></marker>'
        "</defs>\n"
        f'<rect x="{-_MARGIN:.0f}" y="{-_MARGIN:.0f}" width="100%" height="100%" fill="white"/>\n'
    )
    return head + "\n".join(drawn) + "\n</svg>\n"


def _box_size(box: Box) -> Point:
    first, *others = box.rows
    widths = [_text_width(first.name, _FONT, bold=True), _text_width(_subtitle(first), _SMALL)]
    widths += [_text_width(_line(row), _SMALL) for row in others]
    return max(widths) + 2 * _PADDING, _ROW + 8 + _IN_PLACE_ROW * len(others)


def _box(box: Box, centre: Point, size: Point) -> str:
    (x, y), (width, height) = centre, size
    left, top = x - width / 2, y - height / 2
    first, *others = box.rows
    fill, stroke = colours(first.type)
    parts = [
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.2"/>',
        _text(x, top + 18, first.name, _FONT, "#101828", bold=True),
        _text(x, top + 34, _subtitle(first), _SMALL, "#344054"),
    ]
    for i, row in enumerate(others):
        row_top = top + _ROW + 8 + i * _IN_PLACE_ROW
        row_fill, row_stroke = colours(row.type)
        parts += [
            f'<rect x="{left + 4:.1f}" y="{row_top - 1:.1f}" width="{width - 8:.1f}" '
            f'height="{_IN_PLACE_ROW - 3:.1f}" rx="4" fill="{row_fill}" stroke="{row_stroke}" '
            'stroke-width="0.8"/>',
            _text(x, row_top + 11.5, _line(row), _SMALL, "#101828"),
        ]
    return "\n".join(parts)


def _edge(path: list[Point], rankdir: str) -> str:
    """A line through the points that leaves and arrives along the net's direction."""
    sideways = rankdir in ("LR", "RL")
    text = f"M{path[0][0]:.1f},{path[0][1]:.1f}"
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        if sideways:
            half = (x0 + x1) / 2
            text += f" C{half:.1f},{y0:.1f} {half:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
        else:
            half = (y0 + y1) / 2
            text += f" C{x0:.1f},{half:.1f} {x1:.1f},{half:.1f} {x1:.1f},{y1:.1f}"
    return (
        f'<path d="{text}" fill="none" stroke="#667085" stroke-width="1.3" '
        'marker-end="url(#arrow)"/>'
    )


def _label(text: str, path: list[Point]) -> str:
    """Beside the last part of an edge, on a white ground."""
    (x0, y0), (x1, y1) = path[-2], path[-1]
    x, y = (x0 + x1) / 2 + 5, (y0 + y1) / 2 + 4
    ground = (
        f'<rect x="{x - 2:.1f}" y="{y - 10:.1f}" width="{_text_width(text, _SMALL) + 2:.1f}" '
        'height="13" fill="white" fill-opacity="0.8"/>'
    )
    return f"{ground}\n{_text(x, y, text, _SMALL, '#475467', anchor='start')}"


def _subtitle(row: Row) -> str:
    return " ".join(part for part in (row.type, row.detail) if part)


def _line(row: Row) -> str:
    return f"{row.name}: {_subtitle(row)}"


def _text(
    x: float, y: float, text: str, size: int, fill: str, bold: bool = False, anchor: str = "middle"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"'
        f"{weight}>{escape(text)}</text>"
    )


def _text_width(text: str, size: int, bold: bool = False) -> float:
    """About as wide as Helvetica; fonts differ, and boxes have some room."""
    wide = sum(c in _WIDE for c in text)
    narrow = sum(c in _NARROW for c in text)
    ems = 0.9 * wide + 0.32 * narrow + 0.58 * (len(text) - wide - narrow)
    return ems * size * (1.06 if bold else 1.0)

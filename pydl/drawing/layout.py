"""Where the boxes of a graph go: in ranks, few crossings, straight edges (Sugiyama's method)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

DIRECTIONS = ("TB", "BT", "LR", "RL")
_GAP, _RANK_GAP, _BEND = 28.0, 44.0, 8.0  # between boxes, between ranks, width of a passing edge
_SWEEPS = 24
_STRAIGHT = 8.0  # how much more an edge over several ranks wants to be straight

Point = tuple[float, float]


@dataclass
class Layout:
    """Centres of the boxes, and of each edge the points it passes: start, bends, end."""

    width: float
    height: float
    centres: list[Point]
    paths: list[list[Point]]


@dataclass
class _Node:
    rank: int
    width: float  # across the ranks
    height: float
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0
    bend: bool = False  # where an edge passes a rank


def layout(sizes: Sequence[Point], edges: Sequence[tuple[int, int]], direction: str) -> Layout:
    """Places boxes of these sizes (width, height); edges lead from lower to higher numbers."""
    sideways = direction in ("LR", "RL")
    turned = [(h, w) for w, h in sizes] if sideways else list(sizes)
    nodes = [
        _Node(rank, *size) for rank, size in zip(_ranks(len(sizes), edges), turned, strict=True)
    ]
    chains = [_connect(nodes, *edge) for edge in edges]
    ranks = _order(nodes)
    _align(nodes, ranks)
    tops, height = _rank_positions(nodes, ranks)
    width = max(n.x + n.width / 2 for n in nodes)

    def turn(x: float, y: float) -> Point:
        y = height - y if direction in ("BT", "RL") else y
        return (y, x) if sideways else (x, y)

    def middle(i: int) -> float:
        top, bottom = tops[nodes[i].rank]
        return (top + bottom) / 2

    centres = [turn(nodes[i].x, middle(i)) for i in range(len(sizes))]
    paths = []
    for chain in chains:
        first, last = nodes[chain[0]], nodes[chain[-1]]
        points = [(first.x, middle(chain[0]) + first.height / 2)]
        for i in chain[1:-1]:
            points += [(nodes[i].x, y) for y in tops[nodes[i].rank]]
        points.append((last.x, middle(chain[-1]) - last.height / 2))
        paths.append([turn(*point) for point in points])
    return Layout(*((height, width) if sideways else (width, height)), centres, paths)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way from a source; sources go close to the first that reads them."""
    ranks = [0] * count
    for source, target in sorted(edges):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    targets = {target for _, target in edges}
    for i in range(count):
        readers = [ranks[target] for source, target in edges if source == i]
        if i not in targets and readers:
            ranks[i] = min(readers) - 1
    return ranks


def _connect(nodes: list[_Node], source: int, target: int) -> list[int]:
    """Adds the bends of an edge that passes ranks; the numbers of all nodes along it."""
    chain = [source]
    for rank in range(nodes[source].rank + 1, nodes[target].rank):
        nodes.append(_Node(rank, _BEND, 0.0, bend=True))
        chain.append(len(nodes) - 1)
    chain.append(target)
    for upper, lower in itertools.pairwise(chain):
        nodes[upper].below.append(lower)
        nodes[lower].above.append(upper)
    return chain


def _order(nodes: list[_Node]) -> list[list[int]]:
    """Each rank's nodes from left to right: sorted by their neighbours' mean, while that helps."""
    ranks: list[list[int]] = [[] for _ in range(max(n.rank for n in nodes) + 1)]
    for i, node in enumerate(nodes):
        ranks[node.rank].append(i)
    best, fewest = [list(rank) for rank in ranks], _crossings(nodes, ranks)
    for sweep in range(_SWEEPS):
        place = {i: p for rank in ranks for p, i in enumerate(rank)}
        down = sweep % 2 == 0
        for rank in ranks if down else reversed(ranks):

            def mean(i: int, down: bool = down, place: dict[int, int] = place) -> float:
                near = nodes[i].above if down else nodes[i].below
                return sum(place[n] for n in near) / len(near) if near else place[i]

            rank.sort(key=mean)
            place.update((i, p) for p, i in enumerate(rank))
        crossings = _crossings(nodes, ranks)
        if crossings < fewest:
            best, fewest = [list(rank) for rank in ranks], crossings
    return best


def _crossings(nodes: list[_Node], ranks: list[list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(ranks):
        place = {i: p for p, i in enumerate(lower)}
        ends = [place[j] for i in upper for j in sorted(nodes[i].below, key=place.__getitem__)]
        count += sum(a > b for i, b in enumerate(ends) for a in ends[:i])
    return count


def _align(nodes: list[_Node], ranks: list[list[int]]) -> None:
    """Moves each rank as near to its neighbours as its boxes' widths allow, up and down in turn."""
    for rank in ranks:
        _place(nodes, rank, [0.0] * len(rank), [1.0] * len(rank))
    for sweep in range(_SWEEPS):
        last = sweep >= _SWEEPS - 4
        for rank in ranks if sweep % 2 == 0 else reversed(ranks):
            wishes, weights = [], []
            for i in rank:
                near = nodes[i].above if sweep % 2 == 0 else nodes[i].below
                near = nodes[i].above + nodes[i].below if last or not near else near
                pulls = [_STRAIGHT if nodes[i].bend and nodes[n].bend else 1.0 for n in near]
                total = sum(pulls)
                wish = sum(p * nodes[n].x for p, n in zip(pulls, near, strict=True))
                wishes.append(wish / total if total else nodes[i].x)
                weights.append(total or 0.1)
            _place(nodes, rank, wishes, weights)
    left = min(n.x - n.width / 2 for n in nodes)
    for node in nodes:
        node.x -= left


def _place(nodes: list[_Node], rank: list[int], wishes: list[float], weights: list[float]) -> None:
    """Least squares of x - wish under the least distances: without these distances an isotonic
    regression, done by pooling neighbours that are out of order."""
    offset, offsets = 0.0, []
    for before, i in zip([None, *rank], rank, strict=False):
        if before is not None:
            gap = _BEND if nodes[before].bend and nodes[i].bend else _GAP
            offset += (nodes[before].width + nodes[i].width) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # (mean, weight, size)
    for wish, weight, shift in zip(wishes, weights, offsets, strict=True):
        mean, total, size = wish - shift, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_total, other_size = pools.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total, size = total + other_total, size + other_size
        pools.append((mean, total, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    for i, mean, shift in zip(rank, means, offsets, strict=True):
        nodes[i].x = mean + shift


def _rank_positions(
    nodes: list[_Node], ranks: list[list[int]]
) -> tuple[list[tuple[float, float]], float]:
    """(top, bottom) of each rank, and the height of all."""
    positions, y = [], 0.0
    for rank in ranks:
        height = max(nodes[i].height for i in rank)
        positions.append((y, y + height))
        y += height + _RANK_GAP
    return positions, y - _RANK_GAP

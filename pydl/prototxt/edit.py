"""Rewriting parsed trees: finding, renaming and adding fields; every part keeps its place."""

from __future__ import annotations

from collections.abc import Iterator

from pydl.prototxt.text import STRING, Field, Located, Node, Scalar


def single_values(node: Node) -> Iterator[Field]:
    """The node's fields, ``a: [1, 2]`` as ``a: 1 a: 2``."""
    for item in node.fields:
        if isinstance(item.value, list):
            yield from (field(value, item.name, value) for value in item.value)
        else:
            yield item


def field(place: Located, name: str, value: Scalar | Node) -> Field:
    """A field that stands where `place` does."""
    made = Field(place.source, place.offset, name)
    made.value = value
    return made


def named(node: Node, name: str) -> list[Field]:
    return [item for item in single_values(node) if item.name == name]


def take(node: Node, name: str) -> list[Field]:
    """Removes the fields of a name; returns them."""
    found = named(node, name)
    node.fields = [item for item in node.fields if item.name != name]
    return found


def message(item: Field) -> Node:
    """The message that a field holds. Raises Error if it holds another value."""
    if not isinstance(item.value, Node):
        item.fail(f"{item.name}: expected a message {{ ... }}, got {item.value}")
    return item.value


def text(item: Field) -> str:
    """The string that a field holds. Raises Error if it holds another value."""
    value = item.value
    if not isinstance(value, Scalar) or value.kind != STRING:
        shown = value if isinstance(value, Scalar) else "a message { ... }"
        item.fail(f"{item.name}: expected a quoted string, got {shown}")
    return value.value.decode(errors="replace")


def only_text(node: Node, name: str) -> str:
    """The string in a field that is given at most once; "" if it is not given."""
    found = named(node, name)
    if len(found) > 1:
        found[1].fail(f'"{name}" is given twice, first in line {found[0].line}')
    return text(found[0]) if found else ""


def quoted(place: Located, value: str) -> Scalar:
    return Scalar(place.source, place.offset, STRING, value.encode())


def inner(node: Node, name: str) -> Node:
    """The message in a field, which is added if there is none."""
    found = named(node, name)
    if found:
        return message(found[0])
    made = Node(node.source, node.offset)
    node.fields.append(field(node, name, made))
    return made


def move(item: Field, target: Node, name: str) -> None:
    """Adds a field to a message under another name, in place of what it has of that name."""
    take(target, name)
    target.fields.append(field(item, name, item.value))

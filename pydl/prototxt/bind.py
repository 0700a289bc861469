"""Checks a parsed tree against a schema and makes it a Message."""

from typing import Any

from pydl.prototxt import values
from pydl.prototxt.message import Message, Repeated
from pydl.prototxt.schema import FieldSchema, Schema
from pydl.prototxt.text import STRING, Field, Node, Scalar


def bind(node: Node, schema: Schema) -> Message:
    """The message that the tree describes.

    Raises Error ``file:line:column: ...`` for unknown fields (with the nearest name), values of
    the wrong type or out of range, and fields given twice that are not repeated.
    """
    return _bind(node, schema, schema.name)


def _bind(node: Node, schema: Schema, label: str) -> Message:
    schema = _variant(node, schema)
    message = Message(schema)
    message._source, message._offset = node.source, node.offset
    for item in node.fields:
        field = schema.fields.get(item.name)
        if field is None:
            item.fail(schema.refused.get(item.name) or schema.unknown(item.name, label))
        if field.repeated:
            _append(message, field, item)
        else:
            _set(message, field, item, label)
    return message


def _variant(node: Node, schema: Schema) -> Schema:
    """The schema for the message's type, wherever in the message that is given."""
    if schema.variants:
        for name, value in node.items():
            if name == "type" and isinstance(value, Scalar) and value.kind == STRING:
                return schema.variants.get(value.value.decode(errors="replace"), schema)
    return schema


def _append(message: Message, field: FieldSchema, item: Field) -> None:
    repeated = message._values.get(field.name)
    if repeated is None:
        repeated = Repeated(message, field)
        message._put(field.name, repeated, item.offset)
    given = item.value if isinstance(item.value, list) else (item.value,)
    repeated._items.extend(_value(field, value) for value in given)


def _set(message: Message, field: FieldSchema, item: Field, label: str) -> None:
    if field.name in message._values:
        first = message.Where(field.name).line
        item.fail(f'"{field.name}" is given twice in {label}, first in line {first}')
    if isinstance(item.value, list):
        item.fail(f"{field.name} takes one value, got a list")
    message._put(field.name, _value(field, item.value), item.offset)


def _value(field: FieldSchema, value: Scalar | Node) -> Any:
    if field.type == "message":
        if isinstance(value, Scalar):
            value.fail(f"{field.name}: expected a message {{ ... }}, got {value}")
        return _bind(value, field.message, field.name)
    if isinstance(value, Node):
        value.fail(f"{field.name}: expected a value, got a message {{ ... }}")
    try:
        return values.from_text(field, value)
    except ValueError as error:
        value.fail(f"{field.name}: {error}")

"""Checks a parsed tree against a schema and makes it a Message."""

from typing import Any

from pydl.prototxt import values
from pydl.prototxt.message import Message, new, repeated
from pydl.prototxt.names import nearest
from pydl.prototxt.schema import FieldSchema, Schema
from pydl.prototxt.text import STRING, Field, Node, Scalar, Source

_OWN_LAYERS = """
A layer type of another Caffe, or of your own, can be added:
  in C++     PYDL_REGISTER_LAYER("Type", Class, "...") in a library, then pydl.load_layers(library)
  in Python  type: "Python" python_param { module: "my_module" layer: "MyLayer" }, a class with
             setup, reshape, forward and backward (see docs/pycaffe.md)"""

# The name, which no text can give, of what a binary file held beside the fields of its message.
UNKNOWN = ""


def bind(node: Node, schema: Schema) -> Message:
    """The message that the tree describes.

    Raises Error ``file:line:column: ...`` for unknown fields (with the nearest name), values of
    the wrong type or out of range, and fields given twice that are not repeated.
    """
    return _bind(node, schema, schema.name)


def _bind(node: Node, schema: Schema, label: str) -> Message:
    schema = _variant(node, schema)
    _check_layer_type(node, schema)
    message = new(schema)
    message._source, message._offset = node.source, node.offset
    for item in node.fields:
        if item.name == UNKNOWN:
            message._unknown += item.value.value
            continue
        field = schema.fields.get(item.name)
        if field is None:
            item.fail(schema.unknown(item.name, label))
        if field.repeated:
            _append(message, field, item)
        else:
            _set(message, field, item, label)
    return message


def tree_of(message: Message) -> Node:
    """The tree that `bind` makes the message of; places are known of messages, not of fields."""
    source = message._source or Source(f"<{message._schema.name}>", "")
    return _tree(message, source, message._offset)


def _tree(message: Message, source: Source, offset: int) -> Node:
    node = Node(source, offset)
    for field, value in message.ListFields():
        for item in value if field.repeated else (value,):
            made = Field(source, offset, field.name)
            if field.type == "message":
                where = item._offset if item._source is source else offset
                made.value = _tree(item, source, where)
            else:
                made.value = values.to_scalar(field, item, source, offset)
            node.fields.append(made)
    if message._unknown:
        made = Field(source, offset, UNKNOWN)
        made.value = Scalar(source, offset, STRING, message._unknown)
        node.fields.append(made)
    return node


def _variant(node: Node, schema: Schema) -> Schema:
    """The schema for the message's type, wherever in the message that is given."""
    if schema.variants:
        for name, value in node.items():
            if name == "type" and isinstance(value, Scalar) and value.kind == STRING:
                return schema.variants.get(value.value.decode(errors="replace"), schema)
    return schema


def _check_layer_type(node: Node, schema: Schema) -> None:
    """Before all else of a layer: what an unknown type has beside its name is unknown as well."""
    field = schema.fields.get("type")
    if field is None or not field.choices:
        return
    texts = {n: v for n, v in node.items() if isinstance(v, Scalar) and v.kind == STRING}
    given = texts.get("type")
    kind = given.value.decode(errors="replace") if given else ""
    if given is None or kind in field.choices:
        return
    layer = f'layer "{texts["name"].value.decode(errors="replace")}": ' if "name" in texts else ""
    close = nearest(kind, field.choices)
    hint = f'did you mean "{close}"?' if close else "docs/layers.md lists those there are."
    given.fail(f'{layer}type: "{kind}" is not a known layer type; {hint}{_OWN_LAYERS}')


def _append(message: Message, field: FieldSchema, item: Field) -> None:
    values_of = message._values.get(field.name)
    if values_of is None:
        values_of = repeated(message, field)
        message._put(field.name, values_of, item.offset)
    given = item.value if isinstance(item.value, list) else (item.value,)
    values_of._items.extend(_value(field, value) for value in given)


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

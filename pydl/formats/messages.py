"""Messages of Caffe's binary files: the wire format to `pydl.prototxt` messages, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats import wire
from pydl.formats.wire import Chunk, Field, Span
from pydl.prototxt.message import Message, new
from pydl.prototxt.schema import FieldSchema, Schema

_BITS = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
_FLOATS = {"float": "<f4", "double": "<f8"}


def parse(data: bytes | memoryview, schema: Schema, source: str = "<bytes>") -> Message:
    """Reads a serialized message of a schema whose fields have numbers.

    >>> from pydl.prototxt import proto_file
    >>> parse(bytes([0x08, 0x02, 0x10, 0x03]), proto_file.get("Datum"))
    channels: 2
    height: 3
    <BLANKLINE>
    """
    message = new(schema)
    merge(Span(memoryview(data), source, f"a serialized {schema.name}"), message)
    return message


def merge(span: Span, message: Message, copy: bool = True) -> None:
    """Adds the fields of a serialized message to `message`, as protobuf does.

    What the schema does not know (another number, another wire type, a number that an enum lacks)
    is kept as it is. Without `copy`, bytes are views of the span.

    Raises:
        Error: malformed bytes.
    """
    by_number = message._schema.by_number
    floats: dict[str, list[np.ndarray]] = {}
    unknown = bytearray()
    for field, following in pairwise(chain(span.fields(), [None])):
        known = by_number.get(field.number)
        if known is not None and _is_float_run(known, field):
            floats.setdefault(known.name, []).append(field.array(known.name, _FLOATS[known.type]))
        elif known is None or not _take(known, field, message, copy):
            unknown += span.buffer[field.offset : following.offset if following else span.end]
    for name, parts in floats.items():
        getattr(message, name).extend(parts[0] if len(parts) == 1 else np.concatenate(parts))
    message._unknown += unknown
    message._touch()


def serialize(message: Message) -> bytes:
    """The message's wire form, fields in the order of their numbers, as protobuf writes it."""
    return b"".join(chunks(message))


def chunks(message: Message, above: int = 0, below: int = 1 << 29) -> list[Chunk]:
    """The message's wire form in pieces, for `wire.write`; or its fields of some numbers only."""
    parts: list[Chunk] = []
    for field, value in sorted(message.ListFields(), key=lambda item: item[0].number):
        if not above < field.number < below:
            continue
        if not field.repeated:
            parts += _field_chunks(field, value)
        elif field.type in _FLOATS:
            parts += _float_chunks(field, np.asarray(value))
        elif field.packed:
            parts += wire.nested(field.number, [wire.varint(int(item)) for item in value])
        else:
            for item in value:
                parts += _field_chunks(field, item)
    return [*parts, message._unknown] if message._unknown else parts


def known_fields(schema: Schema, data: Mapping[str, Any]) -> Message:
    """A message of what `data`, plain as of `Message.ToDict`, has in common with the schema."""
    message = new(schema)
    for name, value in data.items():
        field = schema.fields.get(name)
        if field is None:
            continue
        if not field.repeated and isinstance(value, list):
            if len(set(map(repr, value))) != 1:  # one value per axis, where Caffe has one for all
                continue
            value = value[0]
        if field.type == "message":
            items = value if field.repeated else [value]
            value = [known_fields(field.message, item) for item in items]
            value = value if field.repeated else value[0]
        with contextlib.suppress(Error):  # such as an enum's value that only pydl has
            setattr(message, name, value)
    return message


def missing(message: Message, path: str = "") -> list[str]:
    """Names of the required fields that are not set, ``clip_param.min``."""
    names = [
        path + field.name
        for field in message._schema.fields.values()
        if field.required and not message._is_set(field.name)
    ]
    for field, value in message.ListFields():
        if field.type == "message":
            for item in value if field.repeated else (value,):
                names += missing(item, f"{path}{field.name}.")
    return names


def _is_float_run(known: FieldSchema, field: Field) -> bool:
    if not known.repeated or known.type not in _FLOATS:
        return False
    fixed = wire.FIXED32 if known.type == "float" else wire.FIXED64
    return field.wire_type in (wire.BYTES, fixed)


def _take(known: FieldSchema, field: Field, message: Message, copy: bool) -> bool:
    """Puts a field into the message; False if its wire type or its value does not suit."""
    if known.type == "message":
        return _take_message(known, field, message, copy)
    found = _scalars(known, field, copy)
    if not found:
        return field.wire_type == wire.BYTES and known.repeated and not len(field.value)
    if known.repeated:
        getattr(message, known.name)._items.extend(found)
    else:
        message._put(known.name, found[-1])
    return True


def _take_message(known: FieldSchema, field: Field, message: Message, copy: bool) -> bool:
    if field.wire_type != wire.BYTES:
        return False
    inner = getattr(message, known.name)
    merge(field.value, inner.add() if known.repeated else inner, copy)
    return True


def _scalars(known: FieldSchema, field: Field, copy: bool) -> list[Any]:
    """The values of a field, several if it is a run of fixed size or packed; [] if none suits."""
    kind, wire_type = known.type, field.wire_type
    if kind in ("string", "bytes"):
        if wire_type != wire.BYTES:
            return []
        view = field.value.view()
        if kind == "string":
            return [bytes(view).decode("utf-8", "surrogateescape")]
        return [bytes(view) if copy else view]
    if kind in _FLOATS:
        fixed = wire.FIXED32 if kind == "float" else wire.FIXED64
        return field.array(known.name, _FLOATS[kind]).tolist() if wire_type == fixed else []
    if wire_type == wire.VARINT:
        raw = [field.value]
    elif wire_type == wire.BYTES and known.repeated:
        raw = field.value.varints(len(field.value), known.name)
    else:
        return []
    values = [_integer(kind, value) for value in raw]
    return [v for v in values if v in known.enum_names] if kind == "enum" else values


def _integer(kind: str, raw: int) -> int | bool:
    """A varint cut to the field's size, as protobuf does it."""
    if kind == "bool":
        return raw != 0
    bits = _BITS.get(kind, 32)
    value = raw & ((1 << bits) - 1)
    return value - (1 << bits) if kind[0] != "u" and value >> (bits - 1) else value


def _float_chunks(field: FieldSchema, array: np.ndarray) -> list[Chunk]:
    dtype = _FLOATS[field.type]
    if field.packed:
        return wire.packed(field.number, array, dtype)
    return [wire.unpacked(field.number, array, dtype)]


def _field_chunks(field: FieldSchema, value: Any) -> list[Chunk]:
    if field.type == "message":
        return wire.nested(field.number, chunks(value))
    if field.type == "string":
        return wire.nested(field.number, [value.encode("utf-8", "surrogateescape")])
    if field.type == "bytes":
        return wire.nested(field.number, [value])
    if field.type in _FLOATS:
        return [wire.unpacked(field.number, np.array([value]), _FLOATS[field.type])]
    return [wire.integer(field.number, value)]

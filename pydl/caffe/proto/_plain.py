"""Caffe's messages without the package ``protobuf``: pydl's own, with protobuf's methods."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pydl.errors import Error
from pydl.formats import messages
from pydl.formats.wire import Span
from pydl.prototxt import proto_file, text
from pydl.prototxt.bind import bind
from pydl.prototxt.message import Message
from pydl.prototxt.schema import Schema

ParseError = Error


class ProtoMessage(Message):
    """A message of caffe.proto. Enums are numbers; wrong values raise `pydl.Error`."""

    __slots__ = ()
    DESCRIPTOR: SimpleNamespace

    def __init__(self, **fields: Any):
        super().__init__(proto_file.get(self.DESCRIPTOR.name), **fields)

    @classmethod
    def FromString(cls, data: bytes) -> ProtoMessage:
        """A message from its wire form."""
        message = cls()
        message.MergeFromString(data)
        return message

    def ParseFromString(self, data: bytes) -> int:
        """Becomes what the bytes hold; returns how many were read."""
        self.Clear()
        return self.MergeFromString(data)

    def MergeFromString(self, data: bytes) -> int:
        """Adds what the bytes hold."""
        name = self.DESCRIPTOR.name
        messages.merge(Span(memoryview(data), f"a serialized {name}", f"a {name}"), self)
        return len(data)

    def SerializeToString(self, deterministic: bool | None = None) -> bytes:
        """The wire form. Raises Error if a required field is not set."""
        missing = messages.missing(self)
        if missing:
            name = self.DESCRIPTOR.name
            raise Error(f"{name} is missing required fields: {', '.join(missing)}")
        return self.SerializePartialToString()

    def SerializePartialToString(self, deterministic: bool | None = None) -> bytes:
        """The wire form, required fields or not."""
        return messages.serialize(self)

    def ByteSize(self) -> int:
        return len(self.SerializePartialToString())

    def IsInitialized(self) -> bool:
        """Whether all required fields are set."""
        return not messages.missing(self)

    def FindInitializationErrors(self) -> list[str]:
        return messages.missing(self)

    def __reduce__(self) -> tuple:
        return _restore, (self.DESCRIPTOR.name, self.SerializePartialToString())


class Enum:
    """An enum: ``PoolMethod.Value("MAX")``, ``PoolMethod.Name(0)``, ``PoolMethod.MAX``."""

    def __init__(self, name: str, values: Mapping[str, int]):
        self._values = dict(values)
        members = [SimpleNamespace(name=key, number=number) for key, number in values.items()]
        self.DESCRIPTOR = SimpleNamespace(
            name=name,
            values=members,
            values_by_name={member.name: member for member in members},
            values_by_number={member.number: member for member in members},
        )

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"{self.DESCRIPTOR.name} has no value {name!r}") from None

    def Name(self, number: int) -> str:
        """The name of a number; ValueError if there is none."""
        for name, value in self._values.items():
            if value == number:
                return name
        raise ValueError(f"{self.DESCRIPTOR.name} has no name for the value {number}")

    def Value(self, name: str) -> int:
        """The number of a name; ValueError if there is none."""
        if name not in self._values:
            raise ValueError(f"{self.DESCRIPTOR.name} has no value {name!r}")
        return self._values[name]

    def keys(self) -> list[str]:
        return list(self._values)

    def values(self) -> list[int]:
        return list(self._values.values())

    def items(self) -> list[tuple[str, int]]:
        return list(self._values.items())


def namespace(module: str) -> dict[str, Any]:
    """What the module of the messages holds, by name."""
    enums, definitions = proto_file.definitions()
    names: dict[str, Any] = {name: Enum(name, values) for name, values in enums.items()}
    for values in enums.values():
        names.update(values)
    for name, definition in definitions.items():
        names[name] = _message_class(proto_file.get(name), definition["enums"], module)
    return names


def _message_class(
    schema: Schema, enums: Mapping[str, Mapping[str, int]], module: str
) -> type[ProtoMessage]:
    wrapped = {name: Enum(name, values) for name, values in enums.items()}
    fields = list(schema.fields.values())
    members: dict[str, Any] = {
        "__slots__": (),
        "__module__": module,
        "__doc__": f"Caffe's {schema.name}.",
        "DESCRIPTOR": SimpleNamespace(
            name=schema.name,
            full_name=f"{proto_file.PACKAGE}.{schema.name}",
            fields=fields,
            fields_by_name=schema.fields,
            fields_by_number=schema.by_number,
            enum_types_by_name={name: enum.DESCRIPTOR for name, enum in wrapped.items()},
        ),
        **wrapped,
        **{f"{field.name.upper()}_FIELD_NUMBER": field.number for field in fields},
    }
    for values in enums.values():
        members.update(values)
    schema.make = type(schema.name, (ProtoMessage,), members)
    return schema.make


def _restore(name: str, data: bytes) -> ProtoMessage:
    message = proto_file.get(name).make()
    message.MergeFromString(data)
    return message


def MessageToString(message: Message) -> str:
    """The message as text."""
    return str(message)


def Parse(source: str | bytes, message: Message) -> Message:
    """Adds to the message what the text says; returns it. Raises ParseError, which is Error."""
    source = source.decode() if isinstance(source, bytes) else source
    message.MergeFrom(bind(text.parse(source), message._schema))
    return message


Merge = Parse

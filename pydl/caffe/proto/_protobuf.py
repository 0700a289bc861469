"""Caffe's messages as classes of the package ``protobuf``, made from `caffe.proto` at import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Merge, MessageToString, Parse, ParseError

from pydl.prototxt.proto_file import PACKAGE, definitions

__all__ = ["Merge", "MessageToString", "Parse", "ParseError", "namespace"]


def namespace(module: str) -> dict[str, Any]:
    """What the module of the messages holds, by name."""
    # A pool of its own: another package may have put its caffe.proto into the common one.
    pool = DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    enums, messages = definitions()
    names: dict[str, Any] = {"DESCRIPTOR": pool.FindFileByName("caffe.proto")}
    for name, values in enums.items():
        names[name] = EnumTypeWrapper(pool.FindEnumTypeByName(f"{PACKAGE}.{name}"))
        names.update(values)
    for name in messages:
        names[name] = GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        names[name].__module__ = module
    return names


def _file() -> FileDescriptorProto:
    enums, messages = definitions()
    file = FileDescriptorProto(name="caffe.proto", package=PACKAGE, syntax="proto2")
    for name, values in enums.items():
        _add_enum(file.enum_type, name, values)
    for name, definition in messages.items():
        message = file.message_type.add(name=name)
        for enum_name, values in definition["enums"].items():
            _add_enum(message.enum_type, enum_name, values)
        for field in definition["fields"]:
            _describe(message.field.add(), field)
    return file


def _add_enum(enums: Any, name: str, values: Mapping[str, int]) -> None:
    enum = enums.add(name=name)
    for value_name, number in values.items():
        enum.value.add(name=value_name, number=number)


def _describe(described: FieldDescriptorProto, field: Mapping[str, Any]) -> None:
    described.name, described.number = field["name"], field["number"]
    described.type = getattr(FieldDescriptorProto, f"TYPE_{field['type'].upper()}")
    described.label = getattr(FieldDescriptorProto, f"LABEL_{field['label'].upper()}")
    of = field.get("of") or field.get("message")
    if of:
        described.type_name = f".{PACKAGE}.{of}"
    default = field["default"]
    if default is not None:
        is_bool = isinstance(default, bool)
        described.default_value = str(default).lower() if is_bool else str(default)
    if field["packed"]:
        described.options.packed = True

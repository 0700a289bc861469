"""Caffe's own messages, with the numbers that its binary files use: `caffe.proto`, read at need.

What belongs to a layer in a *text* file is declared beside the layer and read by name; this is for
binary files and for programs that expect Caffe's message classes.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Any

from pydl.prototxt.schema import Schema, check_known

PACKAGE = "caffe"

_TOKEN = re.compile(r'//[^\n]*|\s+|(?P<token>"[^"]*"|[\w.+-]+|.)')
_SCALARS = ("int32", "int64", "uint32", "uint64", "float", "double", "bool", "string", "bytes")


@functools.cache
def definitions() -> tuple[dict[str, dict[str, int]], dict[str, dict[str, Any]]]:
    """The enums outside of messages, and the messages: name to plain data as `Schema` takes it.

    Beside ``fields`` a message has ``enums``; a field has ``number``, ``label``, ``packed`` and
    ``default`` (None if the file gives none), an enum's field ``of``, the enum's full name.
    """
    text = resources.files("pydl.prototxt").joinpath("caffe.proto").read_text()
    return _Reader(text).file()


@functools.cache
def get(name: str) -> Schema:
    """The schema of one of Caffe's messages. Raises Error if there is none of that name."""
    messages = definitions()[1]
    check_known(name, messages)
    return Schema(messages[name], get)


@functools.cache
def with_opaque_blobs(name: str) -> Schema:
    """As `get`, but with BlobProtos as bytes, so that weights pass through as they are."""
    message = definitions()[1][name]
    fields = [
        {**field, "type": "bytes"} if field.get("message") == "BlobProto" else field
        for field in message["fields"]
    ]
    return Schema({**message, "fields": fields}, with_opaque_blobs)


class _Reader:
    """Reads the part of the proto2 language that the file uses."""

    def __init__(self, text: str):
        found = (match.group("token") for match in _TOKEN.finditer(text))
        self._tokens = [token for token in found if token is not None]
        self._at = 0

    def file(self) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, Any]]]:
        self._skip('syntax = "proto2" ;', f"package {PACKAGE} ;")
        enums: dict[str, dict[str, int]] = {}
        messages: dict[str, dict[str, Any]] = {}
        while self._at < len(self._tokens):
            if self._next() == "enum":
                self._enum(enums)
            else:
                message = self._message()
                messages[message["name"]] = message
        for message in messages.values():
            for field in message["fields"]:
                _resolve(field, message, enums)
        return enums, messages

    def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"name": self._next(), "fields": [], "enums": {}}
        self._skip("{")
        while (token := self._next()) != "}":
            if token == "enum":
                self._enum(message["enums"])
            else:
                message["fields"].append(self._field(token))
        return message

    def _enum(self, enums: dict[str, dict[str, int]]) -> None:
        values = enums[self._next()] = {}
        self._skip("{")
        while (name := self._next()) != "}":
            self._skip("=")
            values[name] = int(self._next())
            self._skip(";")

    def _field(self, label: str) -> dict[str, Any]:
        type_name, name, _, number = (self._next() for _ in range(4))
        options = {}
        while (token := self._next()) != ";":
            if token in ("default", "packed"):
                self._skip("=")
                options[token] = self._next()
        return {
            "name": name,
            "type": type_name,
            "number": int(number),
            "label": label,
            "repeated": label == "repeated",
            "packed": "packed" in options,
            "default": options.get("default"),
        }

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, *statements: str) -> None:
        for token in " ".join(statements).split():
            if self._next() != token:
                raise ValueError(f"caffe.proto: {self._tokens[self._at - 1]} is not {token}")


def _resolve(field: dict[str, Any], message: dict[str, Any], enums: dict[str, Any]) -> None:
    """Says what a type's name means, which may stand further down, and reads the default."""
    kind, default = field["type"], field["default"]
    if kind in message["enums"]:
        field.update(type="enum", enum=message["enums"][kind], of=f"{message['name']}.{kind}")
    elif kind in enums:
        field.update(type="enum", enum=enums[kind], of=kind)
    elif kind not in _SCALARS:
        field.update(type="message", message=kind)
    elif default is not None:
        field["default"] = _scalar(kind, default)


def _scalar(kind: str, literal: str) -> Any:
    if kind == "bool":
        return literal == "true"
    if kind == "string":
        return literal.strip('"')
    return float(literal) if kind in ("float", "double") else int(literal)

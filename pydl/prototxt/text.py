"""Protobuf's text format without a schema: text to a tree with positions, and back.

What it accepts is what ``google.protobuf.text_format`` accepts, except for extension names and
``Any`` messages, which no Caffe file has.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, NoReturn

from pydl.errors import Error
from pydl.prototxt.literals import quote, unquote

MAX_DEPTH = 100

STRING, NUMBER, NAME, END = "string", "number", "name", "end of file"

_TOKEN = re.compile(
    r"""
    [\ \t\r\n\f\v]+ | \#[^\n]*
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>(?: 0[xX][0-9a-fA-F]+
                   | (?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+) (?:[eE][+-]?[0-9]+)? [fF]?
                 ) (?![A-Za-z0-9_.]))
    | (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*" | '[^'\\\n]*(?:\\.[^'\\\n]*)*')
    | (?P<symbol>[:{}<>\[\],;/-] | \.(?![0-9]))
    | (?P<bad>\.?[0-9][A-Za-z0-9_.]* | ["'][^\n]* | .)
    """,
    re.VERBOSE,
)
_SIGNED_NAMES = ("inf", "infinity", "nan")
_CLOSING = {"{": "}", "<": ">"}


class Location(NamedTuple):
    """Where something stands in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Source:
    """A text and its name; turns offsets into lines and columns."""

    def __init__(self, filename: str, text: str):
        self.filename = filename
        self.text = text
        self._starts: list[int] | None = None  # of the lines, found when first asked for

    def location(self, offset: int) -> Location:
        if self._starts is None:
            self._starts = [0, *(m.end() for m in re.finditer("\n", self.text))]
        line = bisect_right(self._starts, offset)
        return Location(self.filename, line, offset - self._starts[line - 1] + 1)

    def fail(self, offset: int, problem: str) -> NoReturn:
        raise Error(f"{self.location(offset)}: {problem}")


class Located:
    """A part of a source that knows where it begins."""

    __slots__ = ("offset", "source")

    def __init__(self, source: Source, offset: int):
        self.source = source
        self.offset = offset

    @property
    def file(self) -> str:
        return self.source.filename

    @property
    def line(self) -> int:
        return self.source.location(self.offset).line

    @property
    def column(self) -> int:
        return self.source.location(self.offset).column

    def fail(self, problem: str) -> NoReturn:
        """Raises Error ``file:line:column: problem``."""
        self.source.fail(self.offset, problem)


class Scalar(Located):
    """A value as written. `kind` is STRING (`value`: bytes), NUMBER or NAME (`value`: its text)."""

    __slots__ = ("kind", "value")

    def __init__(self, source: Source, offset: int, kind: str, value: str | bytes):
        super().__init__(source, offset)
        self.kind = kind
        self.value = value

    def __str__(self) -> str:
        return quote(self.value) if self.kind == STRING else self.value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scalar):
            return NotImplemented
        return self.kind == other.kind and self.value == other.value

    __hash__ = None


class Field(Located):
    """``name: value``; the value is a Scalar, a Node, or for ``[a, b]`` a list of those."""

    __slots__ = ("name", "value")

    def __init__(self, source: Source, offset: int, name: str):
        super().__init__(source, offset)
        self.name = name
        self.value: Scalar | Node | list[Scalar | Node] = []


class Node(Located):
    """A message: its fields in the order of the text; it begins where its field's name does.

    Two are equal if they print alike.
    """

    __slots__ = ("fields",)

    def __init__(self, source: Source, offset: int):
        super().__init__(source, offset)
        self.fields: list[Field] = []

    def items(self) -> Iterator[tuple[str, "Scalar | Node"]]:
        """Names and values, ``a: [1, 2]`` as ``a: 1 a: 2``."""
        for field in self.fields:
            for value in field.value if isinstance(field.value, list) else (field.value,):
                yield field.name, value

    def __str__(self) -> str:
        return "".join(render(self._printed()))

    def _printed(self) -> Iterator[tuple[str, "str | Iterable"]]:
        for name, value in self.items():
            yield name, value._printed() if isinstance(value, Node) else str(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return list(self.items()) == list(other.items())

    __hash__ = None


def render(fields: Iterable[tuple[str, "str | Iterable"]], indent: str = "") -> Iterator[str]:
    """Lines of text for (name, literal) and (name, fields of a message) pairs."""
    for name, value in fields:
        if isinstance(value, str):
            yield f"{indent}{name}: {value}\n"
        else:
            yield f"{indent}{name} {{\n"
            yield from render(value, indent + "  ")
            yield f"{indent}}}\n"


def parse(text: str, filename: str = "<string>") -> Node:
    """Parses any protobuf text, whatever its schema.

    Raises Error ``filename:line:column: ...`` for text that is not well formed.

    >>> tree = parse('layer { name: "conv1" pad: [1, 2] }')
    >>> tree.fields[0].value.fields[1].column
    23
    >>> print(tree, end="")
    layer {
      name: "conv1"
      pad: 1
      pad: 2
    }
    """
    return _Parser(Source(filename, text.removeprefix("\ufeff"))).parse()


class _Parser:
    def __init__(self, source: Source):
        self.source = source
        self.kinds: list[str] = []
        self.texts: list[str] = []
        self.offsets: list[int] = []
        self.at = 0

    def parse(self) -> Node:
        self._tokenize()
        root = Node(self.source, 0)
        self._fields(root, END, depth=0)
        return root

    def _tokenize(self) -> None:
        for match in _TOKEN.finditer(self.source.text):
            kind = match.lastgroup
            if kind is None:
                continue
            text = match.group()
            if kind == "bad":
                self._bad_token(match.start(), text)
            self.kinds.append(text if kind == "symbol" else kind)
            self.texts.append(text)
            self.offsets.append(match.start())
        self.kinds.append(END)
        self.texts.append(END)
        self.offsets.append(len(self.source.text))

    def _bad_token(self, offset: int, text: str) -> NoReturn:
        if text[0] in "\"'":
            self.source.fail(offset, f"this string has no closing {text[0]} on its line")
        if text[0].isdigit() or len(text) > 1:
            self.source.fail(offset, f'"{text}" is not a number')
        self.source.fail(offset, f"unexpected character {text!r}")

    def _fields(self, node: Node, closing: str, depth: int) -> None:
        """Fills the node up to and including its closing token."""
        while self.kinds[self.at] != closing:
            if self.kinds[self.at] != NAME:
                self._bad_field(node, closing)
            field = Field(self.source, self.offsets[self.at], self.texts[self.at])
            self.at += 1
            self._value_of(field, depth)
            node.fields.append(field)
            if self.kinds[self.at] in (",", ";"):
                self.at += 1
        self.at += 1

    def _bad_field(self, node: Node, closing: str) -> NoReturn:
        if self.kinds[self.at] == "[":
            self._fail("extension names in [brackets] are not supported")
        if closing == END:
            self._fail(f"expected a field name, got {self._found()}")
        line = self.source.location(node.offset).line
        self._fail(
            f'expected a field name or the "{closing}" that closes line {line}, got {self._found()}'
        )

    def _value_of(self, field: Field, depth: int) -> None:
        colon = self.kinds[self.at] == ":"
        self.at += colon
        kind = self.kinds[self.at]
        if kind in _CLOSING:
            field.value = self._message(depth, field.offset)
        elif kind == "[":
            field.value = self._list(field.name, depth, scalars=colon)
        elif colon:
            field.value = self._scalar(field.name)
        else:
            self._fail(f'expected ":" or "{{" after {field.name}, got {self._found()}')

    def _message(self, depth: int, offset: int) -> Node:
        if depth >= MAX_DEPTH:
            self._fail(f"messages nested more than {MAX_DEPTH} deep")
        node = Node(self.source, offset)
        closing = _CLOSING[self.kinds[self.at]]
        self.at += 1
        self._fields(node, closing, depth + 1)
        return node

    def _list(self, name: str, depth: int, scalars: bool) -> list[Scalar | Node]:
        values: list[Scalar | Node] = []
        self.at += 1
        while self.kinds[self.at] != "]":
            if self.kinds[self.at] in _CLOSING:
                values.append(self._message(depth, self.offsets[self.at]))
            elif scalars:
                values.append(self._scalar(name))
            else:
                self._fail(f'expected ":" between {name} and its list')
            if self.kinds[self.at] == ",":
                self.at += 1
                if self.kinds[self.at] == "]":
                    self._fail(f'expected a value after "," in the list of {name}, got "]"')
            elif self.kinds[self.at] != "]":
                self._fail(f'expected "," or "]" in the list of {name}, got {self._found()}')
        self.at += 1
        return values

    def _scalar(self, name: str) -> Scalar:
        kind, offset = self.kinds[self.at], self.offsets[self.at]
        if kind == STRING:
            return Scalar(self.source, offset, STRING, self._strings())
        sign = "-" if kind == "-" else ""
        self.at += kind == "-"
        kind, text = self.kinds[self.at], self.texts[self.at]
        allowed = kind == NUMBER or (kind == NAME and (not sign or text.lower() in _SIGNED_NAMES))
        if not allowed:
            wanted = f'a number after "-" in {name}' if sign else f"a value for {name}"
            self._fail(f"expected {wanted}, got {self._found()}")
        self.at += 1
        return Scalar(self.source, offset, kind, sign + text)

    def _strings(self) -> bytes:
        """Adjacent strings are one."""
        parts = []
        while self.kinds[self.at] == STRING:
            try:
                parts.append(unquote(self.texts[self.at]))
            except ValueError as error:
                self._fail(str(error))
            self.at += 1
        return b"".join(parts)

    def _found(self) -> str:
        kind, text = self.kinds[self.at], self.texts[self.at]
        return text if kind in (STRING, END) else f'"{text}"'

    def _fail(self, problem: str) -> NoReturn:
        self.source.fail(self.offsets[self.at], problem)

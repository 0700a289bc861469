"""Literals of protobuf's text format: strings with escapes, integers, floats."""

import math
import re
import struct

_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"  # a surrogate pair
    r"|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))",
    re.ASCII | re.DOTALL,
)
_SIMPLE = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    "'": b"'",
    '"': b'"',
    "?": b"?",
}
_QUOTED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
_OCTAL = re.compile(r"0[0-7]+", re.ASCII)
_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_HEX = re.compile(r"0[xX][0-9a-fA-F]+", re.ASCII)
_LONGEST_INTEGER = 40  # digits; any longer one is out of every range


def unquote(token: str) -> bytes:
    """The bytes of a quoted string. ValueError says which escape is bad."""
    body = token[1:-1]
    if "\\" not in body:
        return body.encode("utf-8", "surrogatepass")
    out, end = [], 0
    for match in _ESCAPE.finditer(body):
        out.append(body[end : match.start()].encode("utf-8", "surrogatepass"))
        out.append(_unescape(match))
        end = match.end()
    out.append(body[end:].encode("utf-8", "surrogatepass"))
    return b"".join(out)


def _unescape(match: re.Match) -> bytes:
    high, low, short, long, hexadecimal, octal, simple = match.groups()
    if high:
        code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
        return chr(code).encode()
    if short or long:
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError(f"{match.group()} is not a Unicode character")
        return chr(code).encode()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if octal:
        if int(octal, 8) > 255:
            raise ValueError(f"{match.group()} is larger than a byte (\\377)")
        return bytes([int(octal, 8)])
    if simple not in _SIMPLE:
        raise ValueError(f"unknown escape \\{simple}; write \\\\ for a backslash")
    return _SIMPLE[simple]


def quote(data: bytes) -> str:
    """A double-quoted literal that `unquote` turns back into the same bytes."""
    text = data.decode("utf-8", "surrogateescape")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_QUOTED.get(c) or _escape(c) for c in text) + '"'


def _escape(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def parse_int(text: str) -> int | None:
    """The value of a decimal, octal (017) or hexadecimal integer; None for anything else."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if len(digits) > _LONGEST_INTEGER:
        return sign * 10**_LONGEST_INTEGER if digits.isalnum() and digits.isascii() else None
    for pattern, base in ((_DECIMAL, 10), (_HEX, 16), (_OCTAL, 8)):
        if pattern.fullmatch(digits):
            return sign * int(digits, base)
    return None


def parse_float(text: str) -> float | None:
    """The value of a decimal number (a trailing f is allowed), inf or nan; None otherwise."""
    digits = text.removeprefix("-")
    if _HEX.fullmatch(digits) or _OCTAL.fullmatch(digits):
        return None
    if digits[-1:] in "fF" and digits.lower() != "inf":
        text = text[:-1]
    try:
        return float(text)
    except ValueError:
        return None


def to_float32(value: float, exact: bool = False) -> float:
    """The nearest float32, or the shortest decimal that is the same float32.

    Infinite where float32 overflows.

    >>> to_float32(0.10000000149011612), to_float32(0.1, exact=True)
    (0.1, 0.10000000149011612)
    """
    try:
        nearest = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    if exact or not math.isfinite(nearest):
        return nearest
    for digits in (6, 7, 8, 9):
        short = float(f"{nearest:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == nearest:
            return short
    return nearest


def format_float(value: float) -> str:
    """1 rather than 1.0, otherwise the shortest decimal with the same value."""
    return repr(float(value)).removesuffix(".0")

"""Scalar values of a field: from text, from Python, and to text.

All functions raise ValueError ``expected ..., got ...`` without a place; callers know where.
"""

import numbers
import operator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pydl.prototxt import literals
from pydl.prototxt.names import nearest
from pydl.prototxt.text import NAME, NUMBER, STRING, Scalar, Source

if TYPE_CHECKING:
    from pydl.prototxt.schema import FieldSchema

INTEGER_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_BOOLS = {"true": True, "True": True, "t": True, "1": True}
_BOOLS |= {"false": False, "False": False, "f": False, "0": False}


def zero(field: "FieldSchema") -> Any:
    """What an unset field without a declared default reads as."""
    if field.type == "enum":
        return _enum(field, next(iter(field.enum)))
    if field.type in ("float", "double"):
        return 0.0
    return {"bool": False, "string": "", "bytes": b""}.get(field.type, 0)


def from_text(field: "FieldSchema", scalar: Scalar) -> Any:
    """The value of a parsed scalar, checked against the field's type and range."""
    return _FROM_TEXT[field.type](field, scalar)


def from_python(field: "FieldSchema", value: Any) -> Any:
    """A Python or numpy scalar, checked; enums become their name, floats the nearest float32."""
    return _FROM_PYTHON[field.type](field, value)


def to_text(field: "FieldSchema", value: Any) -> str:
    """The literal that reads back as the value."""
    if field.type in ("string", "bytes"):
        is_text = isinstance(value, str)
        return literals.quote(value.encode("utf-8", "surrogateescape") if is_text else value)
    if field.type == "bool":
        return "true" if value else "false"
    if field.type in ("float", "double"):
        shortest = literals.to_float32(value) if field.type == "float" else value
        return literals.format_float(shortest)
    if field.type == "enum":
        return field.enum_names.get(value, str(value))
    return str(value)


def to_scalar(field: "FieldSchema", value: Any, source: Source, offset: int) -> Scalar:
    """The value as a parsed scalar at a place."""
    if field.type == "bytes":
        return Scalar(source, offset, STRING, value)
    if field.type == "string":
        return Scalar(source, offset, STRING, value.encode("utf-8", "surrogateescape"))
    kind = NAME if field.type in ("bool", "enum") else NUMBER
    return Scalar(source, offset, kind, to_text(field, value))


def _expected(what: str, got: Any) -> NoReturn:
    if isinstance(got, Scalar):
        got = got.value if got.kind == NUMBER else _quoted(got)
    elif isinstance(got, str):
        got = f'"{got}"'
    else:
        got = f"{got!r} ({type(got).__name__})"
    raise ValueError(f"expected {what}, got {got}")


def _quoted(scalar: Scalar) -> str:
    return str(scalar) if scalar.kind == STRING else f'"{scalar.value}"'


def _in_range(field: "FieldSchema", value: int) -> int:
    low, high = INTEGER_RANGES[field.type]
    if not low <= value <= high:
        shown = value if abs(value) < 10**30 else "a number of more than 30 digits"
        raise ValueError(f"{shown} is out of range for {field.type} ({low} to {high})")
    return value


def _integer_text(field: "FieldSchema", scalar: Scalar) -> int:
    value = literals.parse_int(scalar.value) if scalar.kind == NUMBER else None
    if value is None:
        _expected("an integer", scalar)
    return _in_range(field, value)


def _integer_python(field: "FieldSchema", value: Any) -> int:
    if isinstance(value, str | bytes) or _is_bool(value):
        _expected("an integer", value)
    try:
        return _in_range(field, operator.index(value))
    except TypeError:
        _expected("an integer", value)


def _float_text(field: "FieldSchema", scalar: Scalar) -> float:
    value = literals.parse_float(scalar.value) if scalar.kind != STRING else None
    if value is None:
        _expected("a decimal number", scalar)
    infinite = scalar.value.lower().lstrip("-").startswith("inf")
    return _rounded(field, value, scalar.value, infinite)


def _float_python(field: "FieldSchema", value: Any) -> float:
    if not isinstance(value, numbers.Real) or _is_bool(value):
        value = _unwrapped(value)
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"the integer is out of range for {field.type}") from None
    return _rounded(field, number, value, number in (float("inf"), float("-inf")))


def _unwrapped(value: Any) -> Any:
    """A 0-d array's scalar."""
    if getattr(value, "shape", None) == () and value.dtype.kind in "iuf":
        return value.item()
    _expected("a number", value)


def _rounded(field: "FieldSchema", value: float, shown: Any, infinite: bool) -> float:
    if field.type == "float":
        value = literals.to_float32(value, exact=field.number is not None)
    if not infinite and value in (float("inf"), float("-inf")):
        raise ValueError(f"{shown} is out of range for {field.type}")
    return value


def _bool_text(field: "FieldSchema", scalar: Scalar) -> bool:
    if scalar.kind == STRING or scalar.value not in _BOOLS:
        _expected("true or false", scalar)
    return _BOOLS[scalar.value]


def _bool_python(field: "FieldSchema", value: Any) -> bool:
    if not _is_bool(value) and not (isinstance(value, int) and value in (0, 1)):
        _expected("True or False", value)
    return bool(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _bytes_text(field: "FieldSchema", scalar: Scalar) -> bytes:
    if scalar.kind != STRING:
        raise ValueError(f'expected a quoted string, got {scalar.value}; write "{scalar.value}"')
    return scalar.value


def _bytes_python(field: "FieldSchema", value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        _expected("bytes", value)
    return bytes(value)


def _string_text(field: "FieldSchema", scalar: Scalar) -> str:
    return _string(field, _bytes_text(field, scalar))


def _string_python(field: "FieldSchema", value: Any) -> str:
    if not isinstance(value, str | bytes):
        _expected("a string", value)
    if isinstance(value, bytes):
        return _string(field, value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} cannot be written as UTF-8") from None
    return _choice(field, str(value))


def _string(field: "FieldSchema", data: bytes) -> str:
    try:
        return _choice(field, data.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{literals.quote(data)} is not UTF-8") from None


def _choice(field: "FieldSchema", value: str) -> str:
    if field.choices and value not in field.choices:
        raise ValueError(not_one_of(value, field.choices, "a known layer type"))
    return value


def _enum_text(field: "FieldSchema", scalar: Scalar) -> str | int:
    number = literals.parse_int(scalar.value) if scalar.kind == NUMBER else None
    if number in field.enum_names:
        return _enum(field, field.enum_names[number])
    if scalar.kind == NAME and scalar.value in field.enum:
        return _enum(field, scalar.value)
    if scalar.kind == STRING:
        name = scalar.value.decode(errors="replace")
        if name in field.enum:
            raise ValueError(f"expected a bare name, got {scalar}; write {name}")
        raise ValueError(not_one_of(name, field.enum))
    raise ValueError(not_one_of(scalar.value, field.enum))


def _enum(field: "FieldSchema", name: str) -> str | int:
    return str(name) if field.number is None else field.enum[name]


def _enum_python(field: "FieldSchema", value: Any) -> str | int:
    if isinstance(value, str):
        if value not in field.enum:
            raise ValueError(not_one_of(value, field.enum))
        return _enum(field, value)
    try:
        return _enum(field, field.enum_names[operator.index(value)])
    except (TypeError, KeyError):
        raise ValueError(not_one_of(repr(value), field.enum)) from None


def not_one_of(value: str, names: Any, what: str = "") -> str:
    """What to say about a name that is none of `names`, with the nearest of them."""
    close = nearest(value, names)
    listed = f"one of {', '.join(names)}"
    problem = f'"{value}" is not {what or listed}'
    if close:
        return f'{problem}; did you mean "{close}"?'
    return f"{problem}; it must be {listed}" if what else problem


_FROM_TEXT = {
    **dict.fromkeys(INTEGER_RANGES, _integer_text),
    **dict.fromkeys(("float", "double"), _float_text),
    "bool": _bool_text,
    "string": _string_text,
    "bytes": _bytes_text,
    "enum": _enum_text,
}
_FROM_PYTHON = {
    **dict.fromkeys(INTEGER_RANGES, _integer_python),
    **dict.fromkeys(("float", "double"), _float_python),
    "bool": _bool_python,
    "string": _string_python,
    "bytes": _bytes_python,
    "enum": _enum_python,
}

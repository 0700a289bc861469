"""Messages: read and edited by attribute, as users of Caffe's protobuf classes expect."""

from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.prototxt import values
from pydl.prototxt.schema import FieldSchema, Schema
from pydl.prototxt.schema import get as get_schema
from pydl.prototxt.text import Location, Source, render


class FieldError(Error, AttributeError):
    """A message has no field of that name."""


class Message:
    """A message with the fields of its schema as attributes.

    An unset scalar reads as its default, an unset message as an empty one that becomes part of
    this message at the first write, a repeated field as a list. Enums read as their names. Values
    are checked when set; Error says what was expected, FieldError (also an AttributeError) names
    the nearest field.

    >>> solver = Message("SolverParameter", base_lr=0.01)
    >>> solver.train_state.stage.append("finetune")
    >>> solver.max_iter
    0
    >>> print(solver, end="")
    base_lr: 0.01
    train_state {
      stage: "finetune"
    }
    """

    __slots__ = (
        "_offset",
        "_offsets",
        "_parent",
        "_present",
        "_schema",
        "_source",
        "_unknown",
        "_values",
    )

    def __init__(self, schema: Schema | str, /, **fields: Any):
        self._schema = get_schema(schema) if isinstance(schema, str) else schema
        self._values: dict[str, Any] = {}
        self._unknown = b""  # fields of a binary file that the schema lacks, as they stood there
        self._parent: Message | None = None  # only until this message is present in it
        self._present = True
        self._source: Source | None = None
        self._offset = 0
        self._offsets: dict[str, int] = {}
        for name, value in fields.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        field = self._field(name)
        value = self._values.get(name)
        if value is not None:
            return value
        if field.repeated:
            value = self._values[name] = repeated(self, field)
        elif field.type == "message":
            value = self._values[name] = new(field.message)
            value._parent, value._present = self, False
        else:
            value = field.default
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        field = self._field(name)
        if value is not None and value is self._values.get(name):
            return  # such as the last step of msg.repeated += [...]
        if field.repeated:
            new = repeated(self, field)
            new._items = new._checked(value)
        else:
            new = _checked_value(self, field, value)
        self._put(name, new)

    def _put(self, name: str, value: Any, offset: int | None = None) -> None:
        """Stores a checked value."""
        self._values[name] = value
        if offset is None:
            self._offsets.pop(name, None)
        else:
            self._offsets.setdefault(name, offset)
        if name == "type" and self._schema.variants:
            self._schema = self._schema.variants.get(value, self._schema)
        self._touch()

    def _touch(self) -> None:
        """Makes this message and those around it present."""
        message = self
        while message is not None and not message._present:
            message._present = True
            parent, message._parent = message._parent, None
            message = parent

    def _field(self, name: str) -> FieldSchema:
        try:
            return self._schema.fields[name]
        except KeyError:
            raise FieldError(self._schema.unknown(name, self._schema.name)) from None

    def HasField(self, name: str) -> bool:
        """Whether a scalar or message field is set."""
        if self._field(name).repeated:
            raise Error(f"{self._schema.name}.{name} is repeated: ask for its length instead")
        return self._is_set(name)

    def _is_set(self, name: str) -> bool:
        value = self._values.get(name)
        if isinstance(value, Message):
            return value._present
        return len(value) > 0 if isinstance(value, Repeated) else value is not None

    def ClearField(self, name: str) -> None:
        """Unsets a field; an object that was read from it before is no longer part of this."""
        self._field(name)
        self._offsets.pop(name, None)
        value = self._values.pop(name, None)
        if isinstance(value, Message):
            value._parent = None
        self._touch()

    def Clear(self) -> None:
        """Unsets all fields."""
        for name in list(self._values):
            self.ClearField(name)
        self._unknown = b""

    def SetInParent(self) -> None:
        """Makes this message present even if it has no fields."""
        self._touch()

    def CopyFrom(self, other: "Message") -> None:
        """Becomes a copy of a message of the same kind, its position in a file included."""
        if other is self:
            return
        self._check_same_kind(other)
        self.Clear()
        self._schema, self._source, self._offset = other._schema, other._source, other._offset
        self.MergeFrom(other)
        self._offsets = dict(other._offsets)

    def MergeFrom(self, other: "Message") -> None:
        """Takes over the scalars set in other, merges its messages, appends its lists."""
        self._check_same_kind(other)
        for field, value in other.ListFields():
            mine = getattr(self, field.name)
            if field.repeated:
                mine.extend(value)
            elif field.type == "message" and not mine._present:
                mine.CopyFrom(value)
            elif field.type == "message":
                mine.MergeFrom(value)
            else:
                self._put(field.name, value)
        self._unknown += other._unknown
        self._touch()

    def _check_same_kind(self, other: Any) -> None:
        if not isinstance(other, Message) or other._schema.name != self._schema.name:
            kind = other._schema.name if isinstance(other, Message) else type(other).__name__
            raise Error(f"expected a {self._schema.name}, got {kind}")

    def ListFields(self) -> list[tuple[FieldSchema, Any]]:
        """The fields that are set, with their values, in the order of the schema."""
        fields, stored = self._schema.fields, self._values
        return [(f, stored[n]) for n, f in fields.items() if n in stored and self._is_set(n)]

    def ToDict(self) -> dict[str, Any]:
        """The set fields as plain data: dicts, lists, numbers, strings."""
        return {field.name: _plain(value) for field, value in self.ListFields()}

    def Where(self, name: str | None = None) -> Location | None:
        """Where the message, or its field `name`, was read; None if it was made in Python."""
        offset = self._offset if name is None else self._offsets.get(self._field(name).name)
        return None if self._source is None or offset is None else self._source.location(offset)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        if self._schema.name != other._schema.name:
            return False
        mine, theirs = (
            {field.name: value for field, value in message.ListFields()}
            for message in (self, other)
        )
        return mine == theirs

    __hash__ = None

    def __str__(self) -> str:
        return "".join(render(self._printed()))

    __repr__ = __str__

    def _printed(self) -> Iterator[tuple[str, "str | Iterable"]]:
        for field, value in self.ListFields():
            for item in value if field.repeated else (value,):
                is_message = field.type == "message"
                yield field.name, item._printed() if is_message else values.to_text(field, item)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._schema.fields})

    def __copy__(self) -> "Message":
        copy = new(self._schema)
        copy.CopyFrom(self)
        return copy

    def __deepcopy__(self, memo: dict) -> "Message":
        return self.__copy__()


def new(schema: Schema, **fields: Any) -> Message:
    """An empty message of the class that the schema wants, with these fields."""
    message = schema.make() if schema.make else Message(schema)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


class Repeated(MutableSequence):
    """A repeated field: a list that checks what is put in. Messages are copied in."""

    __slots__ = ("_field", "_items", "_owner")

    def __init__(self, owner: Message, field: FieldSchema):
        self._owner = owner
        self._field = field
        self._items: list[Any] = []

    def _item(self, value: Any) -> Any:
        return _checked_value(self._owner, self._field, value)

    def _checked(self, items: Iterable[Any]) -> list[Any]:
        single = isinstance(items, str | bytes | Message | Mapping)
        if single or not hasattr(items, "__iter__"):
            shown = type(items).__name__ if isinstance(items, Message) else repr(items)
            raise Error(
                f"{self._owner._schema.name}.{self._field.name} is repeated: "
                f"expected a list of values, got {shown}"
            )
        return [self._item(value) for value in items]

    def add(self, **fields: Any) -> Message:
        """Appends a new message with these fields and returns it."""
        if self._field.type != "message":
            raise Error(f"{self._field.name} does not hold messages: use append")
        message = new(self._field.message, **fields)
        self._items.append(message)
        self._owner._touch()
        return message

    def insert(self, index: int, value: Any) -> None:
        self._items.insert(index, self._item(value))
        self._owner._touch()

    def extend(self, items: Iterable[Any]) -> None:
        self._items.extend(self._checked(items))
        self._owner._touch()

    MergeFrom = extend

    def sort(self, **how: Any) -> None:
        """Sorts in place, as list.sort does."""
        self._items.sort(**how)

    def __getitem__(self, index: int | slice) -> Any:
        return self._items[index]

    def __setitem__(self, index: int | slice, value: Any) -> None:
        is_slice = isinstance(index, slice)
        self._items[index] = self._checked(value) if is_slice else self._item(value)
        self._owner._touch()

    def __delitem__(self, index: int | slice) -> None:
        del self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return self._items + list(other)

    def __radd__(self, other: Iterable[Any]) -> list[Any]:
        return list(other) + self._items

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Repeated | list | tuple):
            return NotImplemented
        return self._items == list(other)

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self._items)


class Numbers(Repeated):
    """Repeated floats or doubles of a binary file: an array until they are changed one by one."""

    __slots__ = ("_array", "_list")

    @property
    def _items(self) -> list[float]:
        if self._array is not None:
            self._list, self._array = self._array.tolist(), None
        return self._list

    @_items.setter
    def _items(self, items: list[float]) -> None:
        self._list, self._array = items, None

    def extend(self, items: Iterable[float]) -> None:
        if isinstance(items, Numbers | np.ndarray | np.flatiter):
            self._array = np.concatenate([self, np.asarray(items, self._dtype).ravel()])
            self._owner._touch()
        else:
            super().extend(items)

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype("<f4" if self._field.type == "float" else "<f8")

    def __len__(self) -> int:
        return len(self._list if self._array is None else self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.array(self._list, self._dtype) if self._array is None else self._array
        return array.astype(dtype or array.dtype, copy=bool(copy))


def repeated(owner: Message, field: FieldSchema) -> Repeated:
    """An empty list for a repeated field."""
    is_array = field.number is not None and field.type in ("float", "double")
    return Numbers(owner, field) if is_array else Repeated(owner, field)


def _checked_value(owner: Message, field: FieldSchema, value: Any) -> Any:
    """What is stored for a value set in Python: a checked scalar or a copied message."""
    if field.type == "message":
        return _checked_message(owner, field, value)
    try:
        return values.from_python(field, value)
    except ValueError as error:
        raise Error(f"{owner._schema.name}.{field.name}: {error}") from None


def _checked_message(owner: Message, field: FieldSchema, value: Any) -> Message:
    if isinstance(value, Mapping):
        return new(field.message, **value)
    message = new(field.message)
    try:
        message.CopyFrom(value)
    except Error as error:
        raise Error(f"{owner._schema.name}.{field.name}: {error}") from None
    return message


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.ToDict()
    return [_plain(item) for item in value] if isinstance(value, Repeated) else value

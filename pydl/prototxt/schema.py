"""Which fields messages have, and of which types.

A schema starts as plain data::

    {"name": "ConvolutionParameter",
     "fields": [{"name": "num_output", "type": "uint32", "repeated": False, "default": None,
                 "help": "number of filters"}, ...]}

with type one of int32, int64, uint32, uint64, float, double, bool, string, bytes, enum (then
``"enum"`` maps names to numbers) and message (then ``"message"`` is a schema, or the name of a
message in `pydl.prototxt.definitions`). What belongs to a layer type comes from the core, where
each layer declares its parameters; all else is in `pydl.prototxt.definitions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydl.errors import Error
from pydl.prototxt import values
from pydl.prototxt.definitions import MESSAGES
from pydl.prototxt.forks import FOREIGN, with_fork_fields
from pydl.prototxt.names import nearest

if TYPE_CHECKING:
    from pydl.prototxt.message import Message

TYPES = (*values.INTEGER_RANGES, "float", "double", "bool", "string", "bytes", "enum", "message")


class FieldSchema:
    """One field: name, type, repeated, default, help; enum: names to numbers, or None.

    `ignored` fields are read, and then change nothing.

    `choices`, where not empty, are the only strings allowed. `number` is the field's in binary
    files; values of a field that has one are kept as protobuf's own classes keep them: enums as
    numbers, floats with a float32's exact value. `lookup` finds the schema of a message by name.
    """

    def __init__(self, data: Mapping[str, Any], lookup: Lookup | None = None):
        self.name: str = data["name"]
        self.type: str = data["type"]
        if self.type not in TYPES:
            raise Error(f'schema: {self.name} has the unknown type "{self.type}"')
        self.repeated = bool(data.get("repeated", False))
        self.help: str = data.get("help", "")
        self.enum: dict[str, int] | None = dict(data["enum"]) if self.type == "enum" else None
        self.enum_names = {number: name for name, number in reversed((self.enum or {}).items())}
        self.choices: tuple[str, ...] = tuple(data.get("choices", ()))
        self.number: int | None = data.get("number")
        self.packed = bool(data.get("packed", False))
        self.required = data.get("label") == "required"
        self.ignored = bool(data.get("ignored", False))
        self._lookup = lookup or get
        self._message: Schema | str | None = None
        self.default: Any = None
        if self.type == "message":
            message = data.get("message") or {"name": self.name, "fields": []}
            self._message = message if isinstance(message, str) else Schema(message)
        elif not self.repeated:
            default = data.get("default")
            self.default = self._scalar_default(data.get("absent") if default is None else default)

    def _scalar_default(self, default: Any) -> Any:
        if default is None:
            return values.zero(self)
        try:
            return values.from_python(self, default)
        except ValueError as error:
            raise Error(f"schema: default of {self.name}: {error}") from None

    @property
    def message(self) -> Schema:
        """The schema of a message field."""
        return self._lookup(self._message) if isinstance(self._message, str) else self._message


class Schema:
    """The fields of a message by name.

    `variants` maps values of the field ``type`` to the schema of messages of that type, where
    those differ. `make`, if not None, makes an empty message, which is else a plain `Message`.
    """

    def __init__(self, data: Mapping[str, Any], lookup: Lookup | None = None):
        self.name: str = data["name"]
        self.fields = {field["name"]: FieldSchema(field, lookup) for field in data["fields"]}
        self.by_number = {f.number: f for f in self.fields.values() if f.number is not None}
        self.variants: dict[str, Schema] = {}
        self.make: Callable[[], Message] | None = None

    def unknown(self, name: str, where: str) -> str:
        """What to say about a field that this message lacks."""
        problem = f'unknown field "{name}" in {where}'
        owners = [f.name for f in self.fields.values() if f.type == "message" and _has(f, name)]
        if owners:
            return f"{problem}; it belongs in {' or '.join(owners[:3])} {{ }}"
        if name in FOREIGN:
            return f"{problem}; it is of {FOREIGN[name]}, and pydl does not have it"
        close = nearest(name, self.fields)
        if close:
            return f'{problem}; did you mean "{close}"?'
        if not self.fields:
            return f"{problem}, which has no fields"
        if len(self.fields) <= 12:
            return f"{problem}; it has {', '.join(self.fields)}"
        return problem


Lookup = Callable[[str], Schema]


def _has(field: FieldSchema, name: str) -> bool:
    return name in field.message.fields


_declarations: dict[str, Any] | None = None  # None: not asked for yet
_injected = False
_schemas: dict[str, Schema] = {}


def use_declarations(declarations: Mapping[str, Any] | None) -> None:
    """Replaces the layer types of the core by these; None goes back to the core's.

    `declarations` is ``{type: {"doc": str, "params": {"some_param": schema}}}``.
    """
    global _declarations, _injected
    _declarations = dict(declarations) if declarations is not None else None
    _injected = declarations is not None
    _schemas.clear()


def refresh() -> None:
    """Asks the core again, so that layer types registered since are known."""
    if not _injected:
        use_declarations(None)


def declarations() -> dict[str, Any]:
    """What each layer type declares: ``{type: {"doc", "params"}}``.

    Raises Error if the compiled core is missing.
    """
    global _declarations
    if _declarations is None:
        try:
            from pydl import _core
        except ImportError as error:
            raise Error(
                f"the compiled core of pydl cannot be loaded ({error}), so the layer types are "
                "not known; install pydl again with: pip install pydl"
            ) from error
        _declarations = _core.layer_declarations()
    return _declarations


def get(name: str) -> Schema:
    """The schema of a message by name, such as ``"NetParameter"``. Raises Error if unknown."""
    if name not in _schemas:
        check_known(name, MESSAGES)
        _schemas[name] = _layer() if name == "LayerParameter" else Schema(MESSAGES[name])
    return _schemas[name]


def check_known(name: str, messages: Iterable[str]) -> None:
    """Raises Error, with the nearest name, if there is no such message."""
    if name not in messages:
        close = nearest(name, messages)
        hint = f'did you mean "{close}"?' if close else f"known: {', '.join(messages)}"
        raise Error(f'unknown message "{name}"; {hint}')


def _layer() -> Schema:
    """Any layer accepts the parameters of every type; its own type's declaration comes first."""
    known = declarations()
    union: dict[str, dict] = {}
    for layer in known.values():
        for param, message in layer["params"].items():
            union[param] = _merge(union[param], message) if param in union else message
    for param, message in union.items():
        union[param] = {**message, "fields": with_fork_fields(param, message["fields"])}
    base = Schema(_layer_data(known, union))
    variants = {}
    for type_name, layer in known.items():
        own = {param: _merge(message, union[param]) for param, message in layer["params"].items()}
        if any(_by_name(own[param]) != _by_name(union[param]) for param in own):
            variants[type_name] = Schema(_layer_data(known, {**union, **own}))
    if variants:
        variants = {type_name: variants.get(type_name, base) for type_name in known}
        for schema in (base, *variants.values()):
            schema.variants = variants
    return base


def _layer_data(types: Iterable[str], params: Mapping[str, dict]) -> dict[str, Any]:
    """As in Caffe, transform_param and loss_param come first, then the rest by name."""
    common = [
        {**field, "choices": tuple(types)} if field["name"] == "type" else field
        for field in MESSAGES["LayerParameter"]["fields"]
    ]
    first = ("transform_param", "loss_param")
    names = [n for n in first if n in params] + sorted(n for n in params if n not in first)
    return {
        "name": "LayerParameter",
        "fields": common
        + [
            {"name": n, "type": "message", "message": params[n], "help": f"of {params[n]['name']}"}
            for n in names
        ],
    }


def _merge(message: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`message` with those fields of `other` that it lacks."""
    names = _by_name(message)
    extra = [field for field in other["fields"] if field["name"] not in names]
    return {"name": message["name"], "fields": [*message["fields"], *extra]}


def _by_name(message: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: field for field in message["fields"]}

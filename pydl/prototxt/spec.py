"""Nets and solvers as the plain data that the core takes."""

from collections.abc import Iterable
from typing import Any

from pydl.errors import Error
from pydl.prototxt.definitions import MESSAGES, PHASES
from pydl.prototxt.intel import written_out
from pydl.prototxt.message import Message
from pydl.prototxt.names import nearest
from pydl.prototxt.native_python import native_layer
from pydl.prototxt.upgrade import upgrade_net, upgrade_solver

_LAYER_LISTS = ("bottom", "top", "loss_weight", "propagate_down", "param")
_COMMON = {field["name"] for field in MESSAGES["LayerParameter"]["fields"]}
# How a net computes; left to the core where a file does not say.
_KERNEL_FIELDS = ("precision", "arithmetic", "autotune", "deterministic")


def net_spec(
    message: Message,
    phase: str | int | None = None,
    level: int | None = None,
    stages: Iterable[str] = (),
) -> dict[str, Any]:
    """A NetParameter as plain data for the core, which applies the include and exclude rules.

    `phase` ("TRAIN", "TEST", or Caffe's 0 and 1) and `level` replace those of the file's ``state``
    where they are given; `stages` are added to it. Legacy fields are upgraded, such as ``input`` to
    an Input layer in front, Python layers that pydl has natively become those, and what Intel's
    Caffe lets a layer do besides becomes a layer. Only fields that are set appear under
    ``params``; enums are names.

    >>> net = Message("NetParameter", name="empty")
    >>> net_spec(net, phase="TRAIN", stages=["fast"])["stages"]
    ['fast']
    """
    _check_kind(message, "NetParameter")
    message = upgrade_net(message)
    if isinstance(stages, str):
        raise Error(f'stages: expected a list of names, got "{stages}"; write ["{stages}"]')
    state = Message("NetState")
    state.CopyFrom(message.state)
    if phase is not None:
        state.phase = _phase(phase)
    if level is not None:
        state.level = level
    state.stage.extend(stages)
    return {
        "name": message.name,
        "phase": state.phase,
        "level": state.level,
        "stages": list(dict.fromkeys(state.stage)),
        "force_backward": message.force_backward,
        "debug_info": message.debug_info,
        **{name: getattr(message, name) for name in _KERNEL_FIELDS if message.HasField(name)},
        "layers": [
            spec
            for layer in message.layer
            for spec in written_out(native_layer(_layer_spec(layer)), message.bn_stats_batch_size)
        ],
    }


def solver_spec(message: Message) -> dict[str, Any]:
    """The set fields of a SolverParameter as plain data, enums as names.

    The legacy enum ``solver_type`` becomes ``type``; nets inside are plain data of their messages.

    >>> solver_spec(Message("SolverParameter", solver_type="ADAGRAD"))
    {'type': 'AdaGrad'}
    """
    _check_kind(message, "SolverParameter")
    return upgrade_solver(message).ToDict()


def _check_kind(message: Any, kind: str) -> None:
    name = message._schema.name if isinstance(message, Message) else type(message).__name__
    if name != kind:
        raise Error(f"expected a {kind}, got {name}")


def _phase(phase: str | int) -> str:
    numbers = {number: name for name, number in PHASES.items()}
    name = numbers.get(phase, phase)
    if name not in PHASES:
        close = nearest(str(phase), PHASES)
        hint = f'; did you mean "{close}"?' if close else ""
        raise Error(f"phase: {phase!r} is not one of {', '.join(PHASES)}{hint}")
    return name


def _where(message: Message, field: str | None = None) -> str:
    location = message.Where(field)
    return f"{location}: " if location else ""


def _layer_spec(layer: Message) -> dict[str, Any]:
    if not layer.HasField("type"):
        raise Error(f'{_where(layer)}layer "{layer.name}" has no type')
    fields = _used(layer)
    location = layer.Where()
    spec: dict[str, Any] = {
        "name": layer.name,
        "type": layer.type,
        "where": f"{location.file}:{location.line}" if location else "",
        **{name: fields.get(name, []) for name in _LAYER_LISTS},
        "include": [_rule(rule) for rule in fields.get("include", ())],
        "exclude": [_rule(rule) for rule in fields.get("exclude", ())],
        "params": {name: value for name, value in fields.items() if name not in _COMMON},
    }
    for name in ("phase", "loss_weight_schedule"):
        if name in fields:
            spec[name] = fields[name]
    return spec


def _used(message: Message) -> dict[str, Any]:
    """The set fields as plain data, but for those that change nothing."""
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.ignored:
            continue
        if field.type == "message":
            out[field.name] = [_used(v) for v in value] if field.repeated else _used(value)
        else:
            out[field.name] = list(value) if field.repeated else value
    return out


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {"stage": [], "not_stage": [], **rule}

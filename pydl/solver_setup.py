"""What a solver is made of, from the many fields of a SolverParameter."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydl import _core, prototxt
from pydl.errors import Error
from pydl.prototxt.names import nearest
from pydl.test_scores import MeanPrecisions, Means

# Fields that only some types or policies use. Caffe passes over the others, so files have them.
_TYPES = {
    "momentum2": ("Adam", "AdamW"),
    "rms_decay": ("RMSProp",),
    "delta": ("AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW"),
}
_POLICIES = {
    "gamma": ("step", "exp", "inv", "multistep", "sigmoid", "plateau"),
    "plateau_winsize": ("plateau",),
    "stageiter": ("multifixed",),
    "stagelr": ("multifixed",),
    "power": ("inv", "poly"),
    "stepsize": ("step", "sigmoid"),
    "stepvalue": ("multistep",),
}


def solver_message(
    model: str | os.PathLike | prototxt.Message, overrides: Mapping[str, Any]
) -> prototxt.Message:
    """A SolverParameter of one's own, with the legacy ``solver_type`` turned into ``type``."""
    if isinstance(model, prototxt.Message):
        message = prototxt.new("SolverParameter")
        message.CopyFrom(model)
    else:
        message = prototxt.load_solver(model)
    for name, value in overrides.items():
        setattr(message, name, value)
    if message.HasField("solver_type"):
        message = prototxt.upgrade_solver(message)
    if message.average_loss < 1:
        raise Error(
            f"{where(message, 'average_loss')}average_loss must be at least 1, "
            f"got {message.average_loss}"
        )
    return message


def core_solver(param: prototxt.Message, net: _core.Net, mode: str) -> _core.Solver:
    """The core's solver; `mode` says which scores are better.

    Raises Error with file and line of the field that is wrong.
    """
    fields = set(_core.solver_fields())
    given = _in_one_spelling(prototxt.solver_spec(param))
    spec = {key: value for key, value in given.items() if key in fields}
    try:
        return _core.Solver({"base_lr": 0.0, **spec, "monitor_mode": mode}, net)
    except Error as error:
        named = [name for name in re.findall(r"[a-z]\w+", str(error)) if name in given]
        raise Error(f"{where(param, named[0] if named else None)}{error}") from None


def _in_one_spelling(given: dict[str, Any]) -> dict[str, Any]:
    """Intel's warm-up as NVIDIA's ramp: both rise to base_lr, pydl's own to the policy's rate."""
    if not given.get("warmup_iter"):
        return given
    spec = {**given, "rampup_interval": given["warmup_iter"]}
    if "warmup_start_lr" in spec:
        spec["rampup_lr"] = spec.pop("warmup_start_lr")
    return spec


def notes(param: prototxt.Message) -> list[str]:
    """What is allowed, as in Caffe, but hardly meant.

    >>> notes(prototxt.parse('type: "SGD" delta: 1e-4', "SolverParameter"))
    ['delta is not used by type "SGD"']
    """
    given = param.ToDict()
    found = [
        f'{name} is not used by {what} "{chosen}"'
        for what, chosen, users in (
            ("type", param.type, _TYPES),
            ("lr_policy", param.lr_policy or "fixed", _POLICIES),
        )
        for name in users
        if name in given and chosen not in users[name]
    ]
    found += [f"{f.name} is {f.help}" for f, _ in param.ListFields() if f.ignored]
    if param.type in ("AdaDelta", "Adam", "AdamW") and "momentum" not in given:
        usual = 0.95 if param.type == "AdaDelta" else 0.9
        found.append(f'momentum is not given, so it is 0; {usual} is usual for type "{param.type}"')
    return found


def test_scores(param: prototxt.Message) -> Means | MeanPrecisions:
    """What adds up a test net's outputs. Raises Error for an unknown ``eval_type``."""
    kinds = {
        "classification": Means,
        "detection": lambda: MeanPrecisions(param.ap_version, param.show_per_class_result),
    }
    if param.eval_type not in kinds:
        close = nearest(param.eval_type, kinds)
        hint = f'did you mean "{close}"?' if close else f"there are {', '.join(kinds)}"
        raise Error(f'{where(param, "eval_type")}unknown eval_type "{param.eval_type}"; {hint}')
    return kinds[param.eval_type]()


def net_specs(
    param: prototxt.Message, find: Callable[[str], str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The training net's spec and the test nets', from the many fields that may give them."""
    field, train_net = _train_net(param, find)
    train = _net_spec(train_net, "TRAIN", param.train_state)
    nets = [*param.test_net_param, *(prototxt.load_net(find(path)) for path in param.test_net)]
    if field in ("net", "net_param"):  # it serves as all further test nets
        nets += [train_net] * max(0, len(param.test_iter) - len(nets))
    _check_tests(param, len(nets))
    states = list(param.test_state) or [None] * len(nets)
    return train, [_net_spec(net, "TEST", s) for net, s in zip(nets, states, strict=True)]


def test_spec(param: prototxt.Message, find: Callable[[str], str]) -> dict[str, Any]:
    """The training net's spec in phase TEST."""
    return _net_spec(_train_net(param, find)[1], "TEST", None)


def _train_net(param: prototxt.Message, find: Callable[[str], str]) -> tuple[str, prototxt.Message]:
    """The field that gives the training net, and the net."""

    def load(path: str) -> prototxt.Message:
        return prototxt.load_net(find(path))

    sources = {
        "net": [load(param.net)] if param.net else [],
        "net_param": [param.net_param] if param.HasField("net_param") else [],
        "train_net": [load(param.train_net)] if param.train_net else [],
        "train_net_param": [param.train_net_param] if param.HasField("train_net_param") else [],
    }
    given = [name for name, nets in sources.items() if nets]
    if len(given) != 1:
        what = f"it gives {' and '.join(given)}" if given else "it gives none"
        raise Error(f"{where(param)}a solver needs one of {', '.join(sources)}; {what}")
    return given[0], sources[given[0]][0]


def _check_tests(param: prototxt.Message, nets: int) -> None:
    count = len(param.test_iter)
    if nets != count:
        raise Error(
            f"{where(param)}test_iter is given {count} times for {nets} test nets; "
            "give one for each"
        )
    if param.test_state and len(param.test_state) != count:
        raise Error(
            f"{where(param)}test_state is given {len(param.test_state)} times for {count} test nets"
        )
    if count and param.test_interval <= 0:
        raise Error(
            f"{where(param)}test_iter is given, so test_interval must be given and positive"
        )


def _net_spec(net: prototxt.Message, phase: str, given: prototxt.Message | None) -> dict[str, Any]:
    """As in Caffe, the net's own ``state`` counts more than `phase`, and the solver's most."""
    state = prototxt.new("NetState", phase=phase)
    state.MergeFrom(net.state)
    if given is not None:
        state.MergeFrom(given)
    stages = list(given.stage) if given is not None else []
    return prototxt.net_spec(net, phase=state.phase, level=state.level, stages=stages)


def seed_of(param: prototxt.Message) -> int:
    """``random_seed``, or one that nobody knows where it is negative."""
    seed = param.random_seed
    return seed if seed >= 0 else int.from_bytes(os.urandom(4), "little")


def find(path: str, file: Path | None) -> str:
    """A path that `file` gives: from the working directory, as in Caffe, or else beside the file;
    as it stands if it is in neither place."""
    if file is None or os.path.exists(path):
        return path
    beside = file.parent / path
    return str(beside) if beside.exists() else path


def where(message: prototxt.Message, field: str | None = None) -> str:
    """What a message about a field begins with: file, line and column, as far as they are known."""
    if field and (location := message.Where(field)):
        return f"{location}: "
    location = message.Where()
    return f"{location.file}: " if location else ""

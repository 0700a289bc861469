"""`.solverstate` files: Caffe's SolverState, with pydl's extra state beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from pydl.errors import Error
from pydl.formats import blobproto, hdf5, wire
from pydl.formats.atomic import atomic_write
from pydl.formats.files import is_hdf5, reading
from pydl.formats.wire import Field, Span

EXPECTED = "a .solverstate (Caffe's binary SolverState)"

_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP = 1, 2, 3, 4
# Not Caffe's, which skips it: JSON with what pydl needs besides to go on bit for bit.
_PYDL = 1701
_INT32_MAX = 2**31 - 1


class SolverState(TypedDict):
    """What a snapshot of a solver holds."""

    iter: int
    learned_net: str
    history: list[np.ndarray]
    current_step: int
    extra: dict[str, Any]


def load(path: str | os.PathLike) -> SolverState:
    """Read a `.solverstate` or `.solverstate.h5`, told apart by content.

    The history blobs are float32, in the order of the solver's parameters, and may be read-only
    views of the file; ``extra`` is {} in a file that Caffe wrote.

    Raises:
        Error: the file is missing, truncated, damaged, or something else.

    >>> import numpy as np
    >>> from pydl.formats import solverstate
    >>> history = [np.zeros((2, 3)), np.zeros(2)]
    >>> path = "net.solverstate"
    >>> solverstate.save(path, iter=100, learned_net="net_iter_100.caffemodel", history=history,
    ...                  extra={"seed": 1})
    >>> state = solverstate.load(path)
    >>> state["iter"], len(state["history"]), state["extra"]
    (100, 2, {'seed': 1})
    """
    if is_hdf5(path):
        return hdf5.load_solverstate(path)
    with reading(path, EXPECTED) as view:
        return parse(Span(view, os.fspath(path), EXPECTED))


def parse(span: Span) -> SolverState:
    """Read a serialized SolverState."""
    state = SolverState(iter=-1, learned_net="", history=[], current_step=0, extra={})
    found_iter = False
    for field in span.fields():
        if field.number == _ITER:
            state["iter"] = _parse_iter(field)
            found_iter = True
        elif field.number == _LEARNED_NET:
            state["learned_net"] = field.text("learned_net")
        elif field.number == _HISTORY:
            what = f"history {len(state['history'])}"
            state["history"].append(blobproto.parse(field.message(what), what))
        elif field.number == _CURRENT_STEP:
            state["current_step"] = field.integer("current_step")
        elif field.number == _PYDL:
            state["extra"] = _parse_extra(field)
    if not found_iter:
        raise span.error(span.end, "no iter (truncated?)")
    return state


def save(
    path: str | os.PathLike,
    *,
    iter: int,
    learned_net: str,
    history: Sequence[np.ndarray],
    current_step: int = 0,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a solver's state, atomically: HDF5 if ``path`` ends in `.h5`, else protobuf.

    Args:
        iter: iterations done.
        learned_net: path of the weight file saved with it.
        history: the solver's buffers, in the order of its parameters.
        current_step: steps of the `multistep` policy already taken.
        extra: anything JSON; Caffe ignores it.

    Raises:
        Error: a value cannot be stored, or the file cannot be written.
    """
    for name, value in (("iter", iter), ("current_step", current_step)):
        if not 0 <= value <= _INT32_MAX:
            raise Error(f"{os.fspath(path)}: {name} {value} is not in 0..{_INT32_MAX}")
    for i, blob in enumerate(history):
        blobproto.check(blob, f"{os.fspath(path)}: history {i}")
    try:
        note = json.dumps(extra or {}).encode()
    except (TypeError, ValueError) as error:
        raise Error(f"{os.fspath(path)}: extra state is not JSON: {error}") from error
    state = SolverState(
        iter=iter,
        learned_net=learned_net,
        history=list(history),
        current_step=current_step,
        extra=extra or {},
    )
    if os.fspath(path).endswith(".h5"):
        hdf5.save_solverstate(path, state)
        return
    # iter, which no state can lack, comes last: a file cut short anywhere does not read as whole.
    with atomic_write(path) as file:
        wire.write(file, [*wire.nested(_PYDL, [note]), wire.text(_LEARNED_NET, learned_net)])
        wire.write(file, [wire.integer(_CURRENT_STEP, current_step)])
        for blob in history:
            wire.write(file, wire.nested(_HISTORY, blobproto.chunks(blob)))
        wire.write(file, [wire.integer(_ITER, iter)])


def _parse_iter(field: Field) -> int:
    if field.wire_type == wire.BYTES:
        raise field.error("begins with text or a message, as a .caffemodel does")
    value = field.integer("iter")
    if value < 0:
        raise field.error(f"iter is {value}")
    return value


def _parse_extra(field: Field) -> dict[str, Any]:
    try:
        extra = json.loads(bytes(field.message("pydl's state").view()))
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise field.error("pydl's state is not the JSON it should be")
    return extra

"""Snapshots: everything a run needs to go on as if it had not stopped.

The weights go into a ``.caffemodel``, the rest into a ``.solverstate`` that names it, both in
Caffe's formats (binary or HDF5). What Caffe does not keep (the seed, counters of random draws, the
place in the data) is in a field of the state that Caffe ignores. Files appear only when complete,
the state last, so that a run cut off at any moment leaves the older snapshot loadable.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydl import formats
from pydl.errors import Error
from pydl.formats import solverstate
from pydl.weights import layer_weights, load_weights

if TYPE_CHECKING:
    from pydl.solver import Solver


def save(solver: Solver, model: Path, state: Path) -> Path:
    """Writes both files; returns the path of the state."""
    core = solver._core
    model.parent.mkdir(parents=True, exist_ok=True)
    formats.save_weights(model, solver.net.name, layer_weights(solver.net._core))
    solverstate.save(
        state,
        iter=core.iter,
        learned_net=str(model),
        history=core.history(),
        current_step=core.current_step,
        extra={**_extra(solver), "weights_crc32": _crc32(model)},
    )
    return state


def restore(solver: Solver, path: Path) -> None:
    """Reads a snapshot of pydl's or Caffe's into a solver.

    Raises Error if it does not fit; nothing has changed then.
    """
    _refuse_weights(path)
    content = solverstate.load(path)
    core = solver._core
    before = core.history()
    core.set_history(content["history"])
    try:
        if content["learned_net"]:
            model = _find_model(content["learned_net"], path)
            _check_pair(path, model, content["extra"])
            load_weights(solver.net._core, model)
    except BaseException:
        core.set_history(before)
        raise
    core.iter = content["iter"]
    core.current_step = content["current_step"]
    _restore_extra(solver, content["extra"])


def _extra(solver: Solver) -> dict[str, Any]:
    nets = [solver.net, *solver.test_nets]
    return {"seed": solver.seed, "layers": [net._core.layer_state() for net in nets]}


def _restore_extra(solver: Solver, extra: dict[str, Any]) -> None:
    if not extra:  # a snapshot of Caffe's
        return
    solver.seed = extra["seed"]
    nets = [solver.net, *solver.test_nets]
    for net, state in zip(nets, extra["layers"], strict=False):
        net._core.seed = solver.seed
        net._core.set_layer_state(state)


def _find_model(name: str, state: Path) -> Path:
    """The weights named in a state: as written there, or beside the state if it was moved."""
    beside = state.parent / Path(name).name
    for path in (Path(name), beside):
        if path.exists():
            return path
    raise Error(f"{state}: its weights {name} are missing, also beside it ({beside})")


def _crc32(path: Path) -> int:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return zlib.crc32(data)


def _check_pair(state: Path, model: Path, extra: dict[str, Any]) -> None:
    """A run over the same names that was cut off may have left its weights with an older state."""
    if "weights_crc32" in extra and _crc32(model) != extra["weights_crc32"]:
        raise Error(
            f"{state}: {model} is not the file saved with it: another run has written it since. "
            "Resume from another snapshot, or start from the weights alone (-weights)"
        )


def _refuse_weights(path: Path) -> None:
    if ".caffemodel" in path.name:
        raise Error(
            f"{path}: these are weights, not a solver state: resume from the .solverstate beside "
            "it, or start from the weights alone (-weights)"
        )

"""Snapshots: everything a run needs to go on as if it had not stopped.

The weights go into a ``.caffemodel``, the rest into a ``.solverstate`` that names it, both in
Caffe's formats (binary or HDF5). What Caffe does not keep (the seed, counters of random draws, the
place in the data, the scores seen) is in a field of the state that Caffe ignores. With `ema_decay`
the average of the weights is a third file, `<prefix>_iter_<n>_ema.caffemodel`. Files appear only
when complete, the state last, so that a run cut off at any moment leaves the older snapshot
loadable.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydl import formats
from pydl.errors import Error
from pydl.formats import solverstate
from pydl.weights import find_weights, layer_weights, put_weights

if TYPE_CHECKING:
    from pydl import _core
    from pydl.solver import Solver
    from pydl.weights import Found


def save(solver: Solver, model: Path, state: Path) -> Path:
    """Writes the files; returns the path of the state."""
    core, net = solver._core, solver.net
    model.parent.mkdir(parents=True, exist_ok=True)
    layers = layer_weights(net._core, diffs=solver.param.snapshot_diff)
    formats.save_weights(model, net.name, layers)
    extra = {**_extra(solver), "weights_crc32": _crc32(model)}
    if core.has_average:
        average = Path(str(model).replace(".caffemodel", "_ema.caffemodel"))
        with solver.averaged_weights():
            formats.save_weights(average, net.name, layer_weights(net._core))
        extra |= {"average": str(average), "average_crc32": _crc32(average)}
    solverstate.save(
        state,
        iter=core.iter,
        learned_net=str(model),
        history=core.history(),
        current_step=core.current_step,
        extra=extra,
    )
    return state


def restore(solver: Solver, path: Path) -> None:
    """Reads a snapshot of pydl's or Caffe's into a solver.

    Raises Error if it does not fit; nothing has changed then.
    """
    _refuse_weights(path)
    content = solverstate.load(path)
    core, net, extra = solver._core, solver.net._core, content["extra"]
    before = core.history()
    core.set_history(content["history"])
    try:
        weights = _weights(net, content["learned_net"], path, extra.get("weights_crc32"))
        averaged = solver.param.ema_decay > 0 and "average" in extra
        average = averaged and _weights(net, extra["average"], path, extra.get("average_crc32"))
    except BaseException:
        core.set_history(before)
        raise
    core.forget_average()
    if average:
        put_weights(net, average)
        core.set_average()
    put_weights(net, weights)
    core.iter = content["iter"]
    core.current_step = content["current_step"]
    _restore_extra(solver, extra)


def _weights(net: _core.Net, name: str, state: Path, crc32: int | None) -> Found:
    """Of the file that a state names, if it names one."""
    if not name:
        return []
    model = _find_model(name, state)
    _check_pair(state, model, crc32)
    return find_weights(net, model)


def _extra(solver: Solver) -> dict[str, Any]:
    nets = [solver.net, *solver.test_nets]
    return {
        "seed": solver.seed,
        "layers": [net._core.layer_state() for net in nets],
        "watch": solver._core.watch,
        "train_loss": [solver.monitor.total, solver.monitor.count],
    }


def _restore_extra(solver: Solver, extra: dict[str, Any]) -> None:
    solver._core.watch = extra.get("watch", {})
    solver.monitor.total, solver.monitor.count = extra.get("train_loss", (0.0, 0))
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


def _check_pair(state: Path, model: Path, crc32: int | None) -> None:
    """A run over the same names that was cut off may have left its weights with an older state."""
    if crc32 is not None and _crc32(model) != crc32:
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

"""``pydl train``: trains the net of a solver."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from pydl.cli import flags
from pydl.cli.signals import EFFECTS, signals
from pydl.errors import Error

_EPILOG = """examples:
  pydl train -solver examples/mnist/lenet_solver.prototxt
  pydl train -solver lenet_solver.prototxt -snapshot lenet_iter_500.solverstate
  pydl train -solver finetune_solver.prototxt -weights caffenet.caffemodel
  pydl train -solver gan_solver.prototxt          two nets against each other
  pydl train -solver dbn_solver.prototxt          a stack of RBMs, one by one

Beside the snapshots PREFIX_iter_N.caffemodel and .solverstate the run leaves PREFIX.log (Caffe's
lines), PREFIX_log.jsonl (the same as JSON lines) and PREFIX_curve.png. A new run replaces them, a
run resumed with -snapshot goes on in them. PREFIX is the solver's snapshot_prefix.

Ctrl-C finishes the iteration, writes a snapshot and ends the run; see -sigint_effect.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``train`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "train", "Trains or fine-tunes a net, or goes on from a snapshot.", _EPILOG
    )
    parser.set_defaults(run=run, parser=parser)
    add = parser.add_argument
    add("--solver", metavar="FILE", help="the solver prototxt")
    add("--snapshot", metavar="FILE", help="go on from this .solverstate")
    flags.add_net_flags(parser)
    add("--iterations", type=flags.positive, metavar="N", help="train to iteration N (max_iter)")
    for name, default in (("sigint", "stop"), ("sighup", "snapshot")):
        add(
            f"--{name}_effect",
            choices=EFFECTS,
            default=default,
            help=f"what {name.upper()} does: stop (with a snapshot), snapshot or none ({default})",
        )
    add(
        "--keep",
        choices=("all", "outputs"),
        default="all",
        help="blobs to keep in memory; outputs alone takes far less, to the same result (all)",
    )
    add(
        "--stop_on_nan",
        type=flags.boolean,
        nargs="?",
        const=True,
        default=True,
        metavar="true|false",
        help="stop when the loss is NaN or infinite (true)",
    )
    flags.add_run_flags(parser)
    add("--log", metavar="FILE", help="Caffe's log lines go here, or nowhere: none (PREFIX.log)")
    add("--plot", metavar="FILE", help="the curve, or none (PREFIX_curve.png)")
    add("--quiet", action="store_true", help="show nothing but the result")
    add("--progress", choices=("auto", "on", "off"), default="auto", help="a progress bar (auto)")
    add("--phase", type=flags.phase, help=argparse.SUPPRESS)  # Caffe's; training is TRAIN
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl train``; returns the exit status, raises pydl.Error for bad input."""
    if not args.solver:
        args.parser.print_help()
        raise Error("train: Need a solver definition to train: -solver FILE")
    flags.apply_run_flags(args)
    if args.snapshot and args.weights:
        raise Error(
            "-snapshot and -weights are both given: give a snapshot to go on with a run, or "
            "weights to start a new one from, but not both"
        )
    if args.snapshot:
        _check_is_state(args.snapshot)
    for solver in _solvers(args):
        files = _Files(args, solver.snapshot_prefix)
        with (
            _reports(args, solver, files) as curve,
            signals(solver, args.sigint_effect, args.sighup_effect),
        ):
            solver.solve()
        _print_result(args, solver, files, curve)
    return 0


def _solvers(args: argparse.Namespace) -> Iterable:
    """To run one after another: one for each RBM of a DBN, else one."""
    from pydl import prototxt

    if not prototxt.is_dbn_solver(args.solver):
        return [_make_solver(args)]
    from pydl.dbn import DBN

    for flag in ("weights", "level", "stage", "iterations", "allow_python"):
        if getattr(args, flag):
            raise Error(
                f"{args.solver} is a DBN's solver: -{flag} is not for it; its net and the solvers "
                "of its RBMs say all"
            )
    return DBN.load(args.solver).stages(args.snapshot)


def _check_is_state(path: str) -> None:
    """Says what to do with the weights of a snapshot, which are only half of it."""
    weights = path.removesuffix(".h5")
    if not weights.endswith(".caffemodel"):
        return
    stem = weights.removesuffix(".caffemodel")
    states = [p for p in (f"{stem}.solverstate", f"{stem}.solverstate.h5") if Path(p).exists()]
    goes_on = f"-snapshot {states[0]}" if states else "-snapshot with the .solverstate beside it"
    raise Error(
        f"{path}: holds weights, not the state of a run; to go on with the run give {goes_on}; to "
        f"start a new run from these weights give -weights {path}"
    )


def _make_solver(args: argparse.Namespace):
    from pydl import prototxt
    from pydl.solver import Solver

    if prototxt.is_gan_solver(args.solver):
        return _make_gan(args)
    message = prototxt.load_solver(args.solver)
    if args.iterations:
        message.max_iter = args.iterations
    if args.level:
        message.train_state.level = args.level
    if args.stage:
        message.train_state.stage.extend(args.stage)
    if args.snapshot or args.weights:
        message.weights = [",".join(args.weights)] if args.weights else []
    solver = Solver(
        message,
        keep=args.keep,
        stop_on_nan=args.stop_on_nan,
        allow_python=flags.allow_python(args),
    )
    if args.snapshot:
        solver.restore(args.snapshot)
    return solver


def _make_gan(args: argparse.Namespace):
    from pydl.gan import GanSolver

    for flag in ("weights", "level", "stage", "allow_python"):
        if getattr(args, flag):
            raise Error(
                f"{args.solver} is a GAN's solver: -{flag} is not for it; give weights and states "
                "in the solvers of its two sides"
            )
    limit = {"max_iter": args.iterations} if args.iterations else {}
    gan = GanSolver(args.solver, **limit)
    if args.snapshot:
        gan.restore(args.snapshot)
    return gan


class _Files:
    """Where the run's log, JSON log and curve go; None for what is not wanted."""

    def __init__(self, args: argparse.Namespace, prefix: str) -> None:
        self.log = _choose(args.log, f"{prefix}.log")
        self.json = Path(f"{prefix}_log.jsonl")
        self.curve = _choose(args.plot, f"{prefix}_curve.png")


def _choose(given: str | None, usual: str) -> Path | None:
    return None if given == "none" else Path(given or usual)


@contextlib.contextmanager
def _reports(args: argparse.Namespace, solver, files: _Files):
    """Within the block the solver reports to files and the terminal; gives the Curve or None."""
    from pydl.gan import GanLog, GanSolver
    from pydl.reporting import CaffeLog, Curve, JsonLog, Progress, log_to_file, log_to_stream

    resumed = args.snapshot is not None
    bar = not args.quiet and _wants_bar(args.progress)
    curve = Curve(files.curve, files.json) if files.curve else None
    with contextlib.ExitStack() as stack:
        if files.log:
            stack.enter_context(log_to_file(files.log, append=resumed))
        if not bar and not args.quiet:
            stack.enter_context(log_to_stream(sys.stderr))
        json_log = stack.enter_context(contextlib.closing(JsonLog(files.json, append=resumed)))
        log = GanLog() if isinstance(solver, GanSolver) else CaffeLog()
        solver.listeners += [log, json_log]
        solver.listeners += [Progress()] if bar else []
        solver.listeners += [curve] if curve else []
        if bar:
            _print_heading(solver)
        yield curve


def _wants_bar(choice: str) -> bool:
    if choice != "auto":
        return choice == "on"
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _print_heading(solver) -> None:
    import pydl
    from pydl import _core

    counts = [
        f"{net.name}: {sum(blob.count for blobs in net.params.values() for blob in blobs):,}"
        for net in solver.trained_nets
    ]
    where = f"{pydl.num_threads()} threads, {_core.kernels.isa()}"
    print(f"Training {', '.join(counts)} parameters; {where}", file=sys.stderr)


def _print_result(args: argparse.Namespace, solver, files: _Files, curve) -> None:
    from pydl.reporting.numbers import brief

    stopped = solver.iter < solver.max_iter
    if stopped:
        why = ", since no test gave a better score" if solver.stopped_early else ""
        print(f"Stopped at iteration {solver.iter} of {solver.max_iter}{why}")
    tests = solver.history["test"]
    for iteration, index, scores in tests[-len(solver.test_nets) :] if solver.test_nets else []:
        when = "Final test" if iteration == solver.max_iter else f"Test at iteration {iteration}"
        which = f" (net #{index})" if len(solver.test_nets) > 1 else ""
        print(f"{when}{which}: {brief(scores)}")
    if solver.last_snapshot:
        print(f"Snapshot: {solver.last_snapshot}")
    if stopped and solver.last_snapshot and not solver.stopped_early:
        print(f"To go on: pydl train -solver {args.solver} -snapshot {solver.last_snapshot}")
    logs = [str(path) for path in (files.log, files.json) if path]
    print(f"Log: {', '.join(logs)}")
    if curve:
        print(f"Curve: {curve.error or curve.path}")

"""``pydl time``: how long each layer of a net takes."""

from __future__ import annotations

import argparse
import time

from pydl.cli import flags

_EPILOG = """examples:
  pydl time -model examples/mnist/lenet_train_test.prototxt -iterations 100
  pydl time -model examples/mnist/lenet_deploy.prototxt -phase TEST -keep outputs
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``time`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers,
        "time",
        "Times the forward and backward pass of each layer, and of the whole net.",
        _EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    flags.add_net_flags(parser)
    parser.add_argument(
        "--iterations", type=flags.positive, default=50, metavar="N", help="passes to time (50)"
    )
    flags.add_phase_flag(parser, "TRAIN")
    parser.add_argument(
        "--keep",
        choices=("all", "outputs"),
        default="all",
        help="blobs to keep in memory; outputs alone takes less, and in phase TEST is faster and "
        "has no backward pass (all)",
    )
    flags.add_run_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl time``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net

    flags.apply_run_flags(args)
    net = open_net(args, phase=args.phase, keep=args.keep)
    print("Use CPU.")
    rows = net._core.layer_rows()
    backward = args.keep == "all" or args.phase == "TRAIN"
    backward = backward and any(row["needs_backward"] for row in rows)
    _first_pass(net, backward)
    print("*** Benchmark begins ***")
    print(f"Testing for {args.iterations} iterations.")
    timing = _time(net._core, args.iterations, backward)
    _print_layers(rows, timing, backward)
    _print_totals(timing, backward)
    print("*** Benchmark ends ***")
    return 0


def _first_pass(net, backward: bool) -> None:
    """Not timed: it reads the data and packs the weights."""
    from pydl.reporting.numbers import number

    print("Performing Forward")
    net._core.forward()
    losses = {name: weight for name, weight in net.loss_weights.items() if weight}
    loss = sum(weight * net.blobs[name].data.sum() for name, weight in losses.items())
    print(f"Initial loss: {number(loss)}")
    if backward:
        print("Performing Backward")
        net._core.backward()


class _Timing:
    """Milliseconds of one pass, as means: of each layer, and of the whole net."""

    def __init__(self, layers: int) -> None:
        self.layers = [[0.0, 0.0] for _ in range(layers)]
        self.forward = self.backward = self.total = 0.0


def _time(core, iterations: int, backward: bool) -> _Timing:
    from pydl.reporting.numbers import number

    timing = _Timing(core.layer_count)
    what = "forward-backward" if backward else "forward"
    core.set_timing(True)
    for i in range(iterations):
        forward_ms, backward_ms = _pass(core, backward)
        print(f"Iteration: {i + 1} {what} time: {number(forward_ms + backward_ms)} ms.")
        timing.forward += forward_ms / iterations
        timing.backward += backward_ms / iterations
        timing.total += forward_ms + backward_ms
        for mean, row in zip(timing.layers, core.layer_rows(), strict=True):
            mean[0] += row["forward_ms"] / iterations
            mean[1] += row["backward_ms"] / iterations
    return timing


def _pass(core, backward: bool) -> tuple[float, float]:
    start = time.perf_counter()
    core.forward()
    middle = time.perf_counter()
    if backward:
        core.backward()
    return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)


def _print_layers(rows: list[dict], timing: _Timing, backward: bool) -> None:
    from pydl.reporting.numbers import number

    width = max(10, *(len(row["name"]) for row in rows))
    print("Average time per layer: ")
    for row, (forward_ms, backward_ms) in zip(rows, timing.layers, strict=True):
        name = row["name"].rjust(width)
        print(f"{name}\tforward: {number(forward_ms)} ms.{_remarks(row, forward_ms)}")
        if backward:
            print(f"{name}\tbackward: {number(backward_ms)} ms.")


def _remarks(row: dict, forward_ms: float) -> str:
    speed = row["flops"] / forward_ms / 1e6 if forward_ms > 0 else 0
    parts = [f"{speed:.1f} GFLOP/s"] if speed else []
    parts += [row["implementation"]] if row["implementation"] else []
    parts += ["fused into the layer before"] if row["fused"] else []
    return f"\t({', '.join(parts)})" if parts else ""


def _print_totals(timing: _Timing, backward: bool) -> None:
    from pydl.reporting.numbers import number

    print(f"Average Forward pass: {number(timing.forward)} ms.")
    if backward:
        print(f"Average Backward pass: {number(timing.backward)} ms.")
        print(f"Average Forward-Backward: {number(timing.forward + timing.backward)} ms.")
    print(f"Total Time: {number(timing.total)} ms.")

"""``pydl test``: scores a net on the data that it reads."""

from __future__ import annotations

import argparse

import numpy as np

from pydl.cli import flags
from pydl.errors import Error

_EPILOG = """example:
  pydl test -model examples/mnist/lenet_train_test.prototxt \\
      -weights lenet_iter_2000.caffemodel -iterations 10
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the ``test`` sub-command; parsed arguments go to ``run``."""
    parser = flags.add_command(
        subparsers, "test", "Scores a net: the mean of each output over batches.", _EPILOG
    )
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="FILE", help="the net's prototxt")
    flags.add_net_flags(parser)
    parser.add_argument(
        "--iterations", type=flags.positive, default=50, metavar="N", help="batches to run (50)"
    )
    flags.add_phase_flag(parser, "TEST")
    flags.add_run_flags(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs ``pydl test``; returns the exit status, raises pydl.Error for bad input."""
    from pydl.cli.nets import open_net

    flags.apply_run_flags(args)
    net = open_net(args, phase=args.phase, keep="outputs", need_weights=True)
    print("Use CPU.")
    if net.inputs:
        raise Error(
            f"{args.model}: nothing fills its inputs {', '.join(net.inputs)}; test needs a net "
            "that reads its data (a Data layer); for others there is pydl predict"
        )
    print(f"Running for {args.iterations} iterations.")
    _print_means(net, _run_batches(net, args.iterations))
    return 0


def _run_batches(net, iterations: int) -> dict[str, np.ndarray]:
    """The mean of each output; of a DetectionEvaluate layer's the mean average precision."""
    from pydl.reporting.numbers import output_lines
    from pydl.test_scores import MeanPrecisions, Means

    rows = net._core.layer_rows()
    evaluations = {row["tops"][0] for row in rows if row["type"] == "DetectionEvaluate"}
    means, precisions = Means(), MeanPrecisions(per_class=True)
    for batch in range(iterations):
        outputs = net.forward()
        found = {name: outputs.pop(name) for name in evaluations & outputs.keys()}
        for name, text in output_lines(outputs, {}):
            print(f"Batch {batch}, {name} = {text}")
        for scores, values in ((means, outputs), (precisions, found)):
            for name, value in values.items():
                scores.add(name, value)
    return means.results(iterations) | precisions.results(iterations)


def _print_means(net, means: dict[str, np.ndarray]) -> None:
    from pydl.reporting.numbers import number, output_lines

    weights = net.loss_weights
    losses = (weights.get(name, 0.0) * np.sum(mean) for name, mean in means.items())
    print(f"Loss: {number(sum(losses))}")
    for name, text in output_lines(means, weights):
        print(f"{name} = {text}")

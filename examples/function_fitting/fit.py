"""A net with one hidden layer fits noisy samples of a function: what it says after 0, 10, 100 ...
iterations, and with too few and too many hidden units (the pictures need matplotlib).

python examples/function_fitting/fit.py [--iterations N] [--sets N]
"""

import argparse
from pathlib import Path

import numpy as np
from pictures import draw_curve, draw_surface

import pydl

NET = Path(__file__).with_name("fit.prototxt")
NOISE = 0.15
LINE = np.linspace(-1, 1, 401)[:, np.newaxis]
PLANE = np.stack(np.meshgrid(LINE[::8], LINE[::8]), axis=-1).reshape(-1, 2)
HIDDEN = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128)
SHOWN = (2, 4, 64)  # too few, enough, more than the samples can tell
SHOWN_SET = 3  # whose errors are near the medians


def curve(x):
    return np.sin(5 * x) * (1 + x) / 2 + 0.3 * np.sin(12 * x)


def surface(points):
    x, y = points[:, :1], points[:, 1:]
    hill = np.exp(-4 * ((x - 0.4) ** 2 + (y - 0.3) ** 2))
    hollow = np.exp(-6 * ((x + 0.4) ** 2 + (y + 0.4) ** 2))
    return hill - hollow + 0.3 * np.sin(4 * x)


def samples(function, inputs, count, seed):
    """Points (count, inputs) between -1 and 1, and what was measured there (count, 1)."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (count, inputs))
    return x, function(x) + random.normal(0, NOISE, (count, 1))


def fit(x, y, hidden, moments, seed=1):
    """Adam on all samples at a time. Gives, after each of so many iterations, the net."""
    net = pydl.prototxt.load_net(NET)
    layers = {layer.name: layer for layer in net.layer}
    layers["x"].input_param.shape[0].dim[:] = x.shape
    layers["target"].input_param.shape[0].dim[:] = y.shape
    layers["hidden"].inner_product_param.num_output = hidden
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=net,
            type="Adam",
            base_lr=0.01,
            momentum=0.9,
            lr_policy="fixed",
            random_seed=seed,
        )
    )
    inputs, net = solver.net.blobs, solver.test_twin()
    inputs["x"].data[...], inputs["target"].data[...] = x, y
    for moment in moments:
        solver.step(moment - solver.iter)
        yield net


def error(net, x, y):
    """The root of the mean squared error."""
    return np.sqrt(np.mean((net.predict(x, batch_size=len(x)) - y) ** 2))


def errors(net, data):
    """Against the noisy samples, and against the function itself."""
    return error(net, *data), error(net, LINE, curve(LINE))


def moments(iterations):
    """0, 10, 100 ... up to the given number."""
    return [0] + [10**i for i in range(1, 10) if 10**i < iterations] + [iterations]


def one_variable(iterations, sets):
    by_hidden = {}
    for hidden in HIDDEN:
        found = []
        for seed in range(1, sets + 1):
            data = samples(curve, 1, 30, seed)
            (net,) = fit(*data, hidden, [iterations], seed)
            found.append(errors(net, data))
        seen, true = by_hidden[hidden] = np.median(found, axis=0)
        print(f"{hidden} hidden units: error {seen:.3f} on the samples, {true:.3f} on the function")

    data = samples(curve, 1, 30, SHOWN_SET)

    def said(hidden, steps):
        return [net.predict(LINE, len(LINE)) for net in fit(*data, hidden, steps, SHOWN_SET)]

    steps = moments(iterations)
    ticks = np.unique(np.geomspace(1, iterations, 40).astype(int))
    over_time = [errors(net, data) for net in fit(*data, SHOWN[-1], ticks, SHOWN_SET)]
    draw_curve(
        "curve.png",
        (LINE, curve(LINE)),
        data,
        dict(zip(steps, said(SHOWN[1], steps), strict=True)),
        {hidden: said(hidden, [iterations])[0] for hidden in SHOWN},
        by_hidden,
        (SHOWN[-1], ticks, over_time),
    )
    print("curve.png: what the nets say, and their errors")


def two_variables(iterations):
    data, true = samples(surface, 2, 500, seed=1), surface(PLANE)
    steps, maps = moments(iterations), {}
    for moment, net in zip(steps, fit(*data, 30, steps), strict=True):
        maps[moment] = net.predict(PLANE, len(PLANE))
        print(f"two variables, after {moment}: error {error(net, PLANE, true):.3f}")
    draw_surface("surface.png", data, true, maps)
    print("surface.png: the samples, what the net says, and the function")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10000)
    parser.add_argument("--sets", type=int, default=20, help="sets of samples for each size (20)")
    args = parser.parse_args()
    one_variable(args.iterations, args.sets)
    two_variables(args.iterations)


if __name__ == "__main__":
    main()

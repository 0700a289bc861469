"""Trains a variational autoencoder, draws what it makes of pictures and of nothing, and with codes
of two numbers draws the map of all of them (the pictures need matplotlib).

python examples/vae/vae.py [--iterations N] [--data SET]
"""

import argparse
from pathlib import Path
from statistics import NormalDist

import numpy as np
from pictures import draw_copies, draw_map

import pydl

HERE = Path(__file__).parent
SIDE = 16  # pictures along each side of the map
CLASSES = {
    "fashion_mnist": ["T-shirt", "trousers", "pullover", "dress", "coat",
                      "sandal", "shirt", "sneaker", "bag", "boot"],
    "mnist_sample": list("0123456789"),
}  # fmt: skip


def train(codes, iterations, data):
    """A solver that has trained a VAE with codes of so many numbers."""
    solver = pydl.prototxt.load_solver(HERE / "vae_solver.prototxt")
    net = pydl.prototxt.load_net(HERE / "vae.prototxt")
    for layer in net.layer:
        if layer.type == "Data":
            layer.data_param.source = layer.data_param.source.replace("fashion_mnist", data)
        elif layer.name in ("mean", "log_variance"):
            layer.inner_product_param.num_output = codes
    solver.ClearField("net")
    solver.net_param.CopyFrom(net)
    solver.max_iter = iterations or solver.max_iter
    solver.test_iter[:] = [len(pydl.data.load(data)[2]) // 100]
    solver.snapshot_prefix = f"vae{codes}"
    solver = pydl.Solver(solver)
    solver.solve()
    return solver


def report(solver, codes):
    """The evidence lower bound on the test set."""
    found = solver.test()
    missing, divergence = float(found["reconstruction_loss"]), float(found["kl_loss"])
    print(
        f"{codes} numbers: test ELBO {-missing - divergence:.1f} nats a picture "
        f"(reconstruction {-missing:.1f}, divergence {divergence:.1f})",
        flush=True,
    )


def over_test_set(solver, names, count):
    """What the blobs of these names hold for each test picture: arrays (count, ...)."""
    net, found = solver.test_nets[0], [[] for _ in names]
    for _ in range(count // 100):
        net.forward()
        for name, parts in zip(names, found, strict=True):
            parts.append(np.array(net.blobs[name].data))
    return [np.concatenate(parts) for parts in found]


def decoder(solver, codes):
    """The decoder alone, with the trained weights: codes (N, codes) to pictures (N, 784)."""
    weights = f"vae{codes}.caffemodel"
    solver.net.save(weights)
    net = pydl.prototxt.load_net(HERE / "decoder.prototxt")
    net.layer[0].input_param.shape[0].dim[1] = codes
    return pydl.Net(net, weights, keep="outputs")


def grid():
    """(SIDE * SIDE, 2): as many codes of equal probability, row by row from above."""
    steps = [NormalDist().inv_cdf((i + 0.5) / SIDE) for i in range(SIDE)]
    return np.array([(x, y) for y in reversed(steps) for x in steps], np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, help="as in vae_solver.prototxt (3,000)")
    parser.add_argument("--data", default="fashion_mnist", choices=CLASSES)
    args = parser.parse_args()
    _, _, _, labels = pydl.data.load(args.data)

    solver = train(20, args.iterations, args.data)
    report(solver, 20)
    pictures, means = over_test_set(solver, ("flat", "mean"), len(labels))
    decode = decoder(solver, 20)
    noise = np.random.default_rng(1).standard_normal((60, 20))
    draw_copies("vae.png", pictures[:20], decode.predict(means[:20]), decode.predict(noise))
    print("vae.png: test pictures, what comes back of their codes, and pictures of random codes")

    solver = train(2, args.iterations, args.data)
    report(solver, 2)
    (means,) = over_test_set(solver, ("mean",), len(labels))
    draw_map("map.png", decoder(solver, 2).predict(grid()), means, labels, CLASSES[args.data])
    print("map.png: the pictures of all codes of two numbers, and where the test pictures are")


if __name__ == "__main__":
    main()

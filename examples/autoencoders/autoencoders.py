"""A plain, a denoising, a sparse and a convolutional autoencoder, each with a code of 196 numbers,
on the same digits: what they copy and repair, and their filters (the picture needs matplotlib).

python examples/autoencoders/autoencoders.py [--iterations N]
"""

import argparse

import numpy as np
from pictures import draw

import pydl
from pydl.zoo import Builder

BATCH, CODE = 100, 196
HIDDEN = 0.4  # share of the pixels that noise takes away
KINDS = ("plain", "denoising", "sparse", "convolutional")


def autoencoder(kind):
    """The net: "code" and "copy" are its blobs of interest, "encode" its first weights."""
    net = Builder(f"{kind} autoencoder", batch=BATCH, classes=0, train=True)
    data = seen = net.input("data", BATCH, 1, 28, 28)
    if kind == "denoising":  # Vincent et al. 2010
        seen = net.layer("Noise", "noise", data, noise_param={"type": "MASKING", "ratio": HIDDEN})
    decode = convolutional(net, seen) if kind == "convolutional" else fully_connected(net, seen)
    if kind == "sparse":  # Ng 2011: each unit is active in one digit of twenty
        sparsity = {"target": 0.05, "weight": 5}
        net.layer("SparsityPenalty", "sparsity", "code", sparsity_penalty_param=sparsity)
    net.layer("SigmoidCrossEntropyLoss", "loss", [decode, data])
    net.layer("Sigmoid", "copy", decode)
    return net.message()


def fully_connected(net, blob):
    code = net.layer("Sigmoid", "code", net.fc("encode", blob, CODE))
    return net.fc("decode", code, 784)


def convolutional(net, blob):
    """By strides of 2 from 28x28 to 7x7 places of 4 numbers, and back."""
    blob = net.relu("encode_relu", net.conv("encode", blob, 16, 6, stride=2, pad=2))
    code = net.layer("Sigmoid", "code", net.conv("encode2", blob, CODE // 49, 6, stride=2, pad=2))
    blob = net.relu("decode2_relu", net.deconv("decode2", code, 16, 6, stride=2, pad=2))
    return net.deconv("decode", blob, 1, 6, stride=2, pad=2)


def learn(kind, digits, iterations):
    """The trained net in phase TEST, where nothing adds noise."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=autoencoder(kind),
            type="Adam",
            base_lr=0.002,
            lr_policy="cosine",
            weight_decay=0.0001,
            max_iter=iterations,
            random_seed=1,
        )
    )
    random, data = np.random.default_rng(1), solver.net.blobs["data"]
    for _ in range(iterations):
        data.data[...] = digits[random.integers(0, len(digits), BATCH)]
        solver.step()
    return solver.test_twin()


def run(net, digits):
    """Copies (N, 1, 28, 28) of digits, and their codes (N, CODE)."""
    net.forward(data=digits)
    copies, codes = (np.array(net.blobs[name].data) for name in ("copy", "code"))
    return copies.reshape(digits.shape), codes.reshape(-1, CODE)


def error(copies, digits):
    """Squared, summed over a digit's pixels."""
    return float(np.square(copies - digits).sum(axis=(1, 2, 3)).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=2000)
    args = parser.parse_args()
    x, _, test, labels = pydl.data.load("mnist_sample")
    x, test = (images / np.float32(255) for images in (x, test))
    noisy = test * (np.random.default_rng(2).random(test.shape) >= HIDDEN)
    shown = [np.flatnonzero(labels == digit)[0] for digit in (2, 3, 4, 5, 8)]
    filters, repaired = {}, {"test digits": test[shown], "with noise": noisy[shown]}
    for kind in KINDS:
        net = learn(kind, x, args.iterations)
        (copies, codes), (repairs, _) = run(net, test), run(net, noisy)
        filters[kind] = net.params["encode"][0].data.copy()
        repaired[kind] = repairs[shown]
        print(
            f"{kind}: squared error {error(copies, test):.2f} of test digits, "
            f"{error(repairs, test):.2f} of noisy ones; mean activity {codes.mean():.3f}",
            flush=True,
        )
    draw("autoencoders.png", filters, repaired)
    print("autoencoders.png: the encoders' filters, and what each makes of noisy digits")


if __name__ == "__main__":
    main()

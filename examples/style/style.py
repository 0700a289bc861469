"""Neural style transfer and DeepDream: what the gradient of a picture does to it.

python examples/style/style.py [--iterations N] [--training N] [--height PIXELS]
"""

import argparse

import nets
import numpy as np
from dream import dream
from photographs import HIGH, LOW, Pieces, fitted, load, to_pixels
from pictures import draw_dreams, draw_styles

import pydl

CONTENT, STYLES = "temple", ("coffee", "immunohistochemistry", "gravel")
STYLE_LAYERS, CONTENT_LAYER = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"), "conv3_2"
DREAMT, DREAM_LAYERS = "cat", ("conv1_2", "conv2_2", "conv3_2")
NOISE = 0.5
STYLE, SMOOTH = 200, 2e-6  # weights of the losses; the content's is 1


def learn_features(photographs, iterations, batch=16):
    """Leaves the trained weights in a file."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net_param=nets.classifier(batch, Pieces.SIZE, len(photographs)),
            type="Adam",
            base_lr=0.001,
            lr_policy="cosine",
            max_iter=iterations,
            random_seed=1,
        )
    )
    pieces, inputs = Pieces(photographs, seed=1), solver.net.blobs
    for i in range(1, iterations + 1):
        inputs["picture"].data[...], inputs["label"].data[...] = pieces.batch(batch)
        loss = solver.step()
        if i % 100 == 0 or i == iterations:
            print(f"features, {i} iterations: loss {loss:.2f}", flush=True)
    solver.net.save(nets.WEIGHTS)
    twin, (x, y) = solver.test_twin(), Pieces(photographs, seed=2).batch(200)
    right = float(twin.forward(picture=x, label=y)["accuracy"])
    print(f"features: {100 * right:.0f}% of 200 pieces said from which of {len(photographs)}")


def style_objective(content, style):
    """The net whose loss is small for pictures with the content of one and the style of the other
    (Gatys, Ecker & Bethge 2016): features as those of `content`, products of features, over all
    places, as those of `style`. All losses are relative to what they compare with."""
    net = nets.features(*content.shape[2:])
    net.forward(picture=content)
    wanted = np.array(net.blobs[CONTENT_LAYER].data)
    net.forward(picture=style)
    grams = {name: gram(net.blobs[name].data) for name in STYLE_LAYERS}

    def add_losses(net):
        loss(net, "content", CONTENT_LAYER, wanted, 1)
        for name in STYLE_LAYERS:
            products = net.layer("Gram", f"{name}_gram", name)
            loss(net, f"{name}_style", products, grams[name], STYLE / len(STYLE_LAYERS))
        net.layer("TotalVariationLoss", "smooth", "picture", loss_weight=[SMOOTH])

    net = nets.objective(*content.shape[2:], add_losses)
    net.blobs["content_target"].data[...] = wanted
    for name in STYLE_LAYERS:
        net.blobs[f"{name}_style_target"].data[...] = grams[name]
    return net


def loss(net, name, blob, target, weight):
    net.input(f"{name}_target", *target.shape)
    share = 2 * weight / np.sum(np.square(target, dtype=float))
    net.layer("EuclideanLoss", name, [blob, f"{name}_target"], loss_weight=[float(share)])


def gram(features):
    """As the layer Gram: (1, C, H, W) to (1, C, C)."""
    rows = features.reshape(features.shape[1], -1)
    return (rows @ rows.T / rows.size)[None]


def transfer(content, style, iterations):
    """The content in the style, by L-BFGS from the content and some noise on, of which textures
    can grow in even places too."""
    from scipy.optimize import minimize

    net = style_objective(content, style)

    def objective(x):
        total, gradient = nets.loss_and_gradient(net, np.float32(x.reshape(content.shape)))
        return total, np.float64(gradient.ravel())

    noise = np.random.default_rng(1).normal(0, NOISE, content.size)
    start, bounds = np.clip(content.ravel() + noise, LOW, HIGH), [(LOW, HIGH)] * content.size
    before, options = objective(start)[0], {"maxiter": iterations}
    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
    print(f"loss from {before:.2f} to {found.fun:.3f}", flush=True)
    return np.float32(found.x.reshape(content.shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", type=int, default=250, help="iterations of the net (250)")
    parser.add_argument("--iterations", type=int, default=60, help="of L-BFGS for a style (60)")
    parser.add_argument("--steps", type=int, default=12, help="of a dream at each scale (12)")
    parser.add_argument("--height", type=int, default=160, help="of the pictures, in pixels (160)")
    args = parser.parse_args()
    photographs = load()
    learn_features(list(photographs.values()), args.training)
    size = args.height, 3 * args.height // 2
    content = fitted(photographs[CONTENT], *size)
    styled = {}
    for name in STYLES:
        print(f"{CONTENT} in the style of {name}: ", end="")
        style = fitted(photographs[name], *size)
        styled[name] = to_pixels(style), to_pixels(transfer(content, style, args.iterations))
    draw_styles("style.png", to_pixels(content), styled)
    dreams = {DREAMT: fitted(photographs[DREAMT], *size)}
    dreams |= {name: dream(photographs[DREAMT], *size, name, args.steps) for name in DREAM_LAYERS}
    draw_dreams("dream.png", {name: to_pixels(picture) for name, picture in dreams.items()})
    print("style.png, dream.png: the pictures")


if __name__ == "__main__":
    main()

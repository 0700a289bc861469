"""The net whose features say what a picture shows and how: a small VGG, which learns to tell small
pieces of photographs apart."""

import numpy as np

import pydl
from pydl.zoo import Builder

WEIGHTS = "features.caffemodel"
BLOCKS = {"conv1": 32, "conv2": 64, "conv3": 128}  # two convolutions each
LAYERS = [f"{block}_{i}" for block in BLOCKS for i in (1, 2)]


def add_features(net, blob, **fields):
    """3x3 convolutions and, between the blocks, average pooling (Gatys et al. 2016); each blob
    LAYERS[i] holds its convolution's output behind the ReLU."""
    for number, (block, filters) in enumerate(BLOCKS.items(), 1):
        for i in (1, 2):
            name = f"{block}_{i}"
            blob = net.relu(f"{name}_relu", net.conv(name, blob, filters, 3, pad=1, **fields))
        if number < len(BLOCKS):
            blob = net.pool(f"pool{number}", blob, "AVE", 2, 2)
    return blob


def classifier(batch, size, classes):
    """What the features learn for: from which photograph a piece is."""
    net = Builder("pieces of photographs", batch=batch, classes=classes, train=True)
    blob = add_features(net, net.input("picture", batch, 3, size, size))
    net.classifier(net.fc("photograph", net.pool("mean", blob, "AVE"), classes))
    return net.message()


def features(height, width):
    """A net of the trained features, for one picture."""
    net = Builder("features", batch=1, classes=0)
    add_features(net, net.input("picture", 1, 3, height, width))
    return pydl.Net(net.message(), WEIGHTS)


def objective(height, width, add_losses):
    """A net with losses behind the features, which `add_losses(net)` adds; its backward pass gives
    the gradient of the picture."""
    net = Builder("objective", batch=1, classes=0)
    fixed = [{"lr_mult": 0}, {"lr_mult": 0}]
    add_features(net, net.input("picture", 1, 3, height, width), param=fixed)
    add_losses(net)
    message = net.message()
    message.force_backward = True  # down to the input
    return pydl.Net(message, WEIGHTS, phase="TRAIN")


def loss_and_gradient(net, picture):
    """The sum of the weighted losses at a picture (1, 3, H, W), and its gradient there."""
    losses = net.forward(picture=picture)
    net.backward()
    total = sum(weight * float(losses[name].sum()) for name, weight in net.loss_weights.items())
    return total, np.array(net.blobs["picture"].diff)

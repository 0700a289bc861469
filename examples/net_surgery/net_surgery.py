"""Net surgery: a classifier of 28 x 28 digits becomes one that slides over a larger picture.

Its inner products are convolutions as large as what they see, with the same weights, so the same
weights give a map of scores where the picture is larger (Long et al. 2015, arXiv:1411.4038).

pydl run examples/net_surgery/net_surgery.py WEIGHTS
"""

import sys
from pathlib import Path

import caffe
import numpy as np

FOLDER = Path(__file__).parent
DEPLOY = FOLDER.parent / "mnist" / "lenet_deploy.prototxt"
STEP = 4  # pixels between two places of the map: two poolings of stride 2


def cast(weights):
    """The fully convolutional net with the classifier's weights."""
    classifier = caffe.Net(str(DEPLOY), weights, caffe.TEST)
    net = caffe.Net(str(FOLDER / "lenet_conv.prototxt"), weights, caffe.TEST)
    for full, conv in (("ip1", "ip1_conv"), ("ip2", "ip2_conv")):
        net.params[conv][0].data.flat = classifier.params[full][0].data.flat
        net.params[conv][1].data[...] = classifier.params[full][1].data
    return classifier, net


def scene(digits, places, size):
    """Digits side by side in one picture."""
    picture = np.zeros((1, 1, *size), np.float32)
    for digit, (y, x) in zip(digits, places, strict=True):
        picture[0, 0, y : y + 28, x : x + 28] = digit
    return picture


def main(weights):
    from pydl import data

    _, _, images, labels = data.load("mnist_sample")
    classifier, net = cast(weights)
    places = [(8, 4), (20, 48), (0, 92)]
    picture = scene(images[:3, 0] / 256.0, places, (60, 124))
    net.blobs["data"].reshape(*picture.shape)
    net.blobs["data"].data[...] = picture
    scores = net.forward()["prob"][0]
    print(f"picture {picture.shape[2:]}, map of scores {scores.shape}")
    for image, label, (y, x) in zip(images, labels, places, strict=False):
        found = scores[:, y // STEP, x // STEP].argmax()
        classifier.blobs["data"].reshape(1, 1, 28, 28)
        classifier.blobs["data"].data[...] = image / 256.0
        alone = classifier.forward()["prob"][0]
        print(f"at {(y, x)}: a {found}; by itself: a {alone.argmax()}; it is a {label}")


if __name__ == "__main__":
    main(sys.argv[1])

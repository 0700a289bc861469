"""The nets that began it: AlexNet, CaffeNet, ZFNet and Network in Network."""

from __future__ import annotations

from pydl.zoo.builder import Builder


def alexnet(net: Builder) -> None:
    """As bvlc_alexnet: two groups as on Krizhevsky's two GPUs, normalisation before pooling."""
    blob = caffenet_features(net, "data", norm_first=True)
    net.classifier(net.fc(net.scores("fc8"), _fully_connected(net, blob), net.classes))


def caffenet(net: Builder) -> None:
    """As bvlc_reference_caffenet: AlexNet with pooling before normalisation."""
    blob = caffenet_features(net, "data")
    net.classifier(net.fc(net.scores("fc8"), _fully_connected(net, blob), net.classes))


def rcnn(net: Builder) -> None:
    """CaffeNet with a score per class of ILSVRC 2013's detection task and no Softmax: each is that
    of a linear SVM (Girshick et al. 2013)."""
    blob = caffenet_features(net, "data")
    blob = _fully_connected(net, blob)
    scores = net.fc(net.scores("fc-rcnn"), blob, net.classes)
    if net.train:
        net.classifier(scores)


def caffenet_features(net: Builder, blob: str, norm_first: bool = False) -> str:
    """The five convolutions of AlexNet and CaffeNet."""
    for i, (filters, kernel, stride, pad) in enumerate(((96, 11, 4, 0), (256, 5, 1, 2)), 1):
        blob = net.conv(f"conv{i}", blob, filters, kernel, stride=stride, pad=pad, group=i)
        blob = net.relu(f"relu{i}", blob)
        if norm_first:
            blob = net.pool(f"pool{i}", net.lrn(f"norm{i}", blob), "MAX", 3, 2)
        else:
            blob = net.lrn(f"norm{i}", net.pool(f"pool{i}", blob, "MAX", 3, 2))
    for i, (filters, group) in enumerate(((384, 1), (384, 2), (256, 2)), 3):
        blob = net.relu(f"relu{i}", net.conv(f"conv{i}", blob, filters, 3, pad=1, group=group))
    return net.pool("pool5", blob, "MAX", 3, 2)


def _fully_connected(net: Builder, blob: str) -> str:
    for i in (6, 7):
        blob = net.relu(f"relu{i}", net.fc(f"fc{i}", blob, 4096))
        blob = net.dropout(f"drop{i}", blob)
    return blob


def zfnet(net: Builder) -> None:
    """As in figure 3 of Zeiler and Fergus (2013): smaller, denser first filters, no groups."""
    blob = net.relu("relu1", net.conv("conv1", "data", 96, 7, stride=2, pad=1))
    blob = net.lrn("norm1", net.pool("pool1", blob, "MAX", 3, 2))
    blob = net.relu("relu2", net.conv("conv2", blob, 256, 5, stride=2))
    blob = net.lrn("norm2", net.pool("pool2", blob, "MAX", 3, 2))
    for i, filters in enumerate((384, 384, 256), 3):
        blob = net.relu(f"relu{i}", net.conv(f"conv{i}", blob, filters, 3, pad=1))
    blob = _fully_connected(net, net.pool("pool5", blob, "MAX", 3, 2))
    net.classifier(net.fc(net.scores("fc8"), blob, net.classes))


def nin(net: Builder) -> None:
    """Network in Network (Lin et al. 2013) as its ImageNet release: each convolution is followed
    by two of 1x1, and the last one's maps are averaged to scores."""
    blob, count = "data", 0

    def mlpconv(
        names: tuple[str, str, str], filters: tuple[int, int, int], kernel: int, **shape: int
    ) -> None:
        nonlocal blob, count
        for i, (name, size) in enumerate(zip(names, filters, strict=True)):
            blob = net.conv(name, blob, size, 1 if i else kernel, **({} if i else shape))
            blob = net.relu(f"relu{count}", blob)
            count += 1

    mlpconv(("conv1", "cccp1", "cccp2"), (96, 96, 96), 11, stride=4)
    blob = net.pool("pool0", blob, "MAX", 3, 2)
    mlpconv(("conv2", "cccp3", "cccp4"), (256, 256, 256), 5, pad=2)
    blob = net.pool("pool2", blob, "MAX", 3, 2)
    mlpconv(("conv3", "cccp5", "cccp6"), (384, 384, 384), 3, pad=1)
    blob = net.dropout("drop", net.pool("pool3", blob, "MAX", 3, 2))
    mlpconv(
        ("conv4-1024", "cccp7-1024", net.scores("cccp8-1024")), (1024, 1024, net.classes), 3, pad=1
    )
    net.classifier(net.pool("pool4", blob, "AVE"))

"""Small members of six families, for pictures of 28x28: each adds to a net what leads from its
pictures to the scores of its classes.

What makes the family is kept; depth, width and strides fit the pictures and a few minutes.
"""


def lenet(net, blob):
    """Convolutions and poolings in turn, then fully connected layers (LeCun et al. 1998)."""
    for i, filters in enumerate((20, 50), 1):
        blob = net.conv(f"conv{i}", blob, filters, 5)
        blob = net.pool(f"pool{i}", blob, "MAX", 2, 2)
    blob = net.relu("relu3", net.fc("fc3", blob, 500))
    return net.fc("fc4", blob, net.classes)


def alexnet(net, blob):
    """A large first kernel, normalisation across channels, pooling windows that overlap, and most
    weights in layers with dropout (Krizhevsky et al. 2012)."""
    for i, filters in enumerate((32, 64), 1):
        blob = net.relu(f"relu{i}", net.conv(f"conv{i}", blob, filters, 5, pad=2))
        blob = net.lrn(f"norm{i}", net.pool(f"pool{i}", blob, "MAX", 3, 2))
    for i, filters in enumerate((96, 96, 64), 3):
        blob = net.relu(f"relu{i}", net.conv(f"conv{i}", blob, filters, 3, pad=1))
    blob = net.pool("pool5", blob, "MAX", 3, 2)
    for i in (6, 7):
        blob = net.dropout(f"drop{i}", net.relu(f"relu{i}", net.fc(f"fc{i}", blob, 512)))
    return net.fc("fc8", blob, net.classes)


def vgg(net, blob):
    """Nothing but 3x3: two or three in a row see as far as one large kernel, with fewer weights
    (Simonyan and Zisserman 2014)."""
    for block, (count, filters) in enumerate(((2, 24), (2, 48), (3, 96)), 1):
        for i in range(1, count + 1):
            blob = net.conv(f"conv{block}_{i}", blob, filters, 3, pad=1)
            blob = net.relu(f"relu{block}_{i}", blob)
        blob = net.pool(f"pool{block}", blob, "MAX", 2, 2)
    for i in (4, 5):
        blob = net.dropout(f"drop{i}", net.relu(f"relu{i}", net.fc(f"fc{i}", blob, 256)))
    return net.fc("fc6", blob, net.classes)


def googlenet(net, blob):
    """Kernels of several sizes side by side, 1x1 convolutions before the dear ones, and an average
    in the place of fully connected layers (Szegedy et al. 2014)."""

    def conv(name, bottom, filters, kernel):
        blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2)
        return net.relu(f"{name}_relu", blob)

    def inception(name, bottom, one, reduce3, three, reduce5, five, pooled):
        branches = [
            conv(f"{name}/1x1", bottom, one, 1),
            conv(f"{name}/3x3", conv(f"{name}/3x3_reduce", bottom, reduce3, 1), three, 3),
            conv(f"{name}/5x5", conv(f"{name}/5x5_reduce", bottom, reduce5, 1), five, 5),
            conv(f"{name}/pool_proj", net.pool(f"{name}/pool", bottom, "MAX", 3, pad=1), pooled, 1),
        ]
        return net.concat(name, branches)

    blob = net.pool("pool1", conv("conv1", blob, 32, 5), "MAX", 3, 2)
    blob = inception("inception_2a", blob, 16, 24, 32, 4, 8, 8)
    blob = inception("inception_2b", blob, 32, 32, 48, 8, 16, 16)
    blob = net.pool("pool2", blob, "MAX", 3, 2)
    blob = inception("inception_3a", blob, 48, 32, 64, 8, 16, 16)
    blob = inception("inception_3b", blob, 64, 48, 96, 12, 24, 24)
    blob = net.dropout("drop", net.pool("pool3", blob, "AVE"), 0.4)
    return net.fc("classifier", blob, net.classes)


def resnet(net, blob, widths=(48, 96), blocks=2):
    """Blocks that add to what passes by them, and batch normalisation (He et al. 2015)."""

    def conv(name, bottom, filters, kernel, stride=1):
        blob = net.conv(name, bottom, filters, kernel, stride=stride, pad=kernel // 2, bias=None)
        return net.bn(blob, f"{name}_bn", f"{name}_scale", average=0.98)

    blob = net.relu("conv1_relu", conv("conv1", blob, 32, 3))
    blob = net.pool("pool1", blob, "MAX", 2, 2)
    for stage, width in enumerate(widths, 2):
        for i in range(1, blocks + 1):
            name, side, stride = f"res{stage}_{i}", blob, 1
            if i == 1:
                stride = 1 if stage == 2 else 2
                side = conv(f"{name}_side", blob, width, 1, stride)
            blob = net.relu(f"{name}a_relu", conv(f"{name}a", blob, width, 3, stride))
            blob = net.add(name, [side, conv(f"{name}b", blob, width, 3)])
            blob = net.relu(f"{name}_relu", blob)
    return net.fc("score", net.pool("pool", blob, "AVE"), net.classes)


def densenet(net, blob, growth=12, layers=4):
    """Each layer sees all before it in its block, and adds a few maps (Huang et al. 2016)."""

    def norm(name, bottom):
        top = f"{name}_bn"
        blob = net.bn(bottom, f"{name}_bn", f"{name}_scale", top=top, average=0.98)
        return net.relu(f"{name}_relu", blob)

    channels = 2 * growth
    blob = net.conv("conv1", blob, channels, 3, pad=1, stride=2, bias=None)
    for block in (2, 3):
        for i in range(1, layers + 1):
            name = f"conv{block}_{i}"
            new = net.conv(f"{name}a", norm(f"{name}a", blob), 4 * growth, 1, bias=None)
            new = net.conv(f"{name}b", norm(f"{name}b", new), growth, 3, pad=1, bias=None)
            blob = net.concat(name, [blob, new])
        channels += layers * growth
        if block == 2:
            channels //= 2
            blob = net.conv("conv2", norm("conv2", blob), channels, 1, bias=None)
            blob = net.pool("pool2", blob, "AVE", 2, 2)
    return net.fc("score", net.pool("pool3", norm("conv3", blob), "AVE"), net.classes)

"""DeepLab-LargeFOV (Chen et al. 2014) on VGG-16 and DeepLab v2 (Chen et al. 2016) on ResNet-101,
with the names of their releases: the last blocks do not shrink the plane but dilate their
kernels."""

from __future__ import annotations

from pydl.zoo import resnet, vgg
from pydl.zoo.builder import Builder

_SIZE = 321


def deeplab_largefov(net: Builder) -> None:
    blob = "data"
    for block in range(1, 6):
        blob = vgg.convolutions(net, blob, block, dilation=2 if block == 5 else 1)
        blob = net.pool(f"pool{block}", blob, "MAX", 3, 2 if block < 4 else 1, pad=1)
    blob = net.pool("pool5a", blob, "AVE", 3, 1, pad=1)
    blob = net.relu("relu6", net.conv("fc6", blob, 1024, 3, pad=12, dilation=12))
    blob = net.dropout("drop6", blob)
    blob = net.dropout("drop7", net.relu("relu7", net.conv("fc7", blob, 1024, 1)))
    _finish(net, net.conv(net.scores("fc8_voc12"), blob, net.classes, 1), "fc8_interp")


def deeplab_v2(net: Builder) -> None:
    """Four dilations side by side (atrous spatial pyramid pooling), at one scale of the image."""
    blob = resnet.stem(net, "data", frozen=True, pool_pad=1)
    strides, dilations = {2: 1, 3: 2, 4: 1, 5: 1}, {4: 2, 5: 4}
    for stage, blocks in ((2, 3), (3, 4), (4, 23), (5, 3)):
        names = resnet.block_names(stage, blocks, numbered=True)
        blob = resnet.residual_stage(net, blob, stage, names, stride=strides[stage],
                                     dilation=dilations.get(stage, 1), frozen=True)  # fmt: skip
    branches = [
        net.conv(net.scores(f"fc1_voc12_c{i}"), blob, net.classes, 3, pad=rate, dilation=rate)
        for i, rate in enumerate((6, 12, 18, 24))
    ]
    _finish(net, net.add("fc1_voc12", branches), "fc1_interp")


def _finish(net: Builder, scores: str, interp: str) -> None:
    """Scores as large as the image; to train, labels as small as the scores."""
    if not net.train:
        net.layer("Interp", interp, scores, interp_param={"zoom_factor": 8})
        return
    net.input("label", net.batch, 1, _SIZE, _SIZE)
    label = net.layer("Interp", "label_shrink", "label", interp_param={"shrink_factor": 8})
    net.pixel_loss(scores, label)

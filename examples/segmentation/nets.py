"""Two small nets for scenes of 64x64 pixels, after FCN (Long et al. 2014) and SegNet
(Badrinarayanan et al. 2015)."""

from scenes import CLASSES, SIZE

from pydl.zoo import Builder

WIDTHS = (16, 32, 64, 128)  # channels at 64, 32, 16 and 8 pixels across
# Of SegNet's decoder, after each of a size's two convolutions. With 16 at the full size, as in the
# encoder, it takes far longer to tell the classes apart.
DECODER_WIDTHS = {3: (64, 32), 2: (32, 16), 1: (48, 48)}


def fcn(batch, train):
    """Scores at four sizes, of which the coarser are interpolated and added to the finer."""
    net = begin("FCN", batch, train)
    blob, scores = "data", []
    for level, width in enumerate(WIDTHS, 1):
        for i in (1, 2):
            blob = convolution(net, f"conv{level}_{i}", blob, width)
        scores.append(net.conv(f"score{level}", blob, net.classes, 1))
        if level < len(WIDTHS):
            blob = net.pool(f"pool{level}", blob, "MAX", 2, 2)
    blob = scores.pop()
    while scores:
        level = len(scores)
        blob = net.deconv(f"up{level}", blob, net.classes, 4, stride=2, pad=1)
        blob = net.add(f"fuse{level}", [blob, scores.pop()])
    net.segmenter(blob, SIZE, SIZE)
    return net.message()


def segnet(batch, train):
    """The decoder puts each value back to where the encoder's pooling took it from. The encoder is
    FCN's, so that its weights can start from those of a trained FCN."""
    net = begin("SegNet", batch, train)
    blob = "data"
    for level, width in enumerate(WIDTHS, 1):
        for i in (1, 2):
            blob = convolution(net, f"conv{level}_{i}", blob, width)
        if level < len(WIDTHS):
            blob = net.pool(f"pool{level}", blob, "MAX", 2, 2, mask=f"pool{level}_mask")
    blob = convolution(net, "conv4_D", blob, WIDTHS[2])
    for level, widths in DECODER_WIDTHS.items():
        blob = net.layer("Upsample", f"upsample{level}", [blob, f"pool{level}_mask"])
        for i, width in zip((2, 1), widths, strict=True):
            blob = convolution(net, f"conv{level}_{i}_D", blob, width)
    net.segmenter(net.conv("score", blob, net.classes, 1), SIZE, SIZE)
    return net.message()


def begin(name, batch, train):
    net = Builder(name, batch=batch, classes=len(CLASSES), train=train)
    net.input("data", batch, 3, SIZE, SIZE)
    return net


def convolution(net, name, bottom, filters, kernel=3):
    blob = net.conv(name, bottom, filters, kernel, pad=kernel // 2, bias=None)
    # Statistics of the last batches: the run is too short for Caffe's 0.999.
    blob = net.bn(blob, f"{name}/bn", f"{name}/scale", average=0.95)
    return net.relu(f"{name}/relu", blob)

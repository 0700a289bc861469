"""The nets that read a character and say which comes next."""

from works import UNCOUNTED

from pydl.zoo.builder import Builder

EMBED = 64


def recurrent(kind, hidden, characters, steps, sequences, train=True):
    """`kind`: RNN, GRU or LSTM. Blobs are (steps, sequences). Without `train` the state goes in and
    out, for `pydl.generate`."""
    net = Builder(kind, batch=sequences, classes=characters, train=train)
    net.input("data", steps, sequences)
    net.input("cont", steps, sequences)
    x = embed(net, EMBED, std=0.1)
    x = net.recurrent(kind, kind.lower(), x, hidden, expose=not train)
    return predict(net, x, [steps, sequences])


def transformer(channels, blocks, characters, steps, sequences, train=True):
    """Blobs are (sequences, steps)."""
    net = Builder("Transformer", batch=sequences, classes=characters, train=train)
    net.input("data", sequences, steps)
    x = look_back(net, embed(net, channels, std=1), channels, steps)
    for i in range(blocks):
        x = net.transformer_encoder(
            f"block{i}", x, channels, heads=4, causal=True, rotary_base=10000, norm_first=True,
            activation="GELU", dropout=0,
        )  # fmt: skip
    x = net.layer("LayerNorm", "norm", x)
    return predict(net, x, [sequences, steps])


def look_back(net, x, channels, steps, width=4):
    """x + a convolution over the last steps, so that the blocks begin with groups of characters
    (Mohamed et al. 2019). The padding is in front; what it adds behind is cut off."""
    y = net.layer("Permute", "channels_first", x, permute_param={"order": [0, 2, 1]})
    y = net.conv("conv", y, channels, width, pad=width - 1, filler="xavier")
    cut = {"axis": 2, "slice_point": [steps]}
    net.layer("Slice", "cut", y, ["cut", "behind"], slice_param=cut)
    net.layer("Silence", "silence", "behind", [])
    y = net.layer("Permute", "channels_last", "cut", permute_param={"order": [0, 2, 1]})
    return net.add("look_back", [x, y])


def embed(net, size, std):
    param = {"input_dim": net.classes, "num_output": size, "bias_term": False}
    param["weight_filler"] = {"type": "gaussian", "std": std}
    return net.layer("Embed", "embed", "data", embed_param=param)


def predict(net, x, shape):
    scores = net.fc("scores", x, net.classes, axis=2)
    if net.train:
        bottoms = [scores, net.input("label", *shape)]
        net.layer(
            "SoftmaxWithLoss", "loss", bottoms, softmax_param={"axis": 2},
            loss_param={"ignore_label": UNCOUNTED},
        )  # fmt: skip
    return net.message()

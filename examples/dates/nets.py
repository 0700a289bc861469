"""Encoder and decoder: together to learn, apart to translate."""

from pydl.zoo.builder import Builder

HIDDEN, EMBED = 64, 32  # the encoder has HIDDEN units for each direction, the decoder twice as many


def together(texts, sequences, attention):
    """The net that learns: it hears the right date so far, and says how it goes on."""
    net = Builder("intervals", batch=sequences, classes=len(texts.target), train=True)
    memory = encoder(net, texts, attention)
    scores = decoder(net, texts, memory, texts.steps, attention)
    bottoms = [scores, net.input("label", texts.steps, sequences)]
    net.layer("SoftmaxWithLoss", "loss", bottoms, softmax_param={"axis": 2})
    return net.message()


def encoder_alone(texts, sequences, attention):
    net = Builder("encoder", batch=sequences, classes=len(texts.target))
    encoder(net, texts, attention)
    return net.message()


def decoder_alone(texts, sequences, attention):
    """It reads a character at a time, with its state going in and out, as `pydl.generate` wants it;
    what the encoder says is an input."""
    net = Builder("decoder", batch=sequences, classes=len(texts.target))
    memory = [net.input("memory", *([texts.longest] * attention), sequences, 2 * HIDDEN)]
    if attention:
        net.input("length", sequences)
    decoder(net, texts, *memory, 1, attention, state=True)
    return net.message()


def encoder(net, texts, attention):
    """A GRU in each direction. With attention all steps (steps, sequences, 2 HIDDEN), else the
    states in which they end (sequences, 2 HIDDEN)."""
    net.input("written", texts.longest, net.batch)
    net.input("goes_on", texts.longest, net.batch)
    x = embed(net, "written", len(texts.source))
    memory = net.recurrent("GRU", "encoder", x, HIDDEN, cont="goes_on", bidirectional=True)
    if attention:
        if net.train:
            net.input("length", net.batch)
        return memory
    ends = []
    for way, last in (("encoder/l0", "last"), ("encoder/l0_reverse", "first")):
        rows = net.reshape(f"{way}/rows", way, [-1, HIDDEN])
        ends.append(net.layer("BatchReindex", f"{way}/end", [rows, net.input(last, net.batch)]))
    return net.concat("memory", ends)


def decoder(net, texts, memory, steps, attention, state=False):
    """A GRU; each of its states asks the memory for what it needs to say the next character."""
    net.input("said", steps, net.batch)
    net.input("cont", steps, net.batch)
    x = embed(net, "said", len(texts.target))
    bottoms = [x, "cont", *([] if attention else [memory])]
    tops = ["decoder"]
    if state:
        bottoms.append(net.input("state", 1, net.batch, 2 * HIDDEN))
        tops.append("next_state")
    fill = {"type": "xavier"}
    param = {"num_output": 2 * HIDDEN, "weight_filler": fill, "expose_hidden": state}
    x = net.layer("GRU", "decoder", bottoms, tops, recurrent_param=param)
    if attention:
        found = ["found", "weights"]
        net.layer("SequenceAttention", "attention", [x, memory, "length"], found)
        x = net.concat("heard_and_found", [x, "found"], axis=2)
        x = net.act("TanH", "mixed/tanh", net.fc("mixed", x, 2 * HIDDEN, axis=2))
    return net.fc("scores", x, net.classes, axis=2)


def embed(net, name, characters):
    param = {"input_dim": characters, "num_output": EMBED, "bias_term": False}
    param["weight_filler"] = {"type": "gaussian", "std": 0.1}
    return net.layer("Embed", f"{name}/embed", name, embed_param=param)

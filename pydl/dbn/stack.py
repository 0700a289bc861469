"""The RBM layers of a net, and the nets that train them one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pydl import prototxt
from pydl.errors import Error

ERROR = "reconstruction_error"  # the top that a stage's loss is
_FIXED = [{"lr_mult": 0}] * 3


def of_sizes(
    sizes: Sequence[int], batch_size: int, units: Sequence[str], **fields: object
) -> prototxt.Message:
    """A net of a MemoryData layer and an RBM for each size after the first; `units` are the kinds
    of each size's."""
    net = prototxt.new("NetParameter", name="DBN")
    shape = {"batch_size": batch_size, "channels": sizes[0], "height": 1, "width": 1}
    net.layer.add(name="data", type="MemoryData", top=["data", "label"], memory_data_param=shape)
    net.layer.add(name="silence", type="Silence", bottom=["label"])
    bottom = "data"
    for i, hidden in enumerate(sizes[1:]):
        param = {"num_hidden": hidden, "visible": units[i], "hidden": units[i + 1], **fields}
        rates = [{"lr_mult": 1, "decay_mult": 1}, *[{"lr_mult": 1, "decay_mult": 0}] * 2]
        net.layer.add(name=f"rbm{i + 1}", type="RBM", bottom=[bottom], top=[f"h{i + 1}"],
                      param=rates, rbm_param=param)  # fmt: skip
        bottom = f"h{i + 1}"
    return net


def rbm_layers(net: prototxt.Message, where: str) -> list[prototxt.Message]:
    """The RBM layers of a net, bottom first. Raises Error unless each is on the one below."""
    layers = [layer for layer in net.layer if layer.type == "RBM"]
    if not layers:
        kinds = ", ".join(dict.fromkeys(layer.type for layer in net.layer)) or "nothing"
        raise Error(f'{where}net "{net.name}" has no RBM layer to train, only {kinds}')
    for below, above in pairwise(layers):
        if below.top[0] not in _ancestors(net, above.bottom[0]):
            raise Error(
                f'{where}RBM layer "{above.name}" is not on the one below it, "{below.name}": '
                f'its bottom "{above.bottom[0]}" does not come from "{below.top[0]}"'
            )
    return layers


def stage_net(net: prototxt.Message, index: int) -> prototxt.Message:
    """The net that trains RBM `index`: what it is on, and the RBMs below as they are."""
    rbms = [layer for layer in net.layer if layer.type == "RBM"]
    chosen = rbms[index]
    stage = _copy(net)
    stage.name = f"{net.name or 'DBN'}_{chosen.name}"
    del stage.layer[:]
    below = [layer for layer in layers_for(net, chosen.bottom[0]) if layer.name != chosen.name]
    for layer in below:
        layer = _copy(layer)
        if layer.type == "RBM":
            _put(layer, top=[layer.top[0]], loss_weight=[], param=_FIXED)
        stage.layer.extend([layer])
    chosen = _copy(chosen)
    _put(chosen, top=[chosen.top[0], ERROR], loss_weight=[0, 1])
    stage.layer.extend([chosen])
    unread = _unread_tops(stage.layer) - {ERROR}
    if unread:
        stage.layer.add(name="silence_unread", type="Silence", bottom=sorted(unread))
    return stage


def layers_for(net: prototxt.Message, blob: str) -> list[prototxt.Message]:
    """The layers that a blob comes from, in the order of the net."""
    wanted, found = _ancestors(net, blob), []
    for layer in net.layer:
        if wanted & set(layer.top):
            found.append(layer)
    return found


def _ancestors(net: prototxt.Message, blob: str) -> set[str]:
    """The blob and all that it comes from."""
    wanted = {blob}
    for layer in reversed(list(net.layer)):
        if wanted & set(layer.top):
            wanted |= set(layer.bottom)
    return wanted


def _unread_tops(layers: Iterable[prototxt.Message]) -> set[str]:
    tops: set[str] = set()
    for layer in layers:
        tops = (tops - set(layer.bottom)) | set(layer.top)
    return tops


def _copy(message: prototxt.Message) -> prototxt.Message:
    return message.__deepcopy__({})


def _put(layer: prototxt.Message, **fields: list) -> None:
    """Replaces repeated fields."""
    for name, values in fields.items():
        layer.ClearField(name)
        if name == "param":
            for value in values:
                layer.param.add(**value)
        else:
            getattr(layer, name).extend(values)

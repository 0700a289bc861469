"""Well-known nets, written by short Python: to read, to train, and for published weights.

>>> from pydl import zoo
>>> net = pydl.Net(zoo.load("resnet50"), "ResNet-50-model.caffemodel")
>>> print(zoo.load("googlenet", batch=32, classes=10, train=True))  # a prototxt
>>> zoo.names()[:3]
['alexnet', 'caffenet', 'zfnet']

Layers are named as in the best-known prototxt of each net, so that published weights load by name.
`pydl.zoo.table` has sizes and sources, ``docs/zoo.md`` the same as a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from pydl.errors import Error
from pydl.prototxt import Message
from pydl.zoo.builder import Builder
from pydl.zoo.sources import read_from
from pydl.zoo.table import ENTRIES, Entry

__all__ = ["Builder", "Entry", "entry", "load", "names"]


def names() -> list[str]:
    """The names of all nets, family by family."""
    return list(ENTRIES)


def entry(name: str) -> Entry:
    """What the table says of a net. "ResNet-50" and "resnet_50" name it as well as "resnet50".

    Raises Error, with the nearest name, if there is none.
    """
    wanted = _bare(name)
    by_bare_name = {_bare(known): known for known in ENTRIES}
    if wanted in by_bare_name:
        return ENTRIES[by_bare_name[wanted]]
    longer = [known for bare, known in by_bare_name.items() if wanted and bare.startswith(wanted)]
    close = longer or [by_bare_name[b] for b in get_close_matches(wanted, list(by_bare_name), 1)]
    named = " or ".join(f'"{known}"' for known in close)
    hint = f"did you mean {named}?" if close else f"there are {', '.join(names())}"
    raise Error(f'no net "{name}" in the zoo; {hint}')


def load(
    name: str,
    *,
    batch: int = 1,
    classes: int | None = None,
    train: bool = False,
    sources: Sequence[str] = (),
) -> Message:
    """A net of the zoo as a NetParameter, to build, to edit, or to print as a prototxt.

    Args:
        name: one of `names`.
        batch: items in a pass.
        classes: how many there are; the published number if not given. With another number, the
            layers that depend on it get another name, so that published weights load without them.
        train: the net that learns: labels as inputs, losses, accuracies and auxiliary classifiers
            in the place of probabilities.
        sources: of images to train on and, perhaps, to test on (as in a Data layer): such layers
            then stand in the place of the inputs, and ``pydl train`` can use the net. For nets
            that classify images.

    Raises:
        Error: no such net, numbers that are not positive, or sources for a net that has no use for
            them.

    >>> load("mobilenet_v2", classes=10).layer[-1].type
    'Softmax'
    """
    found = entry(name)
    classes = found.classes if classes is None else classes
    for what, number in (("batch", batch), ("classes", classes)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise Error(
                f"{found.name}: {what} must be a whole number of at least 1, got {number!r}"
            )
    net = Builder(
        found.title, batch=batch, classes=classes, published_classes=found.classes, train=train
    )
    net.input("data", batch, *found.input)
    getattr(import_module(f"pydl.zoo.{found.family}"), found.name)(net)
    message = net.message()
    if sources:
        if not train or found.task != "Classification":
            raise Error(
                f"{found.name}: sources are for the training form of nets that classify images"
            )
        read_from(message, sources, batch)
    return message


def _bare(name: str) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())

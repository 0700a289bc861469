"""Prototxt: Caffe's text files for nets and solvers, as messages to read, edit and write.

>>> from pydl import prototxt
>>> solver = prototxt.parse('base_lr: 0.01 lr_policy: "fixed"', "SolverParameter")
>>> solver.base_lr /= 10
>>> print(prototxt.dumps(solver), end="")
base_lr: 0.001
lr_policy: "fixed"
"""

import os
from pathlib import Path
from typing import Any

from pydl.errors import Error
from pydl.prototxt import schema, upgrade
from pydl.prototxt import text as _text
from pydl.prototxt.bind import bind
from pydl.prototxt.message import FieldError, Message
from pydl.prototxt.spec import net_spec, solver_spec
from pydl.prototxt.upgrade import upgrade_net, upgrade_solver

__all__ = [
    "FieldError",
    "Message",
    "as_message",
    "dumps",
    "is_dbn_solver",
    "is_gan_solver",
    "load",
    "load_dbn_solver",
    "load_gan_solver",
    "load_net",
    "load_solver",
    "net_spec",
    "new",
    "parse",
    "read_text",
    "solver_spec",
    "upgrade_net",
    "upgrade_solver",
]

# Fields that tell what a file is.
_MARKS = {
    "NetParameter": ("layer", "layers"),
    "SolverParameter": ("net", "train_net", "base_lr", "lr_policy", "max_iter"),
    "GanSolverParameter": ("generator", "discriminator", "generator_param", "discriminator_param"),
    "DbnSolverParameter": ("solver",),
}
_UPGRADES = {"NetParameter": upgrade.net_tree, "SolverParameter": upgrade.solver_tree}
_READERS = {
    "NetParameter": ("net", "load_net"),
    "SolverParameter": ("solver", "load_solver"),
    "GanSolverParameter": ("GAN's solver", "load_gan_solver"),
    "DbnSolverParameter": ("DBN's solver", "load_dbn_solver"),
}


def parse(text: str, message: str = "NetParameter", filename: str = "<string>") -> Message:
    """Parses prototxt and checks it against the message's schema.

    Nets and solvers of older Caffe versions come out in today's form.

    Raises Error ``filename:line:column: ...`` naming what is wrong and the nearest valid name.

    >>> parse('type: "Adam"', "SolverParameter").type
    'Adam'
    """
    if not isinstance(text, str):
        raise Error(f"parse: expected text as a str, got {type(text).__name__}")
    wanted = schema.get(message)
    tree = _text.parse(text, filename)
    _check_not_mistaken(tree, message)
    if message in _UPGRADES:
        tree = _UPGRADES[message](tree)
    return bind(tree, wanted)


def load(path: str | os.PathLike, message: str = "NetParameter") -> Message:
    """Reads a prototxt file. Raises Error naming the path if that fails, otherwise as `parse`."""
    return parse(read_text(path), message, os.fspath(path))


def load_net(path: str | os.PathLike) -> Message:
    """Reads the prototxt of a net, of any age: a NetParameter in today's form."""
    return load(path, "NetParameter")


def load_solver(path: str | os.PathLike) -> Message:
    """Reads the prototxt of a solver: a SolverParameter in today's form."""
    return load(path, "SolverParameter")


def load_gan_solver(path: str | os.PathLike) -> Message:
    """Reads the prototxt of a GAN's solver, a GanSolverParameter; see `pydl.gan`."""
    return load(path, "GanSolverParameter")


def load_dbn_solver(path: str | os.PathLike) -> Message:
    """Reads the prototxt of a DBN's solver, a DbnSolverParameter; see `pydl.DBN`."""
    return load(path, "DbnSolverParameter")


def is_gan_solver(path: str | os.PathLike) -> bool:
    """Whether the prototxt has fields that only a GAN's solver has. Raises Error as `load`."""
    return _is_marked(path, "GanSolverParameter")


def is_dbn_solver(path: str | os.PathLike) -> bool:
    """Whether the prototxt has a field that only a DBN's solver has. Raises Error as `load`."""
    return _is_marked(path, "DbnSolverParameter")


def _is_marked(path: str | os.PathLike, message: str) -> bool:
    tree = _text.parse(read_text(path), os.fspath(path))
    return any(field.name in _MARKS[message] for field in tree.fields)


def dumps(message: Message) -> str:
    """The message as prototxt that parses to an equal message.

    >>> dumps(new("NetState", phase="TRAIN", stage=["a"]))
    'phase: TRAIN\\nstage: "a"\\n'
    """
    return str(message)


def as_message(message: Any, kind: str = "NetParameter") -> Message:
    """The same message as one of pydl's: one of `pydl.caffe.proto.caffe_pb2` by way of its text.

    >>> as_message(new("NetParameter", name="lenet")).name
    'lenet'
    """
    if type(message) is Message:
        return message
    return parse(str(message), kind, filename=kind)


def new(message: str, /, **fields: Any) -> Message:
    """A new message, such as ``new("NetParameter", name="lenet")``."""
    return Message(message, **fields)


def read_text(path: str | os.PathLike) -> str:
    """A prototxt file's text. Raises Error naming the path if it is missing or not text."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise Error(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Error(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Error(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8 text; a prototxt is "
            "text, weights are in .caffemodel files"
        ) from None


def _check_not_mistaken(tree: _text.Node, message: str) -> None:
    """Says so where a net is read as a solver or the other way round."""
    if message not in _MARKS or any(f.name in _MARKS[message] for f in tree.fields):
        return
    kind, _ = _READERS[message]
    for other, marks in _MARKS.items():
        for field in (f for f in tree.fields if f.name in marks):
            found, use = _READERS[other]
            field.fail(
                f'this is a {found}, not a {kind}: it has "{field.name}"; '
                f"read it with pydl.prototxt.{use}"
            )

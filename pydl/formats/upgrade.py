"""Files of older Caffe versions, rewritten in today's form: what Caffe's ``upgrade_*`` tools do.

pydl reads old files as they are; this is for other programs, and for people who edit them.
"""

from __future__ import annotations

import os

from pydl import prototxt
from pydl.formats import caffemodel, messages, wire
from pydl.formats.atomic import atomic_write
from pydl.formats.files import reading
from pydl.formats.wire import Span
from pydl.prototxt import Message, proto_file, text, upgrade

Path = str | os.PathLike


def upgrade_net_text(source: Path, target: Path) -> bool:
    """Reads a net's prototxt of any age, writes it as Caffe's ``upgrade_net_proto_text`` does.

    Returns whether there was anything to upgrade; the file is written in any case.

    Raises:
        Error: ``file:line:column: ...`` for what is wrong with the source, or the target cannot be
            written.
    """
    return _upgrade_text(source, target, "NetParameter")


def upgrade_solver_text(source: Path, target: Path) -> bool:
    """The same for a solver's prototxt: ``solver_type: ADAM`` becomes ``type: "Adam"``."""
    return _upgrade_text(source, target, "SolverParameter")


def upgrade_net_binary(source: Path, target: Path) -> bool:
    """Rewrites a ``.caffemodel`` of any age as Caffe's ``upgrade_net_proto_binary`` does.

    Weights stay in the form they have, old 4-axis shapes among them. What only a fork of Caffe
    knows is kept, except for fields beside those of a V0 or V1 layer. Returns whether there was
    anything to upgrade.

    Raises:
        Error: the source is truncated, damaged or something else, or the target cannot be written.
    """
    with reading(source, caffemodel.EXPECTED) as view:
        net = Message(proto_file.with_opaque_blobs("NetParameter"))
        span = Span(view, os.fspath(source), caffemodel.EXPECTED)
        messages.merge(span, net, copy=False)
        if not net.layer and not net.layers:
            raise span.error(span.start, "no layers")
        if not net.input_dim and not net.input_shape:
            net.ClearField("input")  # old snapshots name the inputs without their sizes
        is_old = upgrade.net_is_old(net)
        chunks = messages.chunks(upgrade.upgrade_net(net))
    with atomic_write(target) as file:
        wire.write(file, chunks)
    return is_old


def _upgrade_text(source: Path, target: Path, kind: str) -> bool:
    is_old = upgrade.tree_is_old(text.parse(prototxt.read_text(source), os.fspath(source)))
    upgraded = prototxt.dumps(prototxt.load(source, kind)).encode()
    with atomic_write(target) as file:
        file.write(upgraded)
    return is_old

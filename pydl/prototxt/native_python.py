"""Python layers of well-known programs that pydl has natively.

py-faster-rcnn and R-FCN write parts of their nets in Python; a net that names those classes gets
pydl's own layers in their place, and runs without the programs and without leave to run code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydl.errors import Error
from pydl.prototxt.names import nearest


@dataclass(frozen=True)
class Native:
    """A layer type of pydl's; `fields` maps keys of a param_str to fields of `param`."""

    type: str
    param: str
    fields: Mapping[str, str]


_ANCHORS = {"feat_stride": "feat_stride", "scales": "scale", "ratios": "ratio",
            "base_size": "base_size"}  # fmt: skip
# (module, class) -> what it is here
NATIVE = {
    ("rpn.proposal_layer", "ProposalLayer"): Native("Proposal", "proposal_param", _ANCHORS),
    ("rpn.anchor_target_layer", "AnchorTargetLayer"): Native(
        "AnchorTarget", "anchor_target_param", _ANCHORS | {"allowed_border": "allowed_border"}
    ),
    ("rpn.proposal_target_layer", "ProposalTargetLayer"): Native(
        "ProposalTarget", "proposal_target_param", {"num_classes": "num_classes"}
    ),
}

_PAIR = re.compile(
    r"""\s*(?P<quote>['"]?)(?P<key>\w+)(?P=quote)\s*:\s*(?:!!\S+\s+)?"""
    r"""(?P<value>\[[^\]]*\]|\([^)]*\)|[^,;\n{}]+?)\s*(?:[,;\n]|$)""",
    re.VERBOSE,
)


def native_layer(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer as plain data, or the native one in the place of a class that pydl knows.

    Raises Error, with the layer's place, for a param_str that cannot be read.

    >>> native_layer({"name": "rois", "type": "Python", "params": {"python_param": {
    ...     "module": "rpn.proposal_layer", "layer": "ProposalLayer",
    ...     "param_str": "'feat_stride': 8"}}})
    {'name': 'rois', 'type': 'Proposal', 'params': {'proposal_param': {'feat_stride': 8}}}
    """
    given = layer["params"].get("python_param", {})
    native = NATIVE.get((given.get("module"), given.get("layer")))
    if layer["type"] != "Python" or native is None:
        return layer
    try:
        params = _fields(native, read_param_str(given.get("param_str", "")))
    except Error as error:
        where = f"{layer['where']}: " if layer.get("where") else ""
        raise Error(f'{where}layer "{layer["name"]}" (Python): param_str: {error}') from None
    others = {k: v for k, v in layer["params"].items() if k != "python_param"}
    return {**layer, "type": native.type, "params": {**others, native.param: params}}


def _fields(native: Native, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {}
    for key, value in values.items():
        if key not in native.fields:
            close = nearest(key, native.fields)
            hint = f'did you mean "{close}"?' if close else f"known: {', '.join(native.fields)}"
            raise Error(f'unknown key "{key}"; {hint}')
        fields[native.fields[key]] = value
    # R-FCN's class-agnostic regression says two classes, whatever the labels.
    if fields.get("num_classes") == 2:
        fields["class_agnostic"] = True
    return fields


def read_param_str(text: str) -> dict[str, Any]:
    """The numbers and lists of numbers that a param_str gives in YAML, in braces or one a line.

    >>> read_param_str("{'feat_stride': 16, 'scales': [8, 16]}")
    {'feat_stride': 16, 'scales': [8, 16]}
    """
    values: dict[str, Any] = {}
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise Error(f"cannot read {text[position:]!r}; write it like 'feat_stride': 16")
        values[pair["key"]] = _number(pair["value"])
        position = pair.end()
    return values


def _number(text: str) -> Any:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        raise Error(f"{text.strip()!r} is no number and no list of numbers") from None
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        raise Error(f"{text.strip()!r} is no number and no list of numbers")
    return items if isinstance(value, list | tuple) else value

"""Python layers of well-known programs that pydl has natively.

py-faster-rcnn and R-FCN write parts of their nets in Python; a net that names those classes gets
pydl's own layers in their place, and runs without the programs and without leave to run code. What
their RoIDataLayer would read becomes inputs, which the user fills; where its module can be
imported, it is used.
"""

from __future__ import annotations

import ast
import importlib.util
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

_ROI_DATA = ("roi_data_layer.layer", "RoIDataLayer")
_BOX_TARGETS = ("bbox_targets", "bbox_inside_weights", "bbox_outside_weights")

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
    what = given.get("module"), given.get("layer")
    if layer["type"] != "Python" or (what not in NATIVE and not _is_absent_roi_data(what)):
        return layer
    try:
        values = read_param_str(given.get("param_str", ""))
        if what in NATIVE:
            native = NATIVE[what]
            kind, name, params = native.type, native.param, _fields(native, values)
        else:
            kind, name, params = "Input", "input_param", _roi_inputs(layer["top"], values)
    except Error as error:
        where = f"{layer['where']}: " if layer.get("where") else ""
        raise Error(f'{where}layer "{layer["name"]}" (Python): param_str: {error}') from None
    others = {k: v for k, v in layer["params"].items() if k != "python_param"}
    return {**layer, "type": kind, "params": {**others, name: params}}


def _is_absent_roi_data(what: tuple[Any, Any]) -> bool:
    return what == _ROI_DATA and importlib.util.find_spec("roi_data_layer") is None


def _roi_inputs(tops: list[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes to begin with, as py-faster-rcnn's layer has them: pictures of its largest size, and
    one row each of boxes and regions."""
    pictures = 1 if "im_info" in tops else 2
    shapes = {"data": [pictures, 3, 600, 1000], "im_info": [1, 3], "gt_boxes": [1, 5],
              "rois": [1, 5], "labels": [1]}  # fmt: skip
    if any(top in _BOX_TARGETS for top in tops):
        if not isinstance(values.get("num_classes"), int) or values["num_classes"] < 1:
            raise Error("num_classes must be given and positive: the tops with targets of boxes "
                        "have four columns for each class")  # fmt: skip
        shapes |= {name: [1, 4 * values["num_classes"]] for name in _BOX_TARGETS}
    for top in tops:
        if top not in shapes:
            known = ", ".join([*shapes, *(name for name in _BOX_TARGETS if name not in shapes)])
            raise Error(f'RoIDataLayer has no top "{top}"; it has {known}')
    return {"shape": [{"dim": shapes[top]} for top in tops]}


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

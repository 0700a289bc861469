"""Which function writes which layer type: each registers itself with ``@exports("Type")``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from pydl.onnx.graph import Graph
from pydl.onnx.layer import Layer

Exporter = Callable[[Graph, Layer], None]

_FILES = (
    "activations", "arithmetic", "attention", "convolution", "detection", "inputs", "losses",
    "normalisation", "pooling", "recurrent", "reductions", "rois", "selection", "shapes",
)  # fmt: skip
_table: dict[str, Exporter] = {}

# Why a layer that pydl can run has no ONNX form.
_IN_PARTS = "ONNX has no operator for it; export the net in parts"
_TRAINING = "it is for training; export the net in phase TEST, or leave it out"
REFUSED = {
    "AnchorTarget": _TRAINING,
    "BoxAnnotatorOHEM": _TRAINING,
    "ContinuationIndicator": "its values depend on the batch; make them an input of the net",
    "Correlation": _IN_PARTS,
    "CosineEmbeddingLoss": _TRAINING,
    "CtcLoss": _TRAINING,
    "DetectionEvaluate": "it scores a test; leave it out of the net to export",
    "FlowWarp": _IN_PARTS,
    "FocalLoss": _TRAINING,
    "GaussianKLLoss": _TRAINING,
    "HDF5Output": "it writes a file; leave it out of the net to export",
    "HuberLoss": _TRAINING,
    "KLDivLoss": _TRAINING,
    "L1Loss": _TRAINING,
    "LabelsequenceAccuracy": "it scores a test; leave it out of the net to export",
    "Lstm": "write it as an LSTM layer, which has an ONNX form",
    "Mixup": "it mixes batches in training; give the net its bottom",
    "MultiBoxLoss": "it matches boxes; export the net without its loss",
    "NegativeSamplingLoss": _TRAINING,
    "NMS": "how many boxes it keeps depends on them; export the net in front of it",
    "Proposal": "ONNX has no suppression of boxes in whole pixels; export the net in parts",
    "ProposalTarget": _TRAINING,
    "PSROIPooling": _IN_PARTS,
    "Python": "its code is Python; replace it by layers, or leave it out of the net to export",
    "RBM": "it learns by itself; write it as InnerProduct and Sigmoid, as pydl.dbn unrolls it",
    "Region": _IN_PARTS,
    "RegionLoss": _TRAINING,
    "Resample": _IN_PARTS,
    "Reverse": _IN_PARTS,
    "SmoothL1LossOHEM": _TRAINING,
    "SoftmaxWithLossOHEM": _TRAINING,
    "SparsityPenalty": _TRAINING,
    "TotalVariationLoss": _TRAINING,
    "TripletLoss": _TRAINING,
    "WarpCTCLoss": _TRAINING,
}


def exports(*types: str) -> Callable[[Exporter], Exporter]:
    """Registers a function for layer types."""

    def register(function: Exporter) -> Exporter:
        _table.update(dict.fromkeys(types, function))
        return function

    return register


def exporters() -> dict[str, Exporter]:
    """Layer type -> the function that writes it."""
    for name in _FILES:
        import_module(f"pydl.onnx.{name}")
    return _table

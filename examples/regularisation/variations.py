"""What is tried: for each method the few lines by which the net or its solver differ.

A new one is a line in VARIATIONS.
"""

from dataclasses import dataclass, field


@dataclass
class Variation:
    """What to change in digits.prototxt and solver.prototxt."""

    solver: dict = field(default_factory=dict)  # fields of the solver
    layers: dict = field(default_factory=dict)  # a layer's name -> fields of it
    transform: dict = field(default_factory=dict)  # of the training data's transform_param
    before: dict = field(default_factory=dict)  # a layer's name -> layers that change its bottom
    margin: int = 0  # pixels around the training pictures, for crops to be shifts


def dropout(ratio, **fields):
    return {"type": "Dropout", "dropout_param": {"dropout_ratio": ratio, **fields}}


def noise(std):
    return {"type": "Noise", "noise_param": {"std": std}}


DISTORTIONS = {"rotation": 10, "shear": 10, "scale_min": 0.9, "scale_max": 1.1, "translation": 0.07}
BATCH_NORM = (
    {"type": "BatchNorm", "batch_norm_param": {"moving_average_fraction": 0.95}},
    {"type": "Scale", "scale_param": {"bias_term": True}},
)

VARIATIONS = {
    "none": Variation(),
    "L2": Variation(solver={"weight_decay": 0.01}),
    "L1": Variation(solver={"weight_decay": 0.001, "regularization_type": "L1"}),
    "elastic net": Variation(
        solver={"weight_decay": 0.003, "regularization_type": "ElasticNet", "l1_ratio": 0.2}
    ),
    "max-norm": Variation(layers={"fc3": {"param": [{"max_norm": 1}]}}),
    "dropout": Variation(before={"score": [dropout(0.5)]}),
    "dropout of weights": Variation(layers={"fc3": {"param": [{"dropout_ratio": 0.2}]}}),
    "spatial dropout": Variation(before={"conv2": [dropout(0.2, shared_axis=[2, 3])]}),
    "noise on inputs": Variation(before={"conv1": [noise(0.2)]}),
    "noise on hidden units": Variation(before={"fc3": [noise(0.5)], "score": [noise(0.5)]}),
    "noise on weights": Variation(layers={"fc3": {"param": [{"noise": 0.02}]}}),
    "batch normalisation": Variation(before={"pool1": BATCH_NORM, "pool2": BATCH_NORM}),
    "early stopping": Variation(solver={"early_stop_patience": 5, "monitor": "loss"}),
    "label smoothing": Variation(layers={"loss": {"loss_param": {"label_smoothing": 0.2}}}),
    "clipped gradients": Variation(solver={"clip_gradients": 0.5}),
    "shifts": Variation(transform={"crop_size": 28}, margin=2),
    "distortions": Variation(transform={"augment": DISTORTIONS}),
    "distortions, dropout, L2": Variation(
        transform={"augment": DISTORTIONS},
        before={"score": [dropout(0.5)]},
        solver={"weight_decay": 0.003},
    ),
}

"""What the two sides of a GAN minimise, as functions of the discriminator's scores (logits).

Each function takes scores of any shape and returns the losses and their derivatives, of each score.
The discriminator minimises the mean of `real` over real samples and of `fake` over made ones, the
generator the mean of `made` over the samples it made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Scores = np.ndarray
Term = Callable[[Scores], tuple[Scores, Scores]]


class Objective(NamedTuple):
    """The three losses of a game."""

    real: Term
    fake: Term
    made: Term


def _says_real(s: Scores) -> tuple[Scores, Scores]:
    """-log sigmoid(s): small where s says that a sample is real."""
    return np.logaddexp(0, -s), -1 / (1 + np.exp(np.minimum(s, 80)))


def _says_fake(s: Scores) -> tuple[Scores, Scores]:
    loss, slope = _says_real(-s)
    return loss, -slope


def _negative(term: Term) -> Term:
    def negative(s: Scores) -> tuple[Scores, Scores]:
        loss, slope = term(s)
        return -loss, -slope

    return negative


def _near(target: float) -> Term:
    return lambda s: ((s - target) ** 2 / 2, s - target)


def _slope(sign: float) -> Term:
    return lambda s: (sign * s, np.full_like(s, sign))


def _hinge(sign: float) -> Term:
    return lambda s: (np.maximum(0, 1 + sign * s), np.where(1 + sign * s > 0, sign, 0))


OBJECTIVES = {
    # Goodfellow et al. 2014: the generator raises the score rather than lower its rejection.
    "NON_SATURATING": Objective(_says_real, _says_fake, _says_real),
    "MINIMAX": Objective(_says_real, _says_fake, _negative(_says_fake)),
    "LEAST_SQUARES": Objective(_near(1), _near(0), _near(1)),  # Mao et al. 2017, arXiv:1611.04076
    "WASSERSTEIN": Objective(_slope(-1), _slope(1), _slope(-1)),  # arXiv:1701.07875
    "HINGE": Objective(_hinge(-1), _hinge(1), _slope(-1)),  # Lim & Ye 2017, arXiv:1705.02894
}


def mean(term: Term, scores: Scores) -> tuple[float, Scores]:
    """The mean loss over all scores, and its gradient: float32 as the scores."""
    losses, slopes = term(scores.astype(np.float64))
    return float(losses.mean()), (slopes / scores.size).astype(np.float32)

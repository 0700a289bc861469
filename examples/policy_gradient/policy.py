"""What the programs of this folder share: a policy is the softmax of a net's scores."""

import numpy as np


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
    return powers / powers.sum(axis=1, keepdims=True)


def sample(probabilities, random):
    """An action (N,) by each row of (N, actions)."""
    steps = probabilities.cumsum(axis=1)[:, :-1]
    return (steps < random.random((len(probabilities), 1))).sum(axis=1)


def gradient(probabilities, actions, weights):
    """Of -mean(weight · log π(action)) with respect to the scores: probabilities less a 1 for the
    action taken, times the weight. Each step makes actions of positive weight more probable."""
    taken = np.eye(probabilities.shape[1])[actions]
    return weights[:, np.newaxis] * (probabilities - taken) / len(actions)


def entropy_gradient(probabilities):
    """Of the mean entropy -Σ π log π with respect to the scores."""
    logarithms = np.log(np.maximum(probabilities, 1e-30))
    entropy = -(probabilities * logarithms).sum(axis=1, keepdims=True)
    return -probabilities * (logarithms + entropy) / len(probabilities)

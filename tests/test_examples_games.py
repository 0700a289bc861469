"""examples/policy_gradient and dqn: a few steps of each, and the formulas that they rest on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from example_runs import are_pictures, run_example

ROWS, ACTIONS = 5, 3


def numeric_gradient(function, scores, step=1e-5):
    result = np.empty_like(scores)
    for at in np.ndindex(scores.shape):
        ends = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[at] += sign * step
            ends.append(function(moved))
        result[at] = (ends[0] - ends[1]) / (2 * step)
    return result


def test_gradients_of_policy_and_entropy(module):
    policy = module("policy_gradient", "policy")
    random = np.random.default_rng(1)
    scores, weights = random.normal(size=(ROWS, ACTIONS)), random.normal(size=ROWS)
    actions = random.integers(0, ACTIONS, ROWS)

    def loss(scores):
        taken = policy.softmax(scores)[np.arange(ROWS), actions]
        return -(weights * np.log(taken)).mean()

    def entropy(scores):
        p = policy.softmax(scores)
        return -(p * np.log(p)).sum(axis=1).mean()

    p = policy.softmax(scores)
    got = policy.gradient(p, actions, weights)
    np.testing.assert_allclose(got, numeric_gradient(loss, scores), atol=1e-8)
    got = policy.entropy_gradient(p)
    np.testing.assert_allclose(got, numeric_gradient(entropy, scores), atol=1e-8)


def test_actions_are_drawn_by_their_probabilities(module):
    policy, wanted = module("policy_gradient", "policy"), np.array([0.2, 0, 0.5, 0.3])
    drawn = policy.sample(np.tile(wanted, (20_000, 1)), np.random.default_rng(2))
    share = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(share, wanted, atol=0.015)
    assert share[1] == 0


def test_returns_of_cartpole(module):
    cartpole = module("policy_gradient", "cartpole")
    want = [sum(cartpole.DISCOUNT**k for k in range(4 - t)) for t in range(4)]
    got = cartpole.discounted([1.0] * 4)
    np.testing.assert_allclose(got / (1 - cartpole.DISCOUNT), want)
    lengths = [100] * 60 + [500] * 140
    assert cartpole.solved_after(lengths) == 154  # 6 of 100, 94 of 500: 476
    assert cartpole.solved_after([500] * 50) is None and cartpole.solved_after([400] * 200) is None


def test_advantages_of_pong(module):
    """By the definition, a sum of surprises up to the point; what follows a point is not seen."""
    pong = module("policy_gradient", "pong")
    random = np.random.default_rng(3)
    rewards, values = np.zeros((6, 2), np.int32), random.normal(size=(7, 2))  # as of the console
    rewards[2, 0], rewards[4, 1] = 1, -1
    got = pong.advantages(rewards, values)
    for game, point in ((0, 2), (1, 4)):
        for t in range(6):
            end = point if t <= point else 5
            want = 0
            for k in range(t, end + 1):
                after = 0 if k == point else values[k + 1, game]
                surprise = rewards[k, game] + pong.DISCOUNT * after - values[k, game]
                want += (pong.DISCOUNT * pong.TRACE) ** (k - t) * surprise
            assert got[t, game] == pytest.approx(want)


def test_clipped_weights_of_pong(module):
    """Only actions that are already as probable as they should be do not count."""
    pong = module("policy_gradient", "pong")
    pong.BATCH = 4
    zeros = np.zeros(4)
    part = pong.Played(zeros, zeros.astype(int), np.full(4, 0.5), np.array([1.0, 1, -1, -1]), zeros)
    now = np.array([0.6, 0.4, 0.6, 0.4])
    weights = pong.clipped(np.stack([now, 1 - now], axis=1), part)
    np.testing.assert_allclose(weights, [0, 0.8, -1.2, 0], rtol=1e-6)


def test_replay_holds_the_last_steps(module):
    dqn = module("dqn", "dqn")
    replay = dqn.Replay(40, (2, 3))
    for i in range(100):
        picture = np.full((2, 3), i % 2)
        replay.add(picture, i, i / 10, 1 - picture, i % 10 == 0)
    seen, actions, rewards, after, over = replay.draw(np.random.default_rng(4))
    assert len(actions) == dqn.BATCH and actions.min() >= 60 and len(set(actions)) > 10
    np.testing.assert_array_equal(seen[:, 0, 0], actions % 2 == 1)
    np.testing.assert_array_equal(after, ~seen)
    np.testing.assert_allclose(rewards, actions / 10)
    np.testing.assert_array_equal(over, actions % 10 == 0)


def test_q_learning_step(module):
    """Q of what was done goes to the reward and the discounted best after it; nothing else is
    asked for."""
    dqn = module("dqn", "dqn")
    message = dqn.pydl.prototxt.new(
        "SolverParameter", net=str(dqn.NET), type="Adam", base_lr=0.001, lr_policy="fixed",
        random_seed=1, momentum=0.9,
    )  # fmt: skip
    solver, target = dqn.pydl.Solver(message), dqn.pydl.Net(dqn.NET)
    random = np.random.default_rng(5)
    seen, after = random.random((2, dqn.BATCH, 4, 10, 10)) < 0.2
    actions, rewards = random.integers(0, 3, dqn.BATCH), random.integers(0, 2, dqn.BATCH)
    over = np.arange(dqn.BATCH) % 2 == 0
    best = target.forward(data=after)["q"].max(axis=1)
    want = rewards + np.where(over, 0, dqn.DISCOUNT * best)
    for _ in range(300):
        dqn.learn(solver, target, seen, actions, rewards, after, over)
    got = solver.test_twin().forward(data=seen)["q"][np.arange(dqn.BATCH), actions]
    np.testing.assert_allclose(got, want, atol=0.05)


def test_cartpole(tmp_path):
    pytest.importorskip("gymnasium", reason="the example plays in gymnasium")
    flags = ("--episodes", "60", "--seeds", "1", "--tests", "2")
    shown = run_example("policy_gradient/cartpole.py", tmp_path, *flags)
    assert len(re.findall(r"solved after \[None\] episodes, \[ *[\d.]+\] steps", shown)) == 3
    assert are_pictures(tmp_path, "cartpole.png", "cartpole_curves.png")
    assert (tmp_path / "cartpole.caffemodel").exists()


def test_pong(tmp_path):
    pytest.importorskip("ale_py.vector_env", reason="the example plays Atari's Pong")
    shown = run_example("policy_gradient/pong.py", tmp_path, "--steps", "2048")
    assert re.search(r"step 2048, \d+ s: score ", shown)
    assert are_pictures(tmp_path, "pong.png", "pong_scores.png")
    assert (tmp_path / "pong.caffemodel").exists()


def test_dqn(tmp_path):
    pytest.importorskip("minatar", reason="the example plays MinAtar's Breakout")
    shown = run_example("dqn/dqn.py", tmp_path, "--steps", "1000", "--seeds", "1")
    points = re.findall(r"([\w ]+): ([\d.]+) points in the last 100 games", shown)
    assert [name for name, _ in points] == ["DQN", "no target net", "no replay"]
    assert are_pictures(tmp_path, "dqn.png", "dqn_curves.png")
    assert (tmp_path / "dqn.caffemodel").exists()

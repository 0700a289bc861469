"""An actor and its critic learn Pong from pixels, by PPO (Schulman et al. 2017).

It needs ale-py with gymnasium, and matplotlib for the pictures.

python examples/policy_gradient/pong.py [--steps N]
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pictures import draw_attention, draw_scores
from policy import entropy_gradient, gradient, sample, softmax

import pydl

NET = Path(__file__).with_name("pong.prototxt")
GAMES, STEPS = 16, 128  # games at a time, and steps in each between updates
PASSES, BATCH = 3, 512  # over what was played
DISCOUNT, TRACE = 0.99, 0.95  # gamma and lambda
CLIP = 0.1  # how far a probability may move, as a share of what it was
ENTROPY, CRITIC = 0.01, 0.5  # weights of the policy's entropy and of the critic's loss
ACTIONS = np.array([0, 2, 3])  # of the console's: stay, up, down
BACKGROUND = 87


class Pong:
    """Games of Pong as a net sees them: where something is on the field, in this frame and in the
    one before, four frames of the console ago."""

    def __init__(self, games, seed):
        try:
            from ale_py.vector_env import AtariVectorEnv
        except ImportError:
            raise SystemExit(
                "this example plays Atari's Pong: pip install ale-py gymnasium"
            ) from None
        self._games = AtariVectorEnv(
            "pong",
            games,
            num_threads=1,
            img_height=105,
            img_width=80,
            stack_num=2,
            maxpool=False,
            autoreset_mode="SameStep",
        )
        frames, _ = self._games.reset(seed=seed)
        self.seen = self._field(frames)  # (games, 2, 80, 80)
        self.scores = []  # of games that ended, -21 to 21
        self._running = np.zeros(games)

    def step(self, actions):
        """Rewards (games,) of the next step: 1 for a point won, -1 for one lost."""
        frames, rewards, ended, cut, _ = self._games.step(ACTIONS[actions])  # rewards: int32
        self.seen = self._field(frames)
        self._running += rewards
        over = ended | cut
        self.scores += list(self._running[over])
        self._running[over] = 0
        return rewards

    @staticmethod
    def _field(frames):
        """Without the score above and the border below."""
        return (frames[:, :, 17:97] != BACKGROUND).astype(np.float32)


class Played(NamedTuple):
    """Of each game and step, as rows."""

    seen: np.ndarray  # (rows, 2, 80, 80)
    actions: np.ndarray
    probabilities: np.ndarray  # of the actions, when they were taken
    advantages: np.ndarray
    returns: np.ndarray


def play(games, actor, random):
    """The next steps of all games."""
    seen, actions, probabilities, values, rewards = [], [], [], [], []
    for _ in range(STEPS):
        out = actor.forward(data=games.seen)
        policy = softmax(out["policy"])
        seen.append(games.seen)
        actions.append(sample(policy, random))
        probabilities.append(np.take_along_axis(policy, actions[-1][:, np.newaxis], 1)[:, 0])
        values.append(out["value"][:, 0])
        rewards.append(games.step(actions[-1]))
    values.append(actor.forward(data=games.seen)["value"][:, 0])
    gained = advantages(np.array(rewards), np.array(values))
    parts = seen, actions, probabilities, gained, gained + values[:-1]
    return Played(*(np.concatenate(part) for part in parts))


def advantages(rewards, values):
    """How much better than the critic thought each step was: generalised advantage estimation
    (Schulman et al. 2016). rewards (T, games), values (T + 1, games). A point ends a rally, and
    what follows is not its merit."""
    result, last = np.zeros(rewards.shape), 0
    for t in reversed(range(len(rewards))):
        goes_on = rewards[t] == 0
        surprise = rewards[t] + DISCOUNT * goes_on * values[t + 1] - values[t]
        last = surprise + DISCOUNT * TRACE * goes_on * last
        result[t] = last
    return result


def learn(solver, played, random):
    net, rows = solver.net, len(played.actions)
    for _ in range(PASSES):
        for chosen in random.permutation(rows).reshape(-1, BATCH):
            part = Played(*(values[chosen] for values in played))
            out = net.forward(data=part.seen)
            policy = softmax(out["policy"])
            net.clear_param_diffs()
            net.backward(
                policy=gradient(policy, part.actions, clipped(policy, part))
                - ENTROPY * entropy_gradient(policy),
                value=CRITIC * (out["value"] - part.returns[:, np.newaxis]) / BATCH,
            )
            solver.update()


def clipped(policy, part):
    """Weights of the actions: their advantages times how much more probable they are by now, but 0
    for those that are so already by more than a share of CLIP."""
    gain = (part.advantages - part.advantages.mean()) / (part.advantages.std() + 1e-8)
    ratio = policy[np.arange(BATCH), part.actions] / part.probabilities
    far = np.where(gain > 0, ratio > 1 + CLIP, ratio < 1 - CLIP)
    return np.where(far, 0, gain * ratio)


def train(steps, seed):
    """The net, and of the course: steps, seconds and the mean score of games that ended since."""
    rounds = max(1, steps // (GAMES * STEPS))
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net=str(NET),
            type="Adam",
            base_lr=5e-4,
            momentum=0.9,
            delta=1e-5,
            clip_gradients=0.5,
            lr_policy="poly",
            power=1,
            max_iter=rounds * PASSES * GAMES * STEPS // BATCH,
            random_seed=seed,
        )
    )
    actor, random = solver.test_twin(), np.random.default_rng(seed)
    games, course, counted, start = Pong(GAMES, seed), [], 0, time.process_time()
    for i in range(1, rounds + 1):
        learn(solver, play(games, actor, random), random)
        if len(games.scores) - counted >= 2 * GAMES or i == rounds:
            score = np.mean(games.scores[counted:]) if games.scores[counted:] else np.nan
            course.append((i * GAMES * STEPS, time.process_time() - start, score))
            counted = len(games.scores)
            print("step {}, {:.0f} s: score {:.1f}".format(*course[-1]), flush=True)
    return solver.net, course


def attention(net, seen):
    """How much each pixel (N, 80, 80) counts in the choice: the gradient of the best action's score
    less the mean, with respect to the frames."""
    scores = net.forward(data=seen)["policy"]
    best = np.eye(len(ACTIONS))[scores.argmax(axis=1)]
    net.backward(policy=best - 1 / len(ACTIONS))
    return np.abs(net.blobs["data"].diff).sum(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_200_000, help="of all games (1,200,000)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    net, course = train(args.steps, args.seed)
    net.save("pong.caffemodel")
    draw_scores("pong_scores.png", course)

    message = pydl.prototxt.load_net(NET)
    message.force_backward = True  # down to the frames
    viewer, games = pydl.Net(message, "pong.caffemodel"), Pong(1, seed=args.seed + 1)
    seen = []
    for _ in range(400):
        games.step(viewer.forward(data=games.seen)["policy"].argmax(axis=1))
        seen.append(games.seen[0])
    seen = np.array(seen[100::50])
    draw_attention("pong.png", seen[:, -1], attention(viewer, seen))
    print("pong_scores.png: the scores of games while learning; pong.png: what the net looks at")


if __name__ == "__main__":
    main()

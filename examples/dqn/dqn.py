"""A deep Q-network (Mnih et al. 2015) learns a small Breakout from pictures.

Then it does without its target net, and without its replay memory. It needs minatar, and matplotlib
for the pictures.

python examples/dqn/dqn.py [--steps N] [--seeds N]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from pictures import draw_curves, draw_game

import pydl

NET = Path(__file__).with_name("dqn.prototxt")
ACTIONS = (0, 1, 3)  # of MinAtar's: stay, left, right
BATCH, DISCOUNT = 32, 0.99
EVERY = 2  # steps to an update
COPY = 500  # updates from one target net to the next
EXPLORE, LEAST = 50_000, 0.05  # steps until so large a share of the actions is random

# How many of the last steps are learned from, and how many updates a target net lasts.
KINDS = {"DQN": (100_000, COPY), "no target net": (100_000, 1), "no replay": (BATCH, COPY)}


class Breakout:
    """MinAtar's Breakout (Young and Tian 2019): pictures (4, 10, 10) of paddle, ball, the ball's
    trail and bricks; a point for each brick; over when the ball is missed."""

    def __init__(self, seed):
        try:
            from minatar import Environment
        except ImportError:
            raise SystemExit("this example plays MinAtar's games: pip install minatar") from None
        self._game = Environment("breakout")
        self._game.seed(seed)
        self.reset()

    def reset(self):
        self._game.reset()
        self.score = 0
        self._look()

    def step(self, action):
        """Reward, and whether the game is over."""
        reward, over = self._game.act(ACTIONS[action])
        self.score += reward
        self._look()
        return reward, over

    def _look(self):
        self.seen = self._game.state().transpose(2, 0, 1)


class Replay:
    """The last `size` steps."""

    def __init__(self, size, shape):
        self.count = 0
        self._seen, self._next = np.zeros((2, size, *shape), bool)
        self._actions, self._rewards = np.zeros(size, int), np.zeros(size)
        self._over = np.zeros(size, bool)

    def add(self, *step):
        at = self.count % len(self._actions)
        for values, value in zip(self._values(), step, strict=True):
            values[at] = value
        self.count += 1

    def draw(self, random):
        chosen = random.integers(0, min(self.count, len(self._actions)), BATCH)
        return [values[chosen] for values in self._values()]

    def _values(self):
        return self._seen, self._actions, self._rewards, self._next, self._over


def train(steps, seed, memory, copy):
    """The net, and the number of steps at the end of each game with its score."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net=str(NET),
            type="Adam",
            base_lr=5e-4,
            momentum=0.9,
            lr_policy="fixed",
            random_seed=seed,
        )
    )
    player, target = solver.test_twin(), pydl.Net(NET)
    target.load(solver.net)
    game, random, scores = Breakout(seed), np.random.default_rng(seed), []
    replay = Replay(memory, game.seen.shape)
    for step in range(steps):
        seen = game.seen
        if random.random() < max(LEAST, 1 - (1 - LEAST) * step / EXPLORE):
            action = random.integers(len(ACTIONS))
        else:
            action = best_action(player, seen)
        reward, over = game.step(action)
        replay.add(seen, action, reward, game.seen, over)
        if over:
            scores.append((step, game.score))
            game.reset()
        if replay.count >= BATCH and step % EVERY == 0:
            learn(solver, target, *replay.draw(random))
            if solver.iter % copy == 0:
                target.load(solver.net)
    return player, np.array(scores)


def learn(solver, target, seen, actions, rewards, after, over):
    """Brings Q of what was done nearer to the reward and the best that is expected after it."""
    expected = target.forward(data=after)["q"].max(axis=1)
    inputs = solver.net.blobs
    inputs["data"].data[...] = seen
    inputs["target"].data[...] = (rewards + DISCOUNT * expected * ~over)[:, np.newaxis]
    inputs["taken"].data[...] = np.eye(len(ACTIONS))[actions]
    solver.step()


def best_action(net, seen):
    return net.forward(data=seen[np.newaxis])["q"][0].argmax()


def watch(net, seed, steps=2000):
    """A game with the net's best actions: pictures (T, 4, 10, 10), and Q (T, 3)."""
    game, seen, over = Breakout(seed), [], False
    while not over and len(seen) < steps:
        seen.append(game.seen)
        _, over = game.step(best_action(net, game.seen))
    return np.array(seen), net.predict(np.array(seen)), game.score


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000, help="of each run (200,000)")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind (2)")
    args = parser.parse_args()
    runs, nets = {}, {}
    for name, (memory, copy) in KINDS.items():
        start, runs[name] = time.process_time(), []
        for seed in range(1, args.seeds + 1):
            nets[name], scores = train(args.steps, seed, memory, copy)
            runs[name].append(scores)
        last = ", ".join(f"{scores[-100:, 1].mean():.1f}" for scores in runs[name])
        print(f"{name}: {last} points in the last 100 games, "
              f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip
    nets["DQN"].save("dqn.caffemodel")
    draw_curves("dqn_curves.png", runs, args.steps)
    draw_game("dqn.png", *watch(nets["DQN"], seed=100))
    print("dqn_curves.png: points of games while learning; dqn.png: a game, and what Q says")


if __name__ == "__main__":
    main()

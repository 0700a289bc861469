"""REINFORCE (Williams 1992) learns to balance a pole, with three weights for what was done.

It needs gymnasium, and matplotlib for the pictures.

python examples/policy_gradient/cartpole.py [--episodes N] [--seeds N]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from pictures import draw_balance, draw_curves
from policy import gradient, sample, softmax

import pydl

NET = Path(__file__).with_name("cartpole.prototxt")
SOLVED = 475  # the mean return of 100 episodes; an episode ends after 500 steps
TOGETHER = 5  # episodes that make one update
DISCOUNT = 0.99

# What an action is weighed with: returns (T,) from each step on, and the critic's values (T,).
WEIGHTS = {
    "return of the whole episode": lambda returns, values: np.full_like(returns, returns[0]),
    "return from then on": lambda returns, values: returns,
    "... less the critic's value": lambda returns, values: returns - values,
}


def play(environment, choose, seed=None):
    """An episode: observations (T, 4), actions (T,) and the return from each step on (T,)."""
    observation, _ = environment.reset(seed=seed)
    observations, actions, rewards, over = [], [], [], False
    while not over:
        observations.append(observation)
        actions.append(choose(observation[np.newaxis]))
        observation, reward, terminated, truncated, _ = environment.step(actions[-1])
        rewards.append(reward)
        over = terminated or truncated
    return np.array(observations), np.array(actions), discounted(rewards)


def discounted(rewards):
    """Return from each step on, as a mean of the rewards that weighs the next ones most."""
    returns, total = np.empty(len(rewards)), 0
    for t in reversed(range(len(rewards))):
        total = (1 - DISCOUNT) * rewards[t] + DISCOUNT * total
        returns[t] = total
    return returns


def train(environment, weigh, episodes, seed):
    """The trained net, and how many steps each episode lasted."""
    solver = pydl.Solver(
        pydl.prototxt.new(
            "SolverParameter",
            net=str(NET),
            type="Adam",
            base_lr=0.02,
            momentum=0.9,
            lr_policy="poly",
            power=1,
            max_iter=-(-episodes // TOGETHER),
            random_seed=seed,
        )
    )
    actor, random = solver.test_twin(), np.random.default_rng(seed)
    environment.reset(seed=seed)
    lengths = []
    while len(lengths) < episodes:
        played = [
            play(environment, lambda x: sample(softmax(actor.forward(data=x)["policy"]), random)[0])
            for _ in range(TOGETHER)
        ]
        lengths += [len(actions) for _, actions, _ in played]
        learn(solver, played, weigh)
    return actor, lengths


def learn(solver, played, weigh):
    """An update of actor and critic by episodes."""
    net = solver.net
    observations, actions, returns = map(np.concatenate, zip(*played, strict=True))
    scores = net.forward(data=observations, **{"return": returns[:, np.newaxis]})["policy"]
    ends = np.cumsum([len(actions) for _, actions, _ in played])[:-1]
    values = np.split(net.blobs["value"].data[:, 0], ends)
    weights = np.concatenate([*map(weigh, np.split(returns, ends), values)])
    net.clear_param_diffs()
    net.backward(policy=gradient(softmax(scores), actions, weights))
    solver.update()


def test(environment, net, episodes=100):
    """Mean number of steps with the most probable actions."""
    best = [
        play(environment, lambda x: net.forward(data=x)["policy"][0].argmax(), seed=10_000 + i)
        for i in range(episodes)
    ]
    return np.mean([len(actions) for _, actions, _ in best])


def solved_after(lengths):
    """The episodes it took until 100 in a row lasted so long in the mean; None: never."""
    means = np.convolve(lengths, np.full(100, 0.01), "valid")
    return 100 + int(np.argmax(means >= SOLVED)) if means.size and means.max() >= SOLVED else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=800, help="to learn from (800)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind (5)")
    parser.add_argument("--tests", type=int, default=100, help="episodes to test on (100)")
    args = parser.parse_args()
    try:
        import gymnasium
    except ImportError:
        raise SystemExit("this example plays in gymnasium: pip install gymnasium") from None
    environment = gymnasium.make("CartPole-v1")
    curves = {}
    for name, weigh in WEIGHTS.items():
        start, runs, scores = time.process_time(), [], []
        for seed in range(1, args.seeds + 1):
            net, lengths = train(environment, weigh, args.episodes, seed)
            runs.append(lengths)
            scores.append(test(environment, net, args.tests))
        curves[name] = np.array(runs)
        solved = [solved_after(lengths) for lengths in runs]
        print(f"{name}: solved after {solved} episodes, {np.round(scores)} steps in the test, "
              f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip
    net.save("cartpole.caffemodel")

    draw_curves("cartpole_curves.png", curves, SOLVED)
    untrained = pydl.Net(NET)
    episodes = {
        f"{name}: {len(actions)} steps": observations
        for name, player in (("before", untrained), ("after training", net))
        for observations, actions, _ in [
            play(environment, lambda x, p=player: p.forward(data=x)["policy"][0].argmax(), seed=7)
        ]
    }
    draw_balance("cartpole.png", episodes)
    print("cartpole_curves.png: steps balanced while learning; cartpole.png: before and after")


if __name__ == "__main__":
    main()

"""`GanSolver`: trains a generator and a discriminator against each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pydl import prototxt
from pydl.errors import Error
from pydl.gan.objectives import OBJECTIVES, Term, mean
from pydl.gan.side import Side
from pydl.net import Net
from pydl.run import Run
from pydl.solver_setup import find, seed_of, where

Model = str | os.PathLike | prototxt.Message
_SIDES = ("generator", "discriminator")
_STEP = 0.002  # of the differences that differentiate a gradient's norm, in units of the samples


class GanSolver(Run):
    """A game of two nets (Goodfellow et al. 2014, arXiv:1406.2661), each with its own solver.

    The generator makes samples of noise: its net has Input layers, filled with noise, or draws by
    itself (DummyData), and one output. The discriminator's net has the blob ``data``, which a Data
    layer fills with real samples, and one output: a score of each sample (a logit, no sigmoid).
    Neither has a loss: the objective is the game's. An iteration is ``discriminator_steps`` updates
    of the discriminator, each by real and by made samples, then ``generator_steps`` of the
    generator.

    Args:
        model: path of a GAN solver's prototxt, or a `pydl.prototxt` GanSolverParameter.
        overrides: fields to set on it, such as ``max_iter=100``.

    Raises:
        Error: for whatever is wrong with the files or does not fit; in training also when scores or
            gradients are no numbers any more, naming the net and the iteration.

    >>> gan = GanSolver("gan_solver.prototxt", max_iter=1000)
    >>> gan.solve()
    >>> gan.sample(16).shape
    (16, 1, 28, 28)
    """

    def __init__(self, model: Model, **overrides: Any) -> None:
        self.param = _message(model, overrides)
        super().__init__(self.param.average_loss)
        location = self.param.Where()
        self._file = Path(location.file) if location else None
        self.seed = seed_of(self.param)
        self.generator, self.discriminator = (self._side(role) for role in _SIDES)
        self._objective = OBJECTIVES[self.param.objective]
        self._first = _layer_after(self.discriminator, self.param.data, self._where("data"))
        self._check_shapes()
        self._sampler: Net | None = None
        self.test_nets: list[Net] = []  # of a `Run`'s listeners
        self.stopped_early = False

    # ---- state ----
    @property
    def iter(self) -> int:
        """Iterations done."""
        return self.generator.iter // self.param.generator_steps

    @property
    def max_iter(self) -> int:
        return self.param.max_iter

    @property
    def net(self) -> Net:
        """The generator's net."""
        return self.generator.net

    @property
    def trained_nets(self) -> list[Net]:
        return [self.generator.net, self.discriminator.net]

    @property
    def lr(self) -> float:
        """The generator's learning rate."""
        return self.generator.lr

    # ---- running ----
    def step(self, iterations: int = 1) -> float:
        """Runs iterations; returns the discriminator's loss of the last one."""
        with self._running():
            return self._run(self.iter + iterations)

    def solve(self, resume: str | os.PathLike | None = None) -> None:
        """Runs up to ``max_iter``, from a generator's ``.solverstate`` if ``resume`` names one."""
        if resume is not None:
            self.restore(resume)
        with self._running():
            self._run(self.max_iter)
            if not self._stopping and self.last_snapshot != self._state_path():
                self.snapshot()

    def _run(self, end: int) -> float:
        loss = self.smoothed_loss
        while self.iter < end and self._handle_request():
            number, rate = self.iter, self.lr
            try:
                shown = self._iterate()
            except Error as error:
                raise self._with_way_back(error) from None
            loss = shown["discriminator_loss"]
            self._smoothed.add(loss)
            self.history["iteration"].append(number)
            self.history["loss"].append(loss)
            for name, value in shown.items():
                self.history.setdefault(name, []).append(value)
            if self.param.display and number % self.param.display == 0:
                outputs = {name: np.array(value, np.float32) for name, value in shown.items()}
                self._tell("on_display", self._report(number, rate, outputs, {}))
            self._tell("on_iteration", loss)
            if self.param.snapshot and self.iter % self.param.snapshot == 0:
                self.snapshot()
        self._handle_request()
        return loss

    def _iterate(self) -> dict[str, float]:
        """One iteration: losses and mean scores by name."""
        for i in range(self.param.discriminator_steps):
            shown = self._step_discriminator(i)
        for i in range(self.param.generator_steps):
            shown |= self._step_generator(i)
        return shown

    def _step_discriminator(self, step: int) -> dict[str, float]:
        side = self.discriminator
        side.net._core.forward()
        real = np.array(self._data)
        made = self._make(step)
        penalty = self._penalise(real, made) if self.param.gradient_penalty else side.clear()
        on_real, real_score = self._judge(real, self._objective.real)
        on_made, made_score = self._judge(made, self._objective.fake)
        loss = on_real + on_made + (penalty or 0.0)
        self._check(side, loss)
        side.update()
        return {"discriminator_loss": loss, "real_score": real_score, "made_score": made_score}

    def _step_generator(self, step: int) -> dict[str, float]:
        made = self._make(self.param.discriminator_steps + step)
        self.generator.clear()
        loss, _ = self._judge(made, self._objective.made)
        self._check(self.generator, loss)
        self.generator.backward(self._gradient)
        self.generator.update()
        return {"generator_loss": loss}

    def _make(self, step: int) -> np.ndarray:
        """Samples of fresh noise, which is a function of the seed, the iteration and the step."""
        steps = self.param.discriminator_steps + self.param.generator_steps
        draws = np.random.Generator(
            np.random.Philox(key=self.seed, counter=[0, 0, self.iter * steps + step, 0])
        )
        net = self.generator.net
        for name in net.inputs:
            blob = net.blobs[name]
            blob.data[...] = self._noise(draws, blob.shape)
        net._core.forward()
        return np.array(self.generator.output)

    def _noise(self, draws: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.param.noise == "UNIFORM":
            return draws.uniform(-1, 1, shape)
        return draws.standard_normal(shape)

    def _judge(self, samples: np.ndarray, term: Term) -> tuple[float, float]:
        """The discriminator on samples, forward and backward: the mean loss and score."""
        scores = self._score(samples)
        loss, gradient = mean(term, scores)
        self.discriminator.backward(gradient, self._first)
        return loss, float(scores.mean())

    def _score(self, samples: np.ndarray) -> np.ndarray:
        self._data[...] = samples
        core = self.discriminator.net._core
        core.forward(self._first, core.layer_count - 1)
        return np.array(self.discriminator.output)

    def _penalise(self, real: np.ndarray, made: np.ndarray) -> float:
        """WGAN-GP's penalty (Gulrajani et al. 2017, arXiv:1704.00028) on how far the norm of the
        score's gradient is from 1 at points between real and made samples.

        Leaves the penalty's gradients in the discriminator's parameters. They take a second
        derivative, along the gradient's own direction u: d|g|/dw = d/de of (d score / dw) at
        x + e u. The difference of two first derivatives, at both sides of x, gives it; exactly,
        where the net is linear between them.
        """
        side, weight = self.discriminator, self.param.gradient_penalty
        draws = np.random.Generator(np.random.Philox(key=self.seed, counter=[1, 0, side.iter, 0]))
        share = draws.random((len(real),) + (1,) * (real.ndim - 1), np.float32)
        points = share * real + (1 - share) * made
        side.backward(np.ones_like(self._score(points)), self._first)
        g = self._gradient.astype(np.float64)
        norm = np.sqrt((g**2).reshape(len(g), -1).sum(1)).reshape(share.shape)
        way = _STEP * g / np.maximum(norm, 1e-12)
        slope = 2 * weight * (norm - 1) / len(g)
        side.clear()
        for sign in (1, -1):
            scores = self._score(points + sign * way)
            part = (sign * slope / (2 * _STEP)).reshape((-1,) + (1,) * (scores.ndim - 1))
            side.backward(np.broadcast_to(part, scores.shape), self._first)
        return float(weight * ((norm - 1) ** 2).mean())

    def _check(self, side: Side, loss: float) -> None:
        if not np.isfinite(loss):
            raise Error(
                f'the {side.role} "{side.net.name}": the loss is {loss} at iteration {self.iter}; '
                f"try a smaller base_lr in {side.source}, or clip_gradients"
            )

    @property
    def _data(self) -> np.ndarray:
        """The discriminator's samples."""
        return self.discriminator.net.blobs[self.param.data].data

    @property
    def _gradient(self) -> np.ndarray:
        """Of what was last differentiated, with respect to the discriminator's samples."""
        return self.discriminator.net.blobs[self.param.data].diff

    # ---- samples ----
    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, ...): what the generator makes of noise, in phase TEST; a function of the seed.

        Raises Error for a generator that draws its noise by itself.
        """
        if self._sampler is None:
            self._sampler = self.generator.test_twin()
        net = self._sampler
        if not net.inputs:
            raise Error(f'the generator "{net.name}" has no Input layer to feed noise to')
        draws = np.random.Generator(np.random.Philox(key=seed))
        noise = {n: self._noise(draws, (count, *net.blobs[n].shape[1:])) for n in net.inputs}
        return next(iter(net.forward(**noise).values()))

    # ---- snapshots ----
    def snapshot(self) -> Path:
        """Writes both sides' weights and states; returns the path of the generator's state."""
        paths = [side.snapshot() for side in (self.discriminator, self.generator)]
        self.last_snapshot = paths[-1]
        self._tell("on_snapshot", paths[-1])
        return paths[-1]

    def restore(self, path: str | os.PathLike) -> None:
        """Goes on where a snapshot was taken: `path` is the generator's ``.solverstate``, the
        discriminator's is beside it."""
        path = Path(path)
        self.generator.restore(path)
        self.discriminator._core.iter = self.iter * self.param.discriminator_steps
        self.discriminator.restore(path.with_name(self.discriminator._state_path().name))
        self.last_snapshot = path
        self._smoothed.clear()

    def _state_path(self) -> Path:
        return self.generator._state_path()

    @property
    def snapshot_prefix(self) -> str:
        """What the names of a run's files begin with: as given, else the solver file's own name."""
        own = str(self._file.with_suffix("")) if self._file else "gan"
        return self.param.snapshot_prefix or own

    # ---- set-up ----
    def _side(self, role: str) -> Side:
        file, message = getattr(self.param, role), getattr(self.param, f"{role}_param")
        given = self.param.HasField(f"{role}_param")
        if bool(file) == given:
            what = "both" if given else "neither"
            raise Error(f"{self._where()}give {role}, a file, or {role}_param; it has {what}")
        model = message if given else find(file, self._file)
        return Side(role, model, snapshot_prefix=f"{self.snapshot_prefix}_{role}",
                    random_seed=self.seed, snapshot_after_train=False)  # fmt: skip

    def _check_shapes(self) -> None:
        made = self.generator.net.blobs[self.generator.net.outputs[0]].shape
        real = self.discriminator.net.blobs[self.param.data].shape
        if made != real:
            raise Error(
                f'{self._where()}the generator "{self.generator.net.name}" makes samples of shape '
                f'{list(made)}, but "{self.param.data}" of the discriminator '
                f'"{self.discriminator.net.name}" has shape {list(real)}; they must be equal, '
                "batch size included"
            )

    def _where(self, field: str | None = None) -> str:
        return where(self.param, field)


def _message(model: Model, overrides: dict[str, Any]) -> prototxt.Message:
    message = prototxt.new("GanSolverParameter")
    given = model if isinstance(model, prototxt.Message) else None
    message.CopyFrom(given or prototxt.load(model, "GanSolverParameter"))
    for name, value in overrides.items():
        setattr(message, name, value)
    for name in ("generator_steps", "discriminator_steps", "average_loss"):
        if getattr(message, name) < 1:
            raise Error(
                f"{where(message, name)}{name} must be at least 1, got {getattr(message, name)}"
            )
    if message.gradient_penalty < 0:
        raise Error(
            f"{where(message, 'gradient_penalty')}gradient_penalty must not be negative, "
            f"got {message.gradient_penalty}"
        )
    return message


def _layer_after(side: Side, blob: str, location: str) -> int:
    """The index of the first layer that works on the samples: behind the one that reads them."""
    for index, row in enumerate(side.net._core.layer_rows()):
        if blob in row["tops"]:
            return index + 1
    known = ", ".join(side.net.blobs)
    raise Error(
        f'{location}the discriminator "{side.net.name}" has no blob "{blob}" that a layer gives; '
        f"name the samples' blob with data: ... (it has {known})"
    )

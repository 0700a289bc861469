"""Adversarial training (Goodfellow et al. 2014, arXiv:1406.2661): two nets, each with a solver of
its own.

>>> from pydl.gan import GanSolver
>>> gan = GanSolver("gan_solver.prototxt")
>>> gan.solve()
>>> images = gan.sample(64)
"""

from pydl.gan.log import GanLog
from pydl.gan.solver import GanSolver

__all__ = ["GanLog", "GanSolver"]

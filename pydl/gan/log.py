"""`GanLog`: a GAN's run in the form of Caffe's log."""

from __future__ import annotations

from pydl.gan.solver import GanSolver
from pydl.reporting.glog import LOGGER
from pydl.reporting.log import CaffeLog


class GanLog(CaffeLog):
    """Logs a run of a `GanSolver` to the logger "pydl", with the words of ``caffe train``."""

    def on_start(self, solver: GanSolver) -> None:
        LOGGER.info("Initializing solver from parameters: \n%s", str(solver.param).rstrip())
        for side in (solver.generator, solver.discriminator):
            LOGGER.info("Solver of the %s: \n%s", side.role, str(side.param).rstrip())
            for note in side.notes:
                LOGGER.warning("%s: %s", side.source, note)
        if solver.iter and solver.last_snapshot:
            LOGGER.info("Resuming from %s", solver.last_snapshot)
        LOGGER.info("Starting Optimization")

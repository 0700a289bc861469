"""Listeners that report on a training run; add them to `pydl.Solver.listeners`.

- `CaffeLog`: Caffe's log lines, through Python's logging;
- `JsonLog`: the run as JSON lines, which `read_run` reads back;
- `Progress`: a bar on the terminal;
- `Curve`: loss and test scores over the iterations, as a picture.

>>> import pydl
>>> from pydl.reporting import CaffeLog, JsonLog, log_to_file
>>> solver = pydl.Solver("examples/mnist/lenet_solver.prototxt", max_iter=100)
>>> solver.listeners += [CaffeLog(), JsonLog("lenet_log.jsonl")]
>>> with log_to_file("lenet.log"):
...     solver.solve()
"""

from pydl.reporting.curve import Curve, draw_curve
from pydl.reporting.glog import log_to_file, log_to_stream
from pydl.reporting.jsonlog import JsonLog, Run, Scores, read_run
from pydl.reporting.log import CaffeLog
from pydl.reporting.progress import Progress

__all__ = [
    "CaffeLog",
    "Curve",
    "JsonLog",
    "Progress",
    "Run",
    "Scores",
    "draw_curve",
    "log_to_file",
    "log_to_stream",
    "read_run",
]

"""CNN knowledge distillation in pure NumPy, with explicit backward passes.

The chain that every number stands on: `definitions` (the formulas as scalar loops), `ops` (the
same, fast, forward and backward side by side), `losses`, `nets`, `optim`, `objectives`, `training`.

Examples in docstrings assume `import numpy as np` and `from npkd import losses, nets, ops, …`.
"""

from npkd import losses, ops
from npkd.engine.threads import get_num_threads, set_num_threads
from npkd.nets.models import LargeCNN, SmallCNN
from npkd.optim import SGD

__version__ = "0.1.0"

__all__ = ["SGD", "LargeCNN", "SmallCNN", "get_num_threads", "losses", "ops", "set_num_threads"]

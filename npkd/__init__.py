"""CNN knowledge distillation in pure NumPy, with explicit backward passes.

The chain that every number stands on: `definitions` (the formulas as scalar loops), `ops` (the
same, fast, forward and backward side by side), `losses`, `nets`, `optim`, `objectives`, `training`.

Examples in docstrings assume `import numpy as np` and `from npkd import losses, nets, ops, …`.
"""

TYPE_CHECKING = False  # a type checker takes it for True
if TYPE_CHECKING:
    from typing import Any

    from npkd import losses, ops
    from npkd.distill.predict import Predictor
    from npkd.engine.threads import get_num_threads, set_num_threads
    from npkd.nets.models import LargeCNN, SmallCNN
    from npkd.optim import SGD, Adam, AdamW

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "LargeCNN",
    "Predictor",
    "SmallCNN",
    "get_num_threads",
    "losses",
    "ops",
    "set_num_threads",
]

_HOMES = {
    "SGD": "npkd.optim",
    "Adam": "npkd.optim",
    "AdamW": "npkd.optim",
    "LargeCNN": "npkd.nets.models",
    "Predictor": "npkd.distill.predict",
    "SmallCNN": "npkd.nets.models",
    "get_num_threads": "npkd.engine.threads",
    "set_num_threads": "npkd.engine.threads",
}


def __getattr__(name: str) -> "Any":
    """A name above, or a module of npkd, imported when it is first asked for.

    So `import npkd` takes no time, and the command can heed Ctrl-C before NumPy is imported.
    """
    import importlib.util

    name = {"checkpoint": "weights"}.get(name, name)  # as it was once called
    if name in _HOMES:
        found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return found
    if not name.startswith("_") and importlib.util.find_spec(f"npkd.{name}"):
        return importlib.import_module(f"npkd.{name}")
    raise AttributeError(f"module 'npkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

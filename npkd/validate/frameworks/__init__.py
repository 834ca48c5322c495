"""Frameworks that are asked the judge's questions.

    adapter     what the judge asks of a framework: one small class
    answering   a case, answered by any adapter
    torch, jax  the adapters

    arrays = answers(adapter("torch", dtype="float32"), case)

A framework is imported when it is asked for.
"""

import importlib
from typing import Any

from npkd.files import BadInput
from npkd.validate.frameworks.adapter import Adapter

# By the name of its module here, and of its package: its own name, and the adapter's class
FRAMEWORKS = {"torch": ("PyTorch", "Torch"), "jax": ("JAX", "Jax")}


def adapter(framework: str, **settings: Any) -> Adapter:
    """The adapter of the framework that is installed.

    Raises BadInput where it cannot be imported, or has not what is asked for.
    """
    name, kind = FRAMEWORKS[framework]
    try:
        module = importlib.import_module(f"npkd.validate.frameworks.{framework}")
    except ImportError as error:
        hint = f"{name} cannot be imported (pip install {framework}): {error}"
        raise BadInput(hint) from error
    except ValueError as error:  # one of its settings in the environment
        raise BadInput(f"{name} cannot be imported: {error}") from error
    return getattr(module, kind)(**settings)

"""Frameworks that are asked the judge's questions.

    adapter     what the judge asks of a framework: one small class
    answering   a case, answered by any adapter
    torch, jax  the adapters

    arrays = answers(adapter("torch", dtype="float32"), case)

A framework is imported when it is asked for.
"""

import importlib
from typing import Any, NamedTuple

from npkd.files import BadInput
from npkd.validate.frameworks.adapter import Adapter


class Framework(NamedTuple):
    """What the command says of a framework before it is imported.

    name      its own
    adapter   the class, in the module here that is named like the framework's package
    left      what is left as it comes, in words, if anything
    on_cuda   whether there are a device and a number of threads to choose
    """

    name: str
    adapter: str
    left: str = ""
    on_cuda: bool = False


FRAMEWORKS = {
    "torch": Framework("PyTorch", "Torch", "whether PyTorch uses TF32 on a GPU", on_cuda=True),
    "jax": Framework("JAX", "Jax", "the device, and the precision of its products"),
}


def adapter(framework: str, **settings: Any) -> Adapter:
    """The adapter of the framework that is installed.

    Raises BadInput where it cannot be imported, or has not what is asked for.
    """
    if framework not in FRAMEWORKS:
        raise BadInput(f"no framework is named {framework!r}; there are {', '.join(FRAMEWORKS)}")
    name, kind, *_ = FRAMEWORKS[framework]
    try:
        module = importlib.import_module(f"npkd.validate.frameworks.{framework}")
    except ImportError as error:
        hint = f"{name} cannot be imported (pip install {framework}): {error}"
        raise BadInput(hint) from error
    except ValueError as error:  # one of its settings in the environment
        raise BadInput(f"{name} cannot be imported: {error}") from error
    return getattr(module, kind)(**settings)

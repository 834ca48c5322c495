"""npkd's own side: its results for a case, as of any framework."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from npkd import losses, ops
from npkd.data.preparation import Normalisation
from npkd.optim import SGD
from npkd.validate.cases import Arrays, Options, gradients_of
from npkd.validate.program import Case
from npkd.validate.rules import augmented


def results(case: Case) -> Arrays:
    """All tensors of a case as npkd computes them, in the dtype of its arrays."""
    known = dict(case.inputs)
    found: Arrays = {}
    for operation in case.operations:
        inputs = {name: known[tensor] for name, tensor in operation.inputs.items()}
        made = computed(operation.op, inputs, operation.options)
        found |= {tensor: made[name] for name, tensor in operation.outputs.items()}
        known |= found
    return found


def computed(op: str, inputs: Arrays, options: Options) -> Arrays:
    """The results of one operation by npkd, in the dtype of its inputs."""
    name = op.removesuffix("_backward")
    if name in ops.__all__ or name == "standardize":
        arguments = {key: x for key, x in inputs.items() if key != "dy"}
        y, backward = getattr(losses if name == "standardize" else ops, name)(
            **arguments, **options
        )
        if op == name:
            return {"y": y}
        gradients = backward(inputs["dy"])
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        return dict(zip(("dx", "dw", "db"), several, strict=False))
    if op in losses.__all__:
        value, gradients = getattr(losses, op)(**inputs, **_with_losses(op, options))
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        return {"value": value} | dict(zip(gradients_of(op, inputs), several, strict=True))
    return _OTHERS[op](options, **inputs)


def _with_losses(op: str, options: Options) -> dict[str, Any]:
    """Options of `mix` with the soft loss itself in the place of its name."""
    options = dict(options)
    if op == "mix":
        soft = getattr(losses, options.pop("soft", "l2"))
        options["soft"] = functools.partial(soft, **options.pop("soft_options", {}))
    return options


def _updated(
    options: Options, theta: np.ndarray, g: np.ndarray, velocity: np.ndarray | None = None
) -> Arrays:
    sgd = SGD(**options)
    if velocity is not None:
        sgd.velocity["theta"] = velocity.copy()
    params = {"theta": theta.copy()}
    sgd.step(params, {"theta": g})
    return params | ({"velocity": sgd.velocity["theta"]} if sgd.velocity else {})


_OTHERS: dict[str, Callable[..., Arrays]] = {
    "sgd": _updated,
    "sum": lambda options, **terms: {"y": sum(terms.values()) / options.get("divisor", 1)},
    "copy": lambda options, x: {"y": x},
    "dropout": lambda options, x: {"y": x},
    "rows": lambda options, x, index: {"y": x[index]},
    "augment": lambda options, **inputs: {"y": augmented(**inputs)},
    "normalise": lambda options, images, mean, std: {
        "y": Normalisation(mean, std)(images, mean.dtype)
    },
    "distinct": lambda options: {
        "draws": np.random.default_rng(0).random((options["workers"], 16))
    },
}

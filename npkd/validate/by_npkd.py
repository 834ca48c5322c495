"""npkd's own side: its results for a case, as of any framework."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from npkd import losses, ops
from npkd.data.preparation import Normalisation
from npkd.losses.facts import FACTS
from npkd.ops.contract import Op
from npkd.optim import SGD, Adam, AdamW
from npkd.validate.bounds import losses as bounds_of_losses
from npkd.validate.bounds.losses import loss_of
from npkd.validate.bounds.rules import augmented
from npkd.validate.program import Case

Arrays = dict[str, np.ndarray]
Options = Mapping[str, Any]

GRADIENTS = ("dx", "dw", "db", "dmean", "dvariance")


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
    if name in TRANSFORMS:
        arguments = {key: x for key, x in inputs.items() if key != "dy"}
        y, backward = TRANSFORMS[name](**arguments, **options)[:2]
        if op == name:
            return {"y": y}
        gradients = backward(inputs["dy"])
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        named = zip(_letters(name, arguments), several, strict=False)
        return {f"d{letter}": gradient for letter, gradient in named if gradient is not None}
    if op in LOSSES:
        value, gradients = LOSSES[op](**inputs, **options)
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        return {"value": value} | dict(zip(FACTS[op].gradients(inputs), several, strict=True))
    return OTHERS[op](**inputs, **options)


def _letters(op: str, arguments: Iterable[str]) -> Iterable[str]:
    """What an op's arguments that have gradients are called, in their order."""
    if op == "concat":
        return arguments
    return "ab" if op == "add" else ("x", "w", "b", "mean", "variance")


# Ops that are called otherwise here


def _dropout(x: np.ndarray, mask: np.ndarray | None = None, *, p: float = 0.5) -> Op:
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p is {p}, expected a chance from 0 to below 1")
    return ops.dropout(x, np.ones_like(x) if mask is None else mask)


def _concat(*, axis: int = 1, **xs: np.ndarray) -> Op:
    return ops.concat(*xs.values(), axis=axis)


# What is neither an op nor a loss: each gives its results by name


def _sgd(
    theta: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Arrays:
    sgd = SGD(lr, momentum, weight_decay, nesterov)
    if momentum and velocity is not None:
        sgd.load({"velocity/theta": velocity}, updates=1)
    params = {"theta": theta.copy()}
    sgd.step(params, {"theta": g})
    return params | ({"velocity": sgd.velocity["theta"]} if sgd.velocity else {})


def _adam(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray | None = None,
    v: np.ndarray | None = None,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Arrays:
    adam = (AdamW if decoupled else Adam)(lr, (beta1, beta2), epsilon, weight_decay)
    before = {"m": np.zeros_like(theta) if m is None else m}
    before["v"] = np.zeros_like(theta) if v is None else v
    adam.load({f"{name}/theta": array for name, array in before.items()}, step - 1)
    params = {"theta": theta.copy()}
    adam.step(params, {"theta": g})
    return params | {name: adam.memory[name]["theta"] for name in before}


def _sum(*, divisor: float = 1, **terms: np.ndarray) -> Arrays:
    kinds = {(x.dtype, x.shape) for x in terms.values()}
    if len(kinds) != 1 or any(dtype.kind != "f" for dtype, _ in kinds) or not divisor > 0:
        found = ", ".join(f"{dtype} {shape}" for dtype, shape in kinds)
        raise ValueError(
            f"sum: terms are {found}, over {divisor}; expected floats of one shape and dtype, over "
            "a number above 0"
        )
    first, *others = terms.values()
    return {"y": sum(others, start=first) / divisor}


def _copy(x: np.ndarray) -> Arrays:
    return {"y": x}


def _rows(x: np.ndarray, index: np.ndarray, *, batches: int = 1) -> Arrays:
    is_index = index.ndim == 1 and index.dtype.kind in "iu"
    if not is_index or x.ndim < 1 or not np.all((index >= 0) & (index < len(x))) or batches < 1:
        raise ValueError(
            f"rows: index is {index.dtype} {index.shape} for x {x.shape} and {batches} batches; "
            "expected numbers of rows (B,) and batches from 1 on"
        )
    return {"y": x[index]}


def _augment(images: np.ndarray, shifts: np.ndarray, flips: np.ndarray) -> Arrays:
    expected = (*images.shape[:1], 2), images.shape[:1]
    are_whole = shifts.dtype.kind in "iu" and flips.dtype.kind == "b"
    if images.ndim != 4 or (shifts.shape, flips.shape) != expected or not are_whole:
        raise ValueError(
            f"augment: images are {images.shape}, shifts {shifts.dtype} {shifts.shape}, flips "
            f"{flips.dtype} {flips.shape}; expected (N, C, H, W), integers (N, 2), bool (N,)"
        )
    if np.any((shifts < np.negative(images.shape[2:])) | (shifts > images.shape[2:])):
        raise ValueError(f"augment: shifts go beyond images of {images.shape[2:]} cells")
    return {"y": augmented(images, shifts, flips)}


def _normalise(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Arrays:
    of_channels = mean.shape == std.shape == images.shape[1:2]
    if images.ndim != 4 or not of_channels or mean.dtype.kind != "f" or std.dtype.kind != "f":
        raise ValueError(
            f"normalise: images are {images.shape}, mean {mean.dtype} {mean.shape}, std "
            f"{std.dtype} {std.shape}; expected (N, C, H, W), floats (C,), floats (C,)"
        )
    return {"y": Normalisation(mean, std)(images, mean.dtype)}


def _running_mean(x: np.ndarray, mean: np.ndarray, *, momentum: float = 0.1) -> Arrays:
    batch, _ = ops.batch_norm(x)[2]
    return {"y": (1 - momentum) * mean + momentum * batch}


def _running_variance(x: np.ndarray, variance: np.ndarray, *, momentum: float = 0.1) -> Arrays:
    _, batch = ops.batch_norm(x)[2]
    m = x.size // x.shape[1]
    return {"y": (1 - momentum) * variance + momentum * m / (m - 1) * batch}


def _distinct(*, workers: int) -> Arrays:
    return {"draws": np.random.default_rng(0).random((workers, 16))}


TRANSFORMS: dict[str, Callable] = {name: getattr(ops, name) for name in ops.__all__}
TRANSFORMS |= {"standardize": losses.standardize, "dropout": _dropout, "concat": _concat}
LOSSES: dict[str, Callable] = {
    name: loss_of(name) for name in losses.__all__ if name not in ("conventions", "standardize")
}
OTHERS: dict[str, Callable] = {
    "sgd": _sgd,
    "adam": _adam,
    "sum": _sum,
    "copy": _copy,
    "rows": _rows,
    "augment": _augment,
    "normalise": _normalise,
    "distinct": _distinct,
    "running_mean": _running_mean,
    "running_variance": _running_variance,
}
# The function that an operation calls, by whose arguments its inputs and options are named.
FUNCTIONS: dict[str, Callable] = {
    **TRANSFORMS,
    **{f"{name}_backward": function for name, function in TRANSFORMS.items()},
    **LOSSES,
    **OTHERS,
}


def resolved(op: str, options: Options) -> dict[str, Any]:
    """All options of an operation, by default those not given; a stride, too, that is None."""
    if op in LOSSES:
        return bounds_of_losses.resolved(op, options)
    parameters = inspect.signature(FUNCTIONS[op]).parameters.values() if op in FUNCTIONS else ()
    defaults = {
        one.name: one.default
        for one in parameters
        if one.name in MAY_BE_NONE or (one.default is not one.empty and one.default is not None)
    }
    every = {**defaults, **options}
    if "stride" in every and every["stride"] in (None, ()):
        every["stride"] = every["kernel_size"]
    return every


MAY_BE_NONE = ("stride", "divisor_override")

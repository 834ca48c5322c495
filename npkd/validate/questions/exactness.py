"""The proof that a case is exact: that nothing in it is rounded, in whatever order it is summed."""

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from npkd import losses, ops
from npkd.validate.by_npkd import computed
from npkd.validate.program import Case
from npkd.validate.questions.numbers import Arrays, Options, Shape

FACTOR_BITS = 11  # of the factors of products: what TF32 keeps
SUM_BITS = 24  # of sums: what float32 keeps


def require_exact(case: Case) -> None:
    """Raise AssertionError unless a case is such that nothing rounds, in whatever order.

    Of each operation the results are sums of terms that are multiples of one unit, a power of two,
    and the absolute values of the terms add up to 2²⁴ units at most: every partial sum is a float32
    then. What is multiplied by something has 11 significant bits at most.
    """
    known = {
        name: x.astype(np.float64) if x.dtype.kind == "f" else x for name, x in case.inputs.items()
    }
    for operation in case.operations:
        inputs = {name: known[tensor] for name, tensor in operation.inputs.items()}
        where = f"{case.name}, {operation.name}"
        if operation.op.removesuffix("_backward") in ("conv2d", "linear", "hint", "fsp"):
            for name, x in inputs.items():
                bits = significant_bits(x)
                assert bits <= FACTOR_BITS, f"{where}: {name} has {bits} significant bits"
        for name, (sums, unit) in _terms(operation.op, inputs, operation.options).items():
            most = np.max(np.abs(sums), initial=0) / unit
            assert most <= 2**SUM_BITS, f"{where}: {name} adds up to {most:.0f} units"
        results = computed(operation.op, inputs, operation.options)
        known |= {tensor: results[name] for name, tensor in operation.outputs.items()}


def unit_of(x: np.ndarray | float) -> float:
    """The largest power of two that all entries are multiples of; ∞ if all are 0."""
    whole, exponent = _whole(x)
    return float(np.min(np.ldexp((whole & -whole).astype(np.float64), exponent), initial=np.inf))


def significant_bits(x: np.ndarray) -> int:
    """How many an entry has at most."""
    whole, _ = _whole(x)
    return int(np.max(53 - np.log2(whole & -whole), initial=0))


def _whole(x: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """The entries that are not 0, as integers below 2⁵³ and exponents of two."""
    mantissa, exponent = np.frexp(np.abs(np.asarray(x, np.float64)))
    some = mantissa > 0
    return np.ldexp(mantissa[some], 53).astype(np.int64), exponent[some] - 53


_MOVES = {"relu", "flatten", "pixel_shuffle", "max_pool2d", "copy", "rows", "augment"}
_MOVES |= {"relu_backward", "flatten_backward", "pixel_shuffle_backward"}
_MOVES |= {"relu6", "relu6_backward", "concat", "concat_backward", "add_backward"}

Terms = dict[str, tuple[np.ndarray, float]]


def _terms(op: str, inputs: Arrays, options: Options) -> Terms:
    """For each result of an operation the sums of absolute terms, and the unit of the terms.

    A sum of products adds up to that of absolute values when its inputs are absolute values.
    """
    if op in _MOVES:
        return {}
    if op in losses.__all__:
        return _terms_of_loss(op, inputs, options)
    u = {name: unit_of(x) for name, x in inputs.items()}
    sizes = {name: np.abs(x) for name, x in inputs.items()}
    if op in ("conv2d", "linear"):
        units = {"y": min(u["x"] * u["w"], u.get("b", math.inf))}
    elif op in ("conv2d_backward", "linear_backward"):
        units = {"dx": u["dy"] * u["w"], "dw": u["dy"] * u["x"]}
        if "b" in inputs:
            units["db"] = u["dy"]
    elif op.removesuffix("_backward") in ("avg_pool2d", "upsample"):
        weights = _weights_of(op.removesuffix("_backward"), inputs["x"].shape, options)
        units = (
            {"dx": unit_of(weights) * u["dy"]} if "dy" in u else {"y": unit_of(weights) * u["x"]}
        )
    elif op.removesuffix("_backward") == "global_avg_pool2d":
        share = unit_of(1 / math.prod(inputs["x"].shape[2:]))
        units = {"dx": share * u["dy"]} if "dy" in u else {"y": share * u["x"]}
    elif op.removesuffix("_backward") == "dropout":
        mask = u.get("mask", 1.0)
        units = {"dx": mask * u["dy"]} if "dy" in u else {"y": mask * u["x"]}
    elif op == "add":
        units = {"y": min(u.values())}
    elif op == "max_pool2d_backward":
        sizes["x"] = inputs["x"]
        units = {"dx": u["dy"]}
    elif op == "sum":
        units = {"y": min(u.values()) * unit_of(1 / options.get("divisor", 1))}
    elif op == "sgd":
        lr, momentum, decay = (options[key] for key in ("lr", "momentum", "weight_decay"))
        step = min(u["g"], unit_of(decay) * u["theta"])
        step = min(step, unit_of(momentum) * u.get("velocity", math.inf))
        gradient = sizes["g"] + decay * sizes["theta"]
        velocity = gradient + momentum * sizes.get("velocity", 0.0)
        along, of_along = velocity, step
        if options.get("nesterov"):
            along, of_along = gradient + momentum * velocity, step * min(1.0, unit_of(momentum))
        theta = sizes["theta"] + lr * along, min(u["theta"], unit_of(lr) * of_along)
        return {"theta": theta, "velocity": (velocity, step)}
    else:
        raise AssertionError(f"{op} rounds")
    sums = computed(op, sizes, options)
    return {name: (sums[name], unit) for name, unit in units.items()}


def _weights_of(op: str, shape: Shape, options: Options) -> np.ndarray:
    """The weights of a linear map of single channels: the gradient of each output by itself."""
    forward = functools.partial(getattr(ops, op), **options)
    y, _ = forward(np.zeros((1, 1, *shape[2:])))
    _, backward = forward(np.zeros((y.size, 1, *shape[2:])))
    return backward(np.eye(y.size).reshape(y.size, *y.shape[1:]))


def _terms_of_loss(op: str, inputs: Arrays, options: Options) -> Terms:
    """The same of the losses that are polynomials, or pieces of polynomials.

    The teacher's arrays get the opposite sign of the student's, so that differences become sums.
    """
    u = {name: unit_of(x) for name, x in inputs.items()}
    sizes = {name: np.abs(x) for name, x in inputs.items()}
    negative = "teacher_first" if op == "fsp" else "teacher"
    sizes[negative] = -sizes[negative]
    by_default = "elementmean" if op in ("hint", "fsp") else "batchmean"
    reduction = options.get("reduction", by_default)
    count = {"sum": 1, "none": 1, "batchmean": len(sizes[negative])}.get(reduction)

    def share(compared: int) -> float:
        return unit_of(1 / (compared if count is None else count))

    if op == "fsp":
        return _terms_of_fsp(u, sizes, options, share)
    sums = computed(op, sizes, options)
    part = share(sizes["teacher"].size)
    if op == "hint":
        w, s = u.get("weight", 1.0), u["student"]
        r = min(w * s, u.get("bias", math.inf), u["teacher"])
        units = {"gradient": w, "gradient_weight": s, "gradient_bias": 1.0}
        # The residuals are factors themselves: of 11 bits if their squares have 22.
        terms = {"value": (4 * sums["value"], r * r * part)}
        return terms | {k: (sums[k], r * part * units[k]) for k in sums if k != "value"}
    step = min(u["student"], u["teacher"])
    if op == "l1":
        return {"value": (sums["value"], step * part), "gradient": (sums["gradient"], part)}
    if op == "huber":  # ½ (|Δ| + δ)² is above its terms, on both sides of δ
        delta = options.get("delta", 1.0)
        step = min(step, unit_of(delta))
        sizes["student"] = sizes["student"] + delta
        sums = computed("l2", sizes, {"reduction": reduction})
        if options.get("variant") == "smooth":  # all is divided by δ
            sums, part = {name: x / delta for name, x in sums.items()}, part * unit_of(1 / delta)
    elif op == "limit":  # Δ − m, and all is divided by C
        classes = sizes["student"].shape[1]
        step *= unit_of(1 / classes)
        part *= unit_of(1 / classes)
        total = sizes["student"] - sizes["teacher"]
        total = total + total.mean(axis=1, keepdims=True)
        sums = computed("l2", {"student": total, "teacher": 0 * total}, {"reduction": reduction})
        sums = {name: x / classes for name, x in sums.items()}
    elif op != "l2" or options.get("variant", "paper") != "paper":
        raise AssertionError(f"{op} rounds")
    half = {"value": step * step * part / 2, "gradient": step * part}
    return {name: (sums[name], unit) for name, unit in half.items()}


def _terms_of_fsp(
    u: Mapping[str, float], sizes: Arrays, options: Options, share: Callable[[int], float]
) -> Terms:
    """Residuals r are Σ_i f g / (H W) − Σ_i f' g' / (H' W'), f and g with their weights."""
    first, second = (u[name] * u[f"weight_{name}"] for name in ("first", "second"))
    cells, cells_of_teacher = (
        unit_of(1 / math.prod(sizes[name].shape[2:])) for name in ("first", "teacher_first")
    )
    r = min(first * second * cells, u["teacher_first"] * u["teacher_second"] * cells_of_teacher)
    entries = len(sizes["first"]) * len(sizes["weight_first"]) * len(sizes["weight_second"])
    part = share(entries)
    units = {
        "gradient": second * u["weight_first"],
        "gradient_second": first * u["weight_second"],
        "gradient_weight_first": second * u["first"],
        "gradient_weight_second": first * u["second"],
    }
    sums = computed("fsp", sizes, options)
    terms = {"value": (4 * sums["value"], r * r * part)}
    return terms | {k: (sums[k], r * part * cells * units[k]) for k in sums if k != "value"}

"""Checks of the operations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npkd import definitions, gradcheck
from npkd.proofs.cases import Drawn, arrays
from npkd.proofs.checks import Check, Finding, _gradients, _worst, close


def _value(function: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    """Of an op or a loss: that of its definition, for real and for complex numbers."""
    findings = []
    for dtype in (np.float64, np.complex128):
        values = arrays(case, rng, dtype).values()
        expected = getattr(definitions, case.op)(*values, **case.options)
        findings.append(close(function(*values, **case.options)[0], expected, "the value"))
    return _worst(findings)


def _statistics(op: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    """Those of a batch that is trained on; they are given, or else come third."""
    findings = [Finding()]
    for dtype in (np.float64, np.complex128):
        values = arrays(case, rng, dtype)
        found = op(*values.values(), **case.options)[2:]
        expected = [] if "mean" in values else [definitions.batch_statistics(values["x"])]
        for given, right in zip(found, expected, strict=True):
            for name, a, b in zip(("the mean", "the variance"), given, right, strict=True):
                findings.append(close(a, b, name))
    return _worst(findings)


def _op(op: Callable[..., Any], case: Drawn) -> Callable[..., Any]:
    return lambda *values: op(*values, **case.options)[:2]


def _of_op(
    op: Callable[..., Any], case: Drawn, rng: np.random.Generator, **options: Any
) -> Finding:
    return _gradients(_op(op, case), arrays(case, rng), rng, **options)


def _adjoint(op: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    """Without a bias, conv2d and linear are linear in x, and as well in w.

    What joins arrays is linear in each of them where the others are 0.
    """
    values, of_values = arrays(case, rng, np.complex128), _op(op, case)

    def alone(k: int, x: np.ndarray) -> Any:
        others = list(map(np.zeros_like, values.values()))
        y, backward = of_values(*others[:k], x, *others[k + 1 :])
        return y, lambda dy: backward(dy)[k]

    if case.op in _JOINING:
        each = [
            _gradients(partial(alone, k), {name: x}, rng, method="linear")
            for k, (name, x) in enumerate(values.items())
        ]
        return _worst(each)
    values.pop("b", None)
    return _gradients(of_values, values, rng, method="linear")


def _ties(op: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    """Of equal cells the first in row-major order is chosen, and relu'(0) = 0, also that of relu6.

    That is the branch of the same numbers, each lowered by a little and by more than the one before
    it: zeros are then negative, and the first of equal cells is the largest. There nothing is tied,
    and the other checks hold. Of relu6 those above 3 are raised: its slope at 6 is 0.
    """
    is_relu6 = case.op == "relu6"
    x = (4 if is_relu6 else 1) * np.round(2 * rng.standard_normal(case.shapes["x"])) / 2
    little = 2.0**-20 * np.arange(1, 1 + x.size).reshape(x.shape)
    moved = np.where(is_relu6 & (x > 3), x + little, x - little)
    (y, backward), (_, expected) = op(x, **case.options), op(moved, **case.options)
    dy = rng.standard_normal(y.shape)
    return close(backward(dy), expected(dy), "the gradient at ties")


def _op_contract(op: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    # along the axis of the batch, a softmax of none would have nothing to choose from, and arrays
    # in a row are no batch; a mask is of one size
    shapes = [*case.shapes.values()]
    of_batch = case.options.get("axis", -1) % len(shapes[0]) and "mask" not in case.options
    batched = range(len(shapes) if case.op in _JOINING else 1) if of_batch else []
    if case.op == "batch_norm" and "mean" not in case.shapes:
        batched = []  # nor has training, of none
    values = arrays(case, rng).values()
    views = case.op == "flatten"
    gradcheck.check_contract(_op(op, case), *values, rng=rng, batched=batched, views=views)
    return Finding()


_KINKED = ("relu", "relu6", "max_pool2d")


_JOINING = ("add", "concat")


_CURVED = ("softmax", "log_softmax", "sigmoid", "tanh", "silu", "gelu", "batch_norm")


def checks_of_op(name: str) -> dict[str, Check]:
    checks: dict[str, Check] = {
        "value": _value,
        "direction": _of_op,
        "entries": partial(_of_op, entrywise=True),
    }
    if name not in _KINKED + _CURVED:
        checks |= {"difference": partial(_of_op, method="affine"), "adjoint": _adjoint}
    if name in _KINKED:
        checks["ties"] = _ties
    if name == "batch_norm":
        checks["statistics"] = _statistics
    return checks | {"contract": _op_contract}

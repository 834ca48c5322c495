"""The rules of batch norm, and of operations entry by entry, of sums, and of moves.

Most of them only recorded programs have.

    add, subtract, multiply, divide, maximum    a, b     → y    inputs broadcast as NumPy does
    exp, log, negative, sqrt                    x        → y
    sigmoid, tanh, silu, gelu                   x        → y    gelu by its form, `approximate`
    sum_over                                    x        → y    over `axes`, which are dropped
    batch_norm    x, w*, b*, mean*, variance*  → y  (x − mean) / √(variance + epsilon) · w + b
    running_mean  x, mean    → y    (1 − momentum) mean + momentum · that of x
    running_variance  x, variance  → y              likewise, of m numbers times m / (m − 1)
    move                                        x1, x2 … → y    entries taken by `index`
    NAME_backward                               dy too   → da, db, or dx, or dx1, dx2, …

What `traced.Traced` knows, it gives the bounds of: the gradient by an input is that of Σ y dy.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npkd.validate.bounds import traced
from npkd.validate.bounds.rounding import Arithmetic, Rounded, sums_of_products
from npkd.validate.bounds.traced import Traced, gradients, leaf

Inputs = Any  # arguments by name
Rule = Callable[..., dict[str, Rounded]]


def _forward(function: Callable[..., Traced]) -> Rule:
    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
        with np.errstate(all="ignore"):
            leaves = {name: leaf(arithmetic, x) for name, x in inputs.items()}
            return {"y": function(**leaves, **options).rounded}

    return rule


def _backward(function: Callable[..., Traced]) -> Rule:
    def rule(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
        with np.errstate(all="ignore"):
            leaves = {
                name: leaf(arithmetic, x, trained=True)
                for name, x in inputs.items()
                if name != "dy"
            }
            y = function(**leaves, **options) * leaf(arithmetic, inputs["dy"])
            found = gradients(y, list(leaves.values()))
        return {f"d{name}": one.rounded for name, one in zip(leaves, found, strict=True)}

    return rule


def _sum_over(x: Traced, axes: Any = None, keepdims: bool = False) -> Traced:
    return x.sum(None if axes is None else tuple(axes), keepdims)


def _by_channel(one: Traced, x: Traced) -> Traced:
    return one.reshape(1, *one.shape, *(1,) * (x.value.ndim - 2))


def _statistics(x: Traced) -> tuple[Traced, Traced, int]:
    """Mean, biased variance (by Σ (x − mean)², or by E[x²] − mean²), and how many numbers."""
    axes = (0, *range(2, x.value.ndim))
    mean = x.mean(axes)
    deviations = x - _by_channel(mean, x)
    of_squares = (x.fixed * x.fixed).mean(axes) - mean.fixed * mean.fixed
    variance = (deviations * deviations).mean(axes).allowing(of_squares.error)
    return mean, variance, x.value.size // max(1, mean.value.size)


def _batch_norm(
    x: Traced,
    w: Traced | None = None,
    b: Traced | None = None,
    mean: Traced | None = None,
    variance: Traced | None = None,
    *,
    epsilon: float = 1e-5,
    unbiased: bool = False,
    outside: bool = False,
    constant: bool = False,
) -> Traced:
    """By given means and variances, or the batch's; or folded, (x α − mean α) + b, or x α + (b −
    mean α).

    Others than `epsilon` are faults: the unbiased variance, ε outside of the root, and statistics
    through which no gradient goes.
    """
    if mean is None or variance is None:
        mean, variance, m = _statistics(x.fixed if constant else x)
        variance = variance * (m / (m - 1)) if unbiased else variance
    mean, variance = _by_channel(mean, x), _by_channel(variance, x)
    deviation = variance.sqrt() + epsilon if outside else (variance + epsilon).sqrt()
    factor = _by_channel(w, x) if w is not None else mean * 0.0 + 1.0
    y = (x - mean) / deviation * factor
    factor = factor / deviation
    scaled, shift = (x * factor).fixed, (mean * factor).fixed
    if b is None:
        return y.allowing((scaled - shift).error)
    b = _by_channel(b, x)
    either = np.maximum((scaled - shift + b.fixed).error, (scaled + (b.fixed - shift)).error)
    return (y + b).allowing(either)


def _running_mean(x: Traced, mean: Traced, *, momentum: float = 0.1) -> Traced:
    return _moved_towards(mean, _statistics(x)[0], momentum)


def _running_variance(
    x: Traced, variance: Traced, *, momentum: float = 0.1, unbiased: bool = True
) -> Traced:
    """Not `unbiased`: as others have it."""
    _, batch, m = _statistics(x)
    return _moved_towards(variance, batch * (m / (m - 1)) if unbiased else batch, momentum)


def _moved_towards(old: Traced, new: Traced, momentum: float) -> Traced:
    """(1 − μ) old + μ new, or old + μ (new − old)."""
    y = old * (1 - momentum) + new * momentum
    return y.allowing((old + (new - old) * momentum).error)


def _of_terms(rule: Rule, terms: str) -> Rule:
    """`rule`, sums of ± its input `terms`, with Q = √Σ x²: that of a sum that cancels is not 0."""

    def with_scale(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
        results = rule(arithmetic, inputs, options)
        squares = {**inputs, terms: Rounded(np.square(inputs[terms].value))}

        def scale(name: str) -> np.ndarray:
            return np.sqrt(np.abs(rule(arithmetic, squares, options)[name].value))

        for name, one in results.items():
            one.scale = partial(scale, name)
        return results

    return with_scale


BY_TAPE: dict[str, Callable[..., Traced]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "negative": lambda x: -x,
    "sqrt": lambda x: x.sqrt(),
    "sigmoid": traced.sigmoid,
    "tanh": traced.tanh,
    "silu": traced.silu,
    "gelu": traced.gelu,
    "sum_over": _sum_over,
    "batch_norm": _batch_norm,
    "running_mean": _running_mean,
    "running_variance": _running_variance,
}


# ½ (1 + tanh(x/2)) for σ(x), and 2 σ(2x) − 1 for tanh x, are off by a share of 1, or of x times
# that; their slopes, which are made of them, by no more.
OTHER_FORMS: dict[str, Callable[[np.ndarray], np.ndarray | float]] = {
    "sigmoid": lambda x: 1.0,
    "tanh": lambda x: 2.0,
    "silu": lambda x: 1.0 + x,
}


def _by_another_form(rule: Rule, share: Callable[[np.ndarray], Any]) -> Rule:
    """`rule`, and how much farther off the other form may be."""

    def with_jump(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
        results = rule(arithmetic, inputs, options)
        off = arithmetic.gamma(arithmetic.of_exp + 4) * share(inputs["x"].most)
        for one in results.values():
            one.jump = off * (inputs["dy"].most if "dy" in inputs else 1.0)
        return results

    return with_jump


def maximum(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
    """The larger of two, which moves by no more than they do."""
    a, b = inputs["a"], inputs["b"]
    return {"y": Rounded(np.maximum(a.value, b.value), np.maximum(a.total, b.total))}


def maximum_backward(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
    """dy to the larger, and half of it to either where they are equal."""
    a, b, dy = inputs["a"], inputs["b"], inputs["dy"]
    either = np.asarray(a.total) + b.total
    unsure = (np.abs(a.value - b.value) <= either) & (either > 0)
    results = {}
    for name, mine, other in (("da", a, b), ("db", b, a)):
        share = np.where(mine.value > other.value, 1.0, np.where(mine.value == other.value, 0.5, 0))
        (dx,) = sums_of_products(
            arithmetic,
            lambda dy, share=share, mine=mine: [_summed_to(share * dy, mine.value.shape)],
            [dy],
            [max(0, dy.value.size // max(1, mine.value.size) - 1)],
            factors=0,
        )
        dx.jump = _summed_to(np.where(unsure, dy.most, 0.0), mine.value.shape)
        results[name] = dx
    return results


def _summed_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The transpose of broadcasting."""
    more = x.ndim - len(shape)
    ones = tuple(k for k, n in enumerate(shape, more) if n == 1 and x.shape[k] != 1)
    return x.sum(axis=(*range(more), *ones)).reshape(shape)


def move(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
    """All inputs, flat, one behind the other, `fill` behind them, and of these those at `index`."""
    index, fill = options["index"], float(options.get("fill", 0.0))

    def taken(parts: list[np.ndarray], last: float) -> np.ndarray:
        return np.concatenate([*(part.ravel() for part in parts), [last]])[index]

    several = list(inputs.values())
    errors = [np.broadcast_to(x.total, x.value.shape) for x in several]
    return {"y": Rounded(taken([x.value for x in several], fill), taken(errors, 0.0))}


def move_backward(arithmetic: Arithmetic, inputs: Inputs, options: Any) -> dict[str, Rounded]:
    """dy to where the entries came from, added up where one was taken several times."""
    index = np.asarray(options["index"]).ravel()
    several = {name: x for name, x in inputs.items() if name != "dy"}
    size = sum(x.value.size for x in several.values())
    counts = np.bincount(index % (size + 1), minlength=size + 1)[:size]

    def back(dy: np.ndarray) -> list[np.ndarray]:
        total = np.bincount(index % (size + 1), dy.ravel(), size + 1)
        parts, start = [], 0
        for x in several.values():
            parts.append(total[start : start + x.value.size].reshape(x.value.shape))
            start += x.value.size
        return parts

    roundings = [max(0, int(counts.max(initial=0)) - 1)] * len(several)
    found = sums_of_products(arithmetic, back, [inputs["dy"]], roundings, factors=0)
    return {f"d{name}": dx for name, dx in zip(several, found, strict=True)}


ELEMENTWISE: dict[str, Rule] = {
    "maximum": maximum,
    "maximum_backward": maximum_backward,
    "move": move,
    "move_backward": move_backward,
}
ELEMENTWISE |= {name: _forward(function) for name, function in BY_TAPE.items()}
ELEMENTWISE |= {f"{name}_backward": _backward(function) for name, function in BY_TAPE.items()}
for _name, _share in OTHER_FORMS.items():
    for _rule in (_name, f"{_name}_backward"):
        ELEMENTWISE[_rule] = _by_another_form(ELEMENTWISE[_rule], _share)
ELEMENTWISE["sum_over"] = _of_terms(ELEMENTWISE["sum_over"], "x")
for _name in ("add_backward", "subtract_backward"):  # where one was broadcast, gradients are sums
    ELEMENTWISE[_name] = _of_terms(ELEMENTWISE[_name], "dy")

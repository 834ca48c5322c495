"""The smallest fault that the judge sees: `python -m benchmarks.verdicts power`.

A right result times 1 + ε, on all of it, is judged without any exact probe. Told are the smallest ε
that an entry's bound alone would show (all that there was before effective bits counted), the
smallest, of four to a decade, from which on it is not CONSISTENT, and what the right one's verdict
says of that. For sums of k products: y of a linear layer, x normal, weights within ± 1/√k, and dw
of a convolution of so many windows. For losses: of normal logits (32, 10), at a temperature T.
Beside it what is said of zeros for every sum, of a layer without its bias, and of dw without one
image of 64.
"""

import bisect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import tables
from npkd import losses, ops
from npkd.validate import CONSISTENT, Case, Operation, Verdict, compare
from npkd.validate.bounds.rounding import ARITHMETICS, exact
from npkd.validate.bounds.rules import RULES

FAULTS = 10.0 ** np.arange(-7, 2.01, 0.25)
TERMS = (9, 72, 288, 1152, 4608, 16384, 65536, 2**20)
TEMPERATURES = (1.0, 4.0, 100.0, 1e4, 1e6)
F32 = np.float32


def verdict(op: str, inputs: Mapping[str, Any], result: str, y: Any, **options: Any) -> Verdict:
    """On one result of one operation."""
    operation = Operation("o", op, {name: name for name in inputs}, {result: "found"}, options)
    case = Case("case", "subject", "", inputs, (operation,))
    return compare(case, {"found": np.asarray(y)}).verdicts[0]


def smallest(judged: Callable[[Any], Verdict], right: Any) -> dict[str, Any]:
    """What is said of the right result, and from which factor on it is not CONSISTENT."""
    one = judged(right)

    def is_seen(fault: float) -> bool:
        found = (right.astype(np.float64) * (1 + fault)).astype(F32)
        return judged(found).verdict != CONSISTENT

    number = bisect.bisect_left(FAULTS, True, key=is_seen)
    seen = float(FAULTS[number]) if number < len(FAULTS) else np.nan
    return {"right": one.verdict, "told": one.smallest, "seen": seen}


def by_bound(op: str, inputs: Mapping[str, Any], result: str, **options: Any) -> float:
    """The smallest factor that takes an entry out of its bound."""
    given = {name: exact(x) for name, x in inputs.items()}
    one = RULES[op](ARITHMETICS["float32"], given, options)[result]
    return float(np.min(one.error / np.abs(one.value)))


def of_linear(k: int, rng: np.random.Generator) -> dict[str, Any]:
    x = rng.standard_normal((4, k)).astype(F32)
    w = (rng.uniform(-1, 1, (8, k)) / np.sqrt(k)).astype(F32)
    b = (rng.uniform(-1, 1, 8) / np.sqrt(k)).astype(F32)
    inputs = {"x": x, "w": w, "b": b}

    def judged(y: np.ndarray) -> Verdict:
        return verdict("linear", inputs, "y", y)

    row = smallest(judged, x @ w.T + b)
    others = {"zeros": np.zeros((4, 8), F32), "without its bias": x @ w.T}
    row["bound"] = by_bound("linear", inputs, "y")
    return row | {"others": {name: judged(y).verdict for name, y in others.items()}}


def of_conv(k: int, rng: np.random.Generator) -> dict[str, Any]:
    """Of 64 images with k / 64 windows each, or of one where k is less."""
    images = 64 if k % 64 == 0 and k >= 256 else 1
    side = round((k / images) ** 0.5)
    x = rng.standard_normal((images, 2, side + 2, side + 2)).astype(F32)
    w = rng.standard_normal((3, 2, 3, 3)).astype(F32)
    _, backward = ops.conv2d(x, w)
    dy = rng.standard_normal((images, 3, side, side)).astype(F32)

    inputs = {"x": x, "w": w, "dy": dy}

    def judged(dw: np.ndarray) -> Verdict:
        return verdict("conv2d_backward", inputs, "dw", dw)

    dw = backward(dy)[1]
    row = smallest(judged, dw) | {"k": images * side * side}
    row["bound"] = by_bound("conv2d_backward", inputs, "dw")
    others = {"zeros": np.zeros_like(dw)}
    if images > 1:
        others["without an image"] = ops.conv2d(x[1:], w)[1](dy[1:])[1]
    return row | {"others": {name: judged(y).verdict for name, y in others.items()}}


def of_loss(name: str, temperature: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    s, t = rng.standard_normal((2, 32, 10)).astype(F32)
    inputs, options = {"student": s, "teacher": t}, {"temperature": temperature}
    results = dict(zip(("value", "gradient"), getattr(losses, name)(s, t, **options), strict=True))
    return [
        smallest(lambda y, key=key: verdict(name, inputs, key, y, **options), np.asarray(right))
        | {"of": f"{name}, {key}, T = {temperature:g}", "k": None, "others": {}}
        | {"bound": by_bound(name, inputs, key, **options)}
        for key, right in results.items()
    ]


def power(runs: int, seed: int) -> dict[str, Any]:
    """A row for each operation and length, and for each loss and temperature."""
    rows = []
    for what, of in (("linear, y", of_linear), ("conv2d, dw", of_conv)):
        for k in TERMS:
            rng = np.random.default_rng([seed, k])
            rows.append({"of": what, "k": k} | of(k, rng))
    for name in ("kl", "soft_cross_entropy", "js"):
        for temperature in TEMPERATURES:
            rows += of_loss(name, temperature, np.random.default_rng(seed))
    return {"rows": rows}


def table_of_power(figures: Mapping[str, Any]) -> str:
    """The same as text."""
    head = ["result", "k", "right", "by the bound alone", "not CONSISTENT from", "told", "others"]
    body = []
    for row in figures["rows"]:
        others = ", ".join(f"{name}: {found}" for name, found in row["others"].items())
        numbers = (
            "–" if np.isnan(row[key]) else f"{row[key]:.1e}" for key in ("bound", "seen", "told")
        )
        body.append([row["of"], str(row["k"] or "–"), row["right"], *numbers, others or "–"])
    return tables.aligned(head, body)

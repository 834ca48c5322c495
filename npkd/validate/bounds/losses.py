"""The losses with their bounds: how far rounding may take their values and gradients.

    results = loss(ARITHMETICS["float32"], "kl", {"student": exact(y), "teacher": exact(t)}, {})
    results["value"].value, results["value"].error, results["gradient"].error

A formula is evaluated once, in numbers that carry their bound and know where they come from
(`traced`), and the gradient is what automatic differentiation makes of it.

Several ways of writing a formula are textbook (log softmax or the logarithm of softmax; distances
from differences or from products). Every one is evaluated, and the bound is the largest of theirs.

What comes back as value is npkd.losses' own, in float64; its error is in the bounds, by `gamma`.
Only of the wrong programs that npkd.losses has not (see WRONG) it is the tape's.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npkd import losses
from npkd.losses.facts import FACTS
from npkd.validate.bounds.formulas import known as formulas
from npkd.validate.bounds.formulas.known import FORMULAS
from npkd.validate.bounds.formulas.steps import reduced
from npkd.validate.bounds.rounding import Arithmetic, Rounded
from npkd.validate.bounds.tape import Tape
from npkd.validate.bounds.traced import Traced, gradients, leaf

# Options that no loss has: faults are "the same operation with other options".
WRONG = {
    "axis": "softmax along this axis, 0: over the batch",
    "double_softmax": "the student's probabilities are taken for logits",
    "swapped": "prediction and target exchanged: Σ −student log softmax(one-hot labels) for "
    "cross_entropy, Σ −q log p for soft_cross_entropy, and `reversed` for kl",
}
# The way of a formula that is also in use, but loses digits: it is not in the bound.
LOSING = {"standardize": 1}
NO_OPTIONS: Mapping[str, Any] = {}


def loss(
    arithmetic: Arithmetic, name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """The value of a loss and its gradients, with their bounds.

    inputs   the loss's arrays by its arguments' names, labels too; those that are left out are None
    options  its other arguments, or those of WRONG. For `mix`, `soft` is a loss's name ("l2" by
             default), `soft_options` and `hard_options` are the two losses' own

    Gives "value", "gradient" by the first argument, and "gradient_NAME" by every other one that is
    trained. For `standardize` "y", and "dx" if there is an input "dy".
    """
    with np.errstate(all="ignore"):
        results = by_tape(arithmetic, name, inputs, options)
        if not WRONG.keys() & options.keys():
            for key, right in _by_npkd(name, inputs, options).items():
                results[key].value = right
            if name == "l2" and options.get("variant", "paper") == "paper":
                for key, jump in _of_squares(arithmetic, inputs, options).items():
                    results[key].jump = jump
            if name == "huber":
                results["gradient"].jump = _of_parts(arithmetic, inputs, **options)
            if name in LOSING:
                other = _one_way(arithmetic, name, inputs, options, LOSING[name])
                for key, result in results.items():
                    result.jump = np.fmax(other[key].error - np.asarray(result.error), 0)
    return results


def _of_squares(
    arithmetic: Arithmetic, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """How much farther L2 may be off as s² − 2 s t + t², whose terms cancel, or as a norm's square.

    The norm's slope is a quotient.
    """
    sizes = inputs["student"].most + inputs["teacher"].most
    value, gradient = losses.l2(sizes, np.zeros_like(sizes), **options)
    return {
        "value": np.asarray(arithmetic.gamma_of_sum(sizes.size + 6) * value),
        "gradient": np.asarray(arithmetic.gamma_of_sum(sizes.size + 6) * gradient),
    }


def _of_parts(
    arithmetic: Arithmetic,
    inputs: Mapping[str, Rounded],
    delta: float = 1.0,
    variant: str = "paper",
    **options: Any,
) -> np.ndarray:
    """How much farther Huber's slope may be off as x − δ + δ, that of ½ q² + δ (|x| − q).

    There q is min(|x|, δ).
    """
    ones = np.ones_like(inputs["student"].value)
    _, gradient = losses.l1(ones, np.zeros_like(ones), **options)
    return np.asarray(arithmetic.gamma(3) * (1.0 if variant == "smooth" else delta) * gradient)


def by_tape(
    arithmetic: Arithmetic, name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, Rounded]:
    """What `loss` gives, with the values that the formulas have by themselves."""
    with np.errstate(all="ignore"):
        first, *others = [
            _one_way(arithmetic, name, inputs, options, way) for way in _ways(name, options)
        ]
        for other in others:
            for key, result in first.items():
                error = np.asarray(other[key].error)
                more = np.where(np.isfinite(error), error, 0)
                result.error = np.maximum(result.error, more)
                result.roundings = max(result.roundings, other[key].roundings)
    return first


def _ways(name: str, options: Mapping[str, Any]) -> list[Any]:
    """All ways in which a loss is written."""
    if name == "mix":
        _, soft = FORMULAS[options.get("soft", "l2")]
        return list(itertools.product(range(FORMULAS["cross_entropy"][1]), range(soft)))
    return list(range(FORMULAS[name][1]))


def _one_way(
    arithmetic: Arithmetic,
    name: str,
    inputs: Mapping[str, Rounded],
    options: Mapping[str, Any],
    way: Any,
) -> dict[str, Rounded]:
    by = FACTS[name].gradients(inputs)
    given: dict[str, Any] = {
        key: np.asarray(x.value) if key == "labels" else leaf(arithmetic, x, key in by.values())
        for key, x in inputs.items()
    }
    dy = given.pop("dy", None)
    y = _value(Tape(arithmetic), name, given, options, way)
    leaves = [given[key] for key in by.values()]
    if name == "standardize":
        # Σ dy y has the gradient dx by the logits; its product by 1 is exact
        return {"y": y.rounded} | (
            {"dx": gradients(y * dy, leaves)[0].rounded} if dy is not None else {}
        )
    found = [gradient.rounded for gradient in gradients(y, leaves)]
    return {"value": y.rounded} | dict(zip(by, found, strict=True))


def _value(
    words: Tape,
    name: str,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    way: Any,
) -> Traced:
    """The value of a loss, or of what WRONG makes of it."""
    wrong = {key: options[key] for key in WRONG if key in options}
    options = {key: value for key, value in options.items() if key not in WRONG}
    if wrong.get("axis") == 0:
        words = OverTheBatch(words.arithmetic)
    if wrong.get("double_softmax"):
        first = FACTS[name].trained[0]
        given = {**given, first: words.softmax(given[first])}
    if wrong.get("swapped") and name == "cross_entropy":
        logits = given["logits"]
        of_labels = words.log_softmax(words.number(np.eye(logits.shape[1])[given["labels"]]))
        return reduced(words, -(logits * of_labels), options.get("reduction", "batchmean"))
    if wrong.get("swapped"):
        given = {**given, "student": given["teacher"], "teacher": given["student"]}
    return formulas.value(words, name, given, resolved(name, options), way)


class OverTheBatch(Tape):
    """The words of whoever takes softmax along the batch."""

    def softmax(self, z: Traced, axis: int = -1) -> Traced:
        return super().softmax(z, 0)

    def log_softmax(self, z: Traced, axis: int = -1) -> Traced:
        return super().log_softmax(z, 0)


def _by_npkd(
    name: str, inputs: Mapping[str, Rounded], options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """npkd.losses' own results, in float64."""
    given = {
        key: np.asarray(x.value) if key == "labels" else np.asarray(x.value, dtype=np.float64)
        for key, x in inputs.items()
    }
    if name == "standardize":
        dy = given.pop("dy", None)
        y, backward = losses.standardize(given["logits"], **options)
        return {"y": y} | ({"dx": backward(dy)} if dy is not None else {})
    value, found = loss_of(name)(**given, **options)
    found = found if isinstance(found, tuple) else (found,)
    by = FACTS[name].gradients(inputs)
    return {"value": np.asarray(value)} | dict(zip(by, found, strict=True))


def resolved(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a loss, by default those not given; of `mix`, those of its two losses too."""
    if name != "mix":
        return {**FACTS[name].options, **options}
    soft = options.get("soft", "l2")
    return {
        "alpha": options["alpha"],
        "soft": soft,
        "soft_options": resolved(soft, options.get("soft_options", {})),
        "hard_options": resolved("cross_entropy", options.get("hard_options", {})),
    }


def loss_of(name: str) -> Callable:
    """A loss of npkd.losses; `mix` as programs have it, with its two losses by name."""
    return _named_mix if name == "mix" else getattr(losses, name)


def _named_mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: str = "l2",
    soft_options: Mapping[str, Any] = NO_OPTIONS,
    hard_options: Mapping[str, Any] = NO_OPTIONS,
) -> tuple[np.ndarray, np.ndarray]:
    of_soft = dict(soft_options)
    if FACTS[soft].labels:
        of_soft["labels"] = labels
    return losses.mix(
        student,
        teacher,
        labels,
        alpha=alpha,
        soft=functools.partial(getattr(losses, soft), **of_soft),
        hard=functools.partial(losses.cross_entropy, **hard_options),
    )

"""All formulas, by the loss's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from npkd.validate.bounds.formulas import features, labels, regression, relations, soft_targets
from npkd.validate.bounds.formulas.words import Array, Formulas, Words

FORMULAS: Formulas = {
    **regression.FORMULAS,
    **labels.FORMULAS,
    **soft_targets.FORMULAS,
    **features.FORMULAS,
    **relations.FORMULAS,
}
NAMES = {*FORMULAS, "mix"} - {"standardize"}  # of those that have a value


def value(
    words: Words,
    loss: str,
    given: Mapping[str, Array],
    options: Mapping[str, Any],
    way: Any = 0,
    own: Mapping[str, Callable[..., Array]] = MappingProxyType({}),
) -> Array:
    """The value of a loss by its formula, of these arguments and options.

    options: all of them. `mix` has its soft loss by name, with `soft_options` and `hard_options`,
    and a pair of ways. own: functions that compute losses otherwise, or give NotImplemented for
    some options.
    """
    if loss == "mix":
        ways = way if isinstance(way, tuple) else (way, way)
        return _mix(words, given, ways, own, **options)
    if loss in own and (y := own[loss](**given, **options)) is not NotImplemented:
        return y
    formula, _ = FORMULAS[loss]
    return formula(words, **given, way=way, **options)


def _mix(
    words: Words,
    given: Mapping[str, Array],
    way: tuple[int, int],
    own: Mapping[str, Callable[..., Array]],
    *,
    alpha: float,
    soft: str,
    soft_options: Mapping[str, Any],
    hard_options: Mapping[str, Any],
) -> Array:
    """(1 − α) cross_entropy + α soft"""
    of_hard = {"logits": given["student"], "labels": given["labels"]}
    hard = value(words, "cross_entropy", of_hard, hard_options, way[0], own)
    taken = inspect.signature(FORMULAS[soft][0]).parameters
    of_soft = {name: x for name, x in given.items() if name in taken}
    by_teacher = value(words, soft, of_soft, soft_options, way[1], own)
    share = words.number(alpha)
    return (-share + 1.0) * hard + share * by_teacher

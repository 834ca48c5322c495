"""All formulas, by the loss's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from npkd.losses.facts import FACTS
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

    `mix` has its soft loss by name, with `soft_options` and `hard_options`, and a pair of ways.
    own: functions that compute losses otherwise, or give NotImplemented for some options.
    """
    if loss == "mix":
        ways = way if isinstance(way, tuple) else (way, way)
        return _mix(words, given, ways, own, **options)
    options = {**FACTS[loss].options, **options}
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
    soft: str = "l2",
    soft_options: Mapping[str, Any] | None = None,
    hard_options: Mapping[str, Any] | None = None,
) -> Array:
    """(1 − α) cross_entropy + α soft"""
    of_hard = {"logits": given["student"], "labels": given["labels"]}
    hard = value(words, "cross_entropy", of_hard, hard_options or {}, way[0], own)
    of_soft = {name: given[name] for name in FACTS[soft].arrays}
    by_teacher = value(words, soft, of_soft, soft_options or {}, way[1], own)
    share = words.number(alpha)
    return (-share + 1.0) * hard + share * by_teacher

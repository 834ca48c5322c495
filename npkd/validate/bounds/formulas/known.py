"""All formulas, by the loss's name."""

from collections.abc import Callable, Mapping
from typing import Any

from npkd.losses.facts import FACTS
from npkd.validate.bounds.formulas import features, labels, regression, relations, soft_targets
from npkd.validate.bounds.formulas.words import Array, Words

# Each with the number of ways in which it is written
FORMULAS: dict[str, tuple[Callable[..., Array], int]] = {
    **regression.FORMULAS,
    **labels.FORMULAS,
    **soft_targets.FORMULAS,
    **features.FORMULAS,
    **relations.FORMULAS,
}


def value(
    words: Words, loss: str, given: Mapping[str, Array], options: Mapping[str, Any], way: Any = 0
) -> Array:
    """The value of a loss by its formula, of these arguments and options.

    `mix` has its soft loss by name, with `soft_options` and `hard_options`, and a pair of ways.
    """
    if loss == "mix":
        return _mix(words, given, way if isinstance(way, tuple) else (way, way), **options)
    formula, _ = FORMULAS[loss]
    return formula(words, **given, way=way, **{**FACTS[loss].options, **options})


def _mix(
    words: Words,
    given: Mapping[str, Array],
    way: tuple[int, int],
    *,
    alpha: float,
    soft: str = "l2",
    soft_options: Mapping[str, Any] | None = None,
    hard_options: Mapping[str, Any] | None = None,
) -> Array:
    """(1 − α) cross_entropy + α soft"""
    of_hard = {"logits": given["student"], "labels": given["labels"]}
    hard = value(words, "cross_entropy", of_hard, hard_options or {}, way[0])
    of_soft = {name: given[name] for name in FACTS[soft].arrays}
    share = words.number(alpha)
    return (-share + 1.0) * hard + share * value(words, soft, of_soft, soft_options or {}, way[1])

"""Random arguments of the losses between probabilities."""

from typing import Any

from npkd.proofs.cases.drawn import (
    BATCH_MEANS,
    EVERY_REDUCTION,
    Drawn,
    Integers,
    epsilon,
    labels,
    one_of,
    outputs,
    temperature,
)


def _divergent(integers: Integers) -> tuple[int, int]:
    """Outputs whose distributions are not by chance so close that Σ p (log p − log q) cancels."""
    return integers(3, 4), integers(2, 6)


def kl(integers: Integers) -> Drawn:
    """Every reduction, variant and temperature; two classes or more, as for `l2`."""
    shape = _divergent(integers)
    options = {
        "reduction": one_of(integers, *EVERY_REDUCTION),
        "variant": one_of(integers, "paper", "reversed", "unlogged", "reversed unlogged"),
    }
    if not options["variant"].endswith("unlogged"):
        options["skew"] = one_of(integers, 0.0, 0.125, 0.5)
    options |= temperature(integers, most=3)
    return Drawn("kl", {"student": shape, "teacher": shape}, options)


def js(integers: Integers) -> Drawn:
    """Every reduction, variant and temperature, and mixtures of any share."""
    shape = _divergent(integers)
    options = {
        "beta": integers(1, 7) / 8,
        "reduction": one_of(integers, *EVERY_REDUCTION),
        "variant": one_of(integers, "paper", "exchanged"),
    }
    options |= temperature(integers, most=3)
    return Drawn("js", {"student": shape, "teacher": shape}, options)


def soft_cross_entropy(integers: Integers) -> Drawn:
    """Every reduction and temperature; two classes or more, as for `l2`."""
    shape = outputs(integers, least=2)
    options = {"reduction": one_of(integers, *EVERY_REDUCTION)} | temperature(integers)
    return Drawn("soft_cross_entropy", {"student": shape, "teacher": shape}, options)


def limit(integers: Integers) -> Drawn:
    """Every reduction."""
    shape = outputs(integers)
    options = {"reduction": one_of(integers, *EVERY_REDUCTION)}
    return Drawn("limit", {"student": shape, "teacher": shape}, options)


def dkd(integers: Integers) -> Drawn:
    """Every reduction and temperature, the parts in any shares; of two classes one part is 0."""
    shape = _divergent(integers)
    alpha, beta = one_of(integers, (1, 8), (2, 0.5), (0.5, 2))
    options = {
        "labels": labels(integers, *shape),
        "alpha": alpha,
        "beta": beta,
        "reduction": one_of(integers, *BATCH_MEANS),
    }
    options |= temperature(integers, most=3)
    return Drawn("dkd", {"student": shape, "teacher": shape}, options)


def dist(integers: Integers) -> Drawn:
    """Samples and classes enough that no probabilities are nearly constant: ρ would be 0 / 0.

    Of two numbers each, they always correlate, or always do not.
    """
    shape = integers(4, 5), integers(4, 6)
    options: dict[str, Any] = {"beta": integers(1, 4) / 2, "gamma": integers(1, 4) / 2}
    options |= temperature(integers, most=3) | epsilon(integers)
    return Drawn("dist", {"student": shape, "teacher": shape}, options)


def standardize(integers: Integers) -> Drawn:
    """Three or more classes: of two, one becomes 1 and the other −1, whatever they are."""
    shape = integers(2, 4), integers(3, 6)
    return Drawn("standardize", {"logits": shape}, {"ddof": integers(0, 1)} | epsilon(integers))

"""Random arguments of the losses that regress."""

from npkd.proofs.cases.drawn import (
    EVERY_REDUCTION,
    Drawn,
    Integers,
    boolean,
    entries,
    one_of,
    temperature,
)


def l2(integers: Integers) -> Drawn:
    """Every reduction and variant; outputs (B, C), or features of any axes.

    A softmax of one class is 1, and all that is left of it rounding: there are two or more.
    """
    shape = entries(integers)
    variant = one_of(integers, "paper", "probabilities", "log-probabilities")
    if variant != "paper":
        shape = (*shape[:-1], shape[-1] + 1)
    options = {
        "reduction": one_of(integers, *EVERY_REDUCTION),
        "half": boolean(integers),
        "variant": variant,
    }
    return Drawn("l2", {"student": shape, "teacher": shape}, options | temperature(integers))


def l1(integers: Integers) -> Drawn:
    """Every reduction; outputs (B, C), or features of any axes."""
    shape = entries(integers)
    options = {"reduction": one_of(integers, *EVERY_REDUCTION)}
    return Drawn("l1", {"student": shape, "teacher": shape}, options)


def huber(integers: Integers) -> Drawn:
    """Every reduction and variant, with differences on both sides of δ."""
    shape = entries(integers)
    options = {
        "reduction": one_of(integers, *EVERY_REDUCTION),
        "variant": one_of(integers, "paper", "smooth"),
        "delta": integers(1, 8) / 4,
    }
    return Drawn("huber", {"student": shape, "teacher": shape}, options)

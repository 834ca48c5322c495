"""The one place that knows the reductions."""

from npkd.ops.contract import shown


def divisor_of(loss: str, reduction: str, **divisors: int) -> int:
    """The divisor that goes with `reduction`, out of those that `loss` offers.

    Raises ValueError for a reduction that is not offered, and for a mean over nothing.
    """
    if not isinstance(reduction, str) or reduction not in divisors:
        offered = ", ".join(f'"{name}"' for name in divisors)
        raise ValueError(f"{loss}: reduction is {shown(reduction)}, expected one of {offered}")
    if divisors[reduction] == 0:
        raise ValueError(f'{loss}: an empty batch has no mean; use reduction="sum"')
    return divisors[reduction]

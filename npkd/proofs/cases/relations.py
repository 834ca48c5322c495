"""Random arguments of the losses between relations of samples."""

from npkd.proofs.cases.drawn import OF_PAIRS, Drawn, Integers, boolean, epsilon, one_of
from npkd.proofs.cases.features import map


def _relation(integers: Integers, batch: int = 3, channels: int = 1) -> dict[str, tuple[int, ...]]:
    """So many samples or one more, as rows or maps, the teacher's of another size.

    Of two samples there is one relation, and most losses divide by it. Four numbers or more to a
    channel: lengths are seldom near 0 then.
    """
    batch = integers(batch, batch + 1)
    of_student, of_teacher = (
        (integers(4 * channels, 4 * channels + 4),)
        if boolean(integers)
        else (integers(channels, channels + 1), *map(integers))
        for _ in range(2)
    )
    return {"student": (batch, *of_student), "teacher": (batch, *of_teacher)}


def similarity(integers: Integers) -> Drawn:
    """Every reduction and variant."""
    shapes = _relation(integers)
    options = {
        "reduction": one_of(integers, *OF_PAIRS),
        "variant": one_of(integers, "paper", "l1"),
    }
    return Drawn("similarity", shapes, options)


def _by_huber(integers: Integers, op: str) -> Drawn:
    """Every reduction, with differences on both sides of δ."""
    shapes = _relation(integers)
    options = {"delta": integers(1, 8) / 8, "reduction": one_of(integers, *OF_PAIRS)}
    return Drawn(op, shapes, options)


def rkd_distance(integers: Integers) -> Drawn:
    """Every reduction, with differences on both sides of δ."""
    return _by_huber(integers, "rkd_distance")


def rkd_angle(integers: Integers) -> Drawn:
    """Every reduction, with differences on both sides of δ."""
    return _by_huber(integers, "rkd_angle")


def pkt(integers: Integers) -> Drawn:
    """Every reduction.

    Four samples or more, and an ε far below their chances: as for `kl`, the sum is not to cancel.
    Eight numbers or more: two samples are seldom nearly opposite, and chances near 0, then.
    """
    shapes = _relation(integers, batch=4, channels=2)
    options = {"reduction": one_of(integers, *OF_PAIRS)} | epsilon(integers, 1e-7, 1e-3)
    return Drawn("pkt", shapes, options)


def cc(integers: Integers) -> Drawn:
    """Every reduction and variant, orders from 1 to 4."""
    shapes = _relation(integers)
    variant = one_of(integers, "paper", "bilinear", "norm", "consecutive")
    if variant == "consecutive":
        shapes["teacher"] = shapes["student"]
    options = {
        "gamma": integers(1, 8) / 8,
        "order": integers(1, 4),
        "reduction": one_of(integers, *OF_PAIRS),
        "variant": variant,
    }
    return Drawn("cc", shapes, options)

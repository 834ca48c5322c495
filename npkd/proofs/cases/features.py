"""Random arguments of the losses between maps of features."""

from npkd.proofs.cases.drawn import (
    BATCH_MEANS,
    EVERY_REDUCTION,
    OF_PAIRS,
    Drawn,
    Integers,
    boolean,
    epsilon,
    one_of,
    other,
)


def map(integers: Integers) -> tuple[int, int]:
    """A height and width of four cells or more."""
    return integers(2, 3), integers(2, 4)


def _regression(integers: Integers) -> dict[str, tuple[int, ...]]:
    """Student and teacher, rows or maps, with weight and bias, a weight alone, or neither."""
    batch, inputs = integers(2, 4), integers(1, 4)
    positions = () if boolean(integers) else (integers(1, 3), integers(1, 3))
    arrays_given = integers(0, 2)
    outputs = other(integers, inputs, 4) if arrays_given else inputs
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, inputs, *positions),
        "teacher": (batch, outputs, *positions),
    }
    if arrays_given:
        shapes["weight"] = (outputs, inputs)
    if arrays_given == 2:
        shapes["bias"] = (outputs,)
    return shapes


def hint(integers: Integers) -> Drawn:
    """Rows or maps, with every regressor and reduction."""
    shapes = _regression(integers)
    options = {"half": boolean(integers), "reduction": one_of(integers, *OF_PAIRS)}
    return Drawn("hint", shapes, options)


def attention(integers: Integers) -> Drawn:
    """Every reduction and variant, student and teacher of any numbers of channels."""
    batch, channels, sides = integers(2, 3), integers(1, 4), map(integers)
    variant = one_of(integers, "squared", "norm")
    reductions = EVERY_REDUCTION if variant == "squared" else BATCH_MEANS
    options = {
        "power": integers(2, 6) / 2,
        "variant": variant,
        "reduction": one_of(integers, *reductions),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, channels, *sides),
        "teacher": (batch, other(integers, channels, 4), *sides),
    }
    return Drawn("attention", shapes, options | epsilon(integers))


def nst(integers: Integers) -> Drawn:
    """Every reduction, student and teacher of any numbers of channels."""
    batch, channels, sides = integers(2, 3), integers(1, 4), map(integers)
    shapes: dict[str, tuple[int, ...]] = {
        "student": (batch, channels, *sides),
        "teacher": (batch, other(integers, channels, 4), *sides),
    }
    options = {"reduction": one_of(integers, *BATCH_MEANS)} | epsilon(integers)
    return Drawn("nst", shapes, options)


def fsp(integers: Integers) -> Drawn:
    """Every reduction and variant, with two weights, one or none, maps of any two sizes."""
    batch, weights = integers(2, 3), integers(0, 2)
    first = integers(1, 3)
    second = other(integers, first, 3)
    of_teacher = [
        other(integers, first, 3) if weights > 0 else first,
        other(integers, second, 3) if weights > 1 else second,
    ]
    sides, other_sides = ((integers(1, 3), integers(1, 3)) for _ in range(2))
    shapes: dict[str, tuple[int, ...]] = {
        "first": (batch, first, *sides),
        "second": (batch, second, *sides),
        "teacher_first": (batch, of_teacher[0], *other_sides),
        "teacher_second": (batch, of_teacher[1], *other_sides),
    }
    if weights > 0:
        shapes["weight_first"] = (of_teacher[0], first)
    if weights > 1:
        shapes["weight_second"] = (of_teacher[1], second)
    options = {
        "reduction": one_of(integers, *OF_PAIRS),
        "variant": one_of(integers, "squared", "norms"),
    }
    return Drawn("fsp", shapes, options)


def vid(integers: Integers) -> Drawn:
    """Rows or maps, with every regressor, reduction and variant."""
    of_regression = _regression(integers)
    student, teacher = of_regression.pop("student"), of_regression.pop("teacher")
    shapes = {"student": student, "teacher": teacher, "scale": teacher[1:2]} | of_regression
    options = {
        "reduction": one_of(integers, *OF_PAIRS),
        "variant": one_of(integers, "paper", "fixed"),
    }
    return Drawn("vid", shapes, options | epsilon(integers, least=1e-5))

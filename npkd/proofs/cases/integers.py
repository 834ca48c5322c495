"""Cases of the operations on eight-bit integers."""

from npkd.proofs.cases.drawn import Cases, Drawn, Integers, boolean


def quantize_linear(integers: Integers) -> Drawn:
    """Numbers by a scale, many of them halves."""
    return Drawn("quantize_linear", {"x": (integers(1, 30),)}, _zero_points(integers, "zero_point"))


def dequantize_linear(integers: Integers) -> Drawn:
    """Integers by a scale."""
    return Drawn(
        "dequantize_linear", {"q": (integers(1, 30),)}, _zero_points(integers, "zero_point")
    )


def qlinear(integers: Integers) -> Drawn:
    """Rows; in some the sums are so long that they have to be cut."""
    inputs = 1300 if integers(0, 2) == 0 else integers(1, 5)
    shapes: dict[str, tuple[int, ...]] = {"x": (2, inputs), "w": (4, inputs)}
    return Drawn("qlinear", shapes, _zero_points(integers, "x_zero_point", "y_zero_point"))


def qlinear_conv(integers: Integers) -> Drawn:
    """Images; in some the sums are so long that they have to be cut."""
    if integers(0, 2) == 0:
        groups, inputs, kernel, image = 1, 1300, (1, 1), (1, 1)
    else:
        groups, inputs = 1 + boolean(integers), integers(1, 3)
        kernel = integers(1, 3), integers(1, 3)
        image = integers(kernel[0], 4), integers(kernel[1], 4)
    shapes: dict[str, tuple[int, ...]] = {
        "x": (2, groups * inputs, *image),
        "w": (4, inputs, *kernel),
    }
    options = {"stride": integers(1, 2), "padding": integers(0, min(kernel) - 1), "groups": groups}
    if all((size - 1) * 2 < side for size, side in zip(kernel, image, strict=True)):
        options["dilation"] = integers(1, 2)
    zero_points = _zero_points(integers, "x_zero_point", "y_zero_point")
    return Drawn("qlinear_conv", shapes, options | zero_points)


def _zero_points(integers: Integers, *names: str) -> dict[str, int]:
    return {name: (0, 128, 255, integers(1, 254))[integers(0, 3)] for name in names}


INTEGERS: Cases = {
    "quantize_linear": quantize_linear,
    "dequantize_linear": dequantize_linear,
    "qlinear": qlinear,
    "qlinear_conv": qlinear_conv,
}

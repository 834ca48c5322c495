"""Checks of the operations on eight-bit integers: they are their definitions, to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np

from npkd import definitions
from npkd.proofs.cases import Drawn
from npkd.proofs.checks import Check, Finding
from npkd.quantise.ops import Scale


def bits(op: Callable[..., Any], case: Drawn, rng: np.random.Generator) -> Finding:
    """Every bit is that of the definition, also where a number lies between two integers."""
    given = dict(case.options)
    if case.op in ("quantize_linear", "dequantize_linear"):
        scale, zero_point = np.float32(rng.uniform(0.01, 3)), given["zero_point"]
        halves = scale * rng.integers(-600, 600, case.shapes.get("x", 0)) / 2
        x = halves.astype(np.float32) if "x" in case.shapes else _integers(rng, case.shapes["q"])
        expected = getattr(definitions, case.op)(x, scale, zero_point)
        _require_same(op(x, Scale(scale, zero_point)), expected)
        return Finding()
    x, w, b, scales = _product(case, rng)
    zero_points = given.pop("x_zero_point"), given.pop("y_zero_point")
    w_scale, y_scale = scales
    x_of, y_of = Scale(np.float32(1), zero_points[0]), Scale(y_scale, zero_points[1])
    ends = (2, 3) if x.ndim == 2 else ()  # the definition is of images of one cell
    of_images = [np.expand_dims(one, ends) for one in (x, w)]
    scaled: Any = of_images[0], *x_of, of_images[1], w_scale, *y_of, b
    expected = definitions.qlinear_conv(*scaled, **given)
    found = op(x, x_of, w, w_scale, y_of, b, **given)
    _require_same(found, expected.reshape(found.shape) if ends else expected)
    return Finding()


def _integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 256, shape).astype(np.uint8)


def _product(case: Drawn, rng: np.random.Generator) -> tuple[Any, ...]:
    """x, w, b, and scales by which there are sums within 0 to 255, and beyond, and halves."""
    x, shape = _integers(rng, case.shapes["x"]), case.shapes["w"]
    w = rng.integers(-127, 128, shape).astype(np.int8)
    largest = int(rng.choice([5000, 2**26]))  # so large that float32 has no sums with it
    b = rng.integers(-largest, largest, len(w)).astype(np.int32)
    w_scale = np.array([1, 2, 4, 0.5], np.float32)
    spread = 100 * np.sqrt(w[0].size) + largest / 100
    y_scale = np.float32(2.0 ** np.round(np.log2(spread)))
    return x, w, b, (w_scale, y_scale)


def _require_same(found: np.ndarray, expected: np.ndarray) -> None:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise AssertionError(
            f"the value is {found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
        )
    for index in np.argwhere(found != expected):
        place = tuple(index.tolist())
        raise AssertionError(f"the value at {place} is {found[place]}, expected {expected[place]}")


CHECKS_OF_INTEGERS: dict[str, Check] = {"bits": bits}

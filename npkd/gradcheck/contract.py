"""What npkd's ops and losses promise beside right gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npkd.gradcheck.vectors import bits, generator


def check_contract(
    function: Callable[..., Any],
    *args: np.ndarray,
    rng: np.random.Generator | int,
    batched: Sequence[int] = (),
    views: bool = False,
) -> None:
    """Raise AssertionError unless the function keeps what npkd's ops and losses promise.

    - no argument is changed, nor dy
    - backward twice gives the same bits, another dy in between or not
    - calls know nothing of each other: one on other arguments changes no earlier value nor backward
      pass; nor does it change a backward pass if its value is written to (`views`: it may)
    - values and gradients have the dtype of the arguments, float32 and float64, gradients their
      shapes
    - arguments and dy may be read-only, which changes no bit, and lie in memory in any order
    - a batch of none gives values and gradients: arguments whose numbers are in `batched` are cut
      to none along their first axis, and gradients by the others are then 0
    - outputs are fresh: arguments, dy, values and the gradients of two calls share no memory
      (`views`: but for outputs that are views by intention)

    function and args: as for `compare`, args being arrays. Floats are given in their own dtype.

    Example
        >>> gradcheck.check_contract(ops.relu, np.array([-1.0, 2.0]), rng=0, batched=[0])
    """
    rng = generator(rng)
    for dtype in (np.float32, np.float64):
        Contract(function, [np.array(a, dtype) for a in args], rng).check(batched, views)


@dataclass
class Contract:
    """One function on arrays of one dtype."""

    function: Callable[..., Any]
    args: list[np.ndarray]
    rng: np.random.Generator

    def check(self, batched: Sequence[int], views: bool) -> None:
        y, gradients = self.call([a.copy() for a in self.args])
        self.dy = self.rng.standard_normal(y.shape).astype(y.dtype)
        self.kept_dtypes_and_shapes(y, gradients(self.dy.copy()))
        self.unchanged_arguments()
        y, gradients = self.call(self.args)
        self.same_bits_again(gradients)
        self.independent_calls(views)
        self.read_only()
        self.any_layout(y, gradients(self.dy))
        if batched:
            self.empty_batch(batched)
        if not views:
            self.fresh_outputs()

    def call(self, args: Sequence[np.ndarray]) -> tuple[np.ndarray, Callable[..., Any]]:
        """The value, and its gradients as a list, by dy (which a loss ignores)."""
        y, backward = self.function(*args)

        def gradients(dy: np.ndarray) -> list[np.ndarray]:
            given = backward(dy) if callable(backward) else self.function(*args)[1]
            found = given if isinstance(given, tuple | list) else [given]
            return [gradient for gradient in found if gradient is not None]

        return y, gradients

    def kept_dtypes_and_shapes(self, y: np.ndarray, gradients: list[np.ndarray]) -> None:
        expected = [(a.dtype, a.shape) for a in self.args]
        got = [(g.dtype, g.shape) for g in gradients]
        if y.dtype != self.args[0].dtype or got != expected:
            raise AssertionError(
                f"for arguments {_described(expected)} the value is {y.dtype}, "
                f"the gradients {_described(got)}"
            )

    def unchanged_arguments(self) -> None:
        args, dy = [a.copy() for a in self.args], self.dy.copy()
        _, gradients = self.call(args)
        gradients(dy)
        for k, (array, original) in enumerate(zip(args, self.args, strict=True)):
            if bits([array]) != bits([original]):
                raise AssertionError(f"argument {k} was changed")
        if bits([dy]) != bits([self.dy]):
            raise AssertionError("dy was changed by the backward pass")

    def same_bits_again(self, gradients: Callable[..., Any]) -> None:
        first = bits(gradients(self.dy))
        gradients(self.rng.standard_normal(self.dy.shape).astype(self.dy.dtype))
        if bits(gradients(self.dy)) != first:
            raise AssertionError("the backward pass called again gives other bits")

    def independent_calls(self, views: bool) -> None:
        y, gradients = self.call(self.args)
        value, first = bits([y]), bits(gradients(self.dy))
        shuffled = [self.rng.permutation(a.ravel()).reshape(a.shape) for a in self.args]
        self.call(shuffled)[1](self.dy)
        if bits([y]) != value:
            raise AssertionError("a later call changes the value of an earlier one")
        if bits(gradients(self.dy)) != first:
            raise AssertionError("a later call changes the backward pass of an earlier one")
        if isinstance(y, np.ndarray) and not views:
            y[...] = 7
            if bits(gradients(self.dy)) != first:
                raise AssertionError("the backward pass changes if the value is written to")

    def read_only(self) -> None:
        y, gradients = self.call(self.args)
        expected = bits([y, *gradients(self.dy)])
        locked = [a.copy() for a in (*self.args, self.dy)]
        for array in locked:
            array.flags.writeable = False
        try:
            y, gradients = self.call(locked[:-1])
            found = bits([y, *gradients(locked[-1])])
        except ValueError as error:
            raise AssertionError(f"read-only arguments are not taken: {error}") from error
        if found != expected:
            raise AssertionError("read-only arguments give other bits")

    def any_layout(self, y: np.ndarray, expected: list[np.ndarray]) -> None:
        tolerance = 1000 * np.finfo(y.dtype).eps
        for name, lay_out in _LAYOUTS.items():
            laid_out_y, gradients = self.call([lay_out(a) for a in self.args])
            found = [laid_out_y, *gradients(lay_out(self.dy))]
            for a, b in zip(found, (y, *expected), strict=True):
                if not np.max(np.abs(a - b), initial=0) <= tolerance * np.max(np.abs(b), initial=0):
                    raise AssertionError(f"{name} arguments give another value or gradient")

    def empty_batch(self, batched: Sequence[int]) -> None:
        full, _ = self.call(self.args)
        y, gradients = self.call([a[:0] if k in batched else a for k, a in enumerate(self.args)])
        if y.shape != (0, *full.shape[1:]):
            raise AssertionError(
                f"for a batch of none the value is {y.shape}, expected {(0, *full.shape[1:])}"
            )
        for k, (gradient, a) in enumerate(zip(gradients(y.copy()), self.args, strict=True)):
            expected = np.zeros_like(a[:0] if k in batched else a)
            if not np.array_equal(gradient, expected):
                raise AssertionError(f"for a batch of none the gradient by argument {k} is not 0")

    def fresh_outputs(self) -> None:
        y, gradients = self.call(self.args)
        seen = [(f"argument {k}", a) for k, a in enumerate(self.args)] + [("dy", self.dy)]
        for name, output in (
            ("the value", y),
            *(("a gradient", gradient) for gradient in gradients(self.dy)),
            *(("a gradient by the second call", gradient) for gradient in gradients(self.dy)),
        ):
            for other_name, other in seen:
                if np.shares_memory(output, other):
                    raise AssertionError(f"{name} shares memory with {other_name}")
            seen.append((name, output))


_LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "transposed": lambda a: a.T.copy().T,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
}


def _described(arrays: list[tuple[np.dtype, tuple[int, ...]]]) -> str:
    return ", ".join(f"{dtype} {shape}" for dtype, shape in arrays)

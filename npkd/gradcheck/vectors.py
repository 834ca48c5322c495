"""All arguments, or all outputs, in a row; and the directions along which they are moved."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

DRAWS = 4  # of directions, of which the best is taken


@dataclass
class Vector:
    """Arrays, or dicts of arrays, as one flat vector; eps is the coarsest of their precisions."""

    trees: tuple[Any, ...]
    names: list[str]
    shapes: list[tuple[int, ...]]
    values: np.ndarray
    eps: float

    @classmethod
    def of(cls, tree: Any, name: str) -> "Vector":
        found = list(leaves(tree, name))
        _require_numbers(found, "have the function return arrays")
        return cls._of_leaves((tree,), found)

    @classmethod
    def of_arguments(cls, args: Sequence[Any]) -> "Vector":
        found = [leaf for k, arg in enumerate(args) for leaf in leaves(arg, f"argument {k}")]
        _require_numbers(
            found, "give what is no number to the function yourself: lambda x: function(x, labels)"
        )
        x = cls._of_leaves(tuple(args), found)
        if bad := not_finite(x, x.values, ""):
            raise ValueError(f"gradcheck: {bad}, expected finite arguments")
        return x

    @classmethod
    def _of_leaves(cls, trees: tuple[Any, ...], named: list[tuple[str, np.ndarray]]) -> "Vector":
        arrays = [array for _, array in named]
        dtype = np.result_type(np.float64, *arrays)
        flat = [np.ravel(array).astype(dtype, copy=False) for array in arrays]
        values = np.concatenate(flat) if flat else np.empty(0)
        eps = max((np.finfo(a.dtype).eps for a in arrays if a.dtype.kind in "fc"), default=0)
        names, shapes = [name for name, _ in named], [a.shape for a in arrays]
        return cls(trees, names, shapes, values, float(eps))

    def like(self, values: np.ndarray) -> list[Any]:
        """Other values in the same arrays and dicts, which share their memory."""
        arrays = (
            values[leaf].reshape(shape)
            for leaf, shape in zip(self.leaves, self.shapes, strict=True)
        )
        return [
            {key: next(arrays) for key in tree} if isinstance(tree, Mapping) else next(arrays)
            for tree in self.trees
        ]

    @property
    def leaves(self) -> list[slice]:
        """Where each array lies."""
        ends = list(accumulate((math.prod(shape) for shape in self.shapes), initial=0))
        return [slice(start, stop) for start, stop in pairwise(ends)]

    def arrays(self, values: np.ndarray) -> list[np.ndarray]:
        """The part of these values that lies in each array, in a row."""
        return [values[leaf] for leaf in self.leaves]

    @property
    def sizes(self) -> np.ndarray:
        """For each entry the typical size of its array."""
        found = [np.full(array.shape, typical(array)) for array in self.arrays(self.values)]
        return np.concatenate(found) if found else np.empty(0)

    def array(self, i: int) -> int:
        """The number of the array that holds entry i."""
        return next(k for k, leaf in enumerate(self.leaves) if i < leaf.stop)

    def index(self, i: int) -> tuple[int, ...]:
        """The index of entry i in its array."""
        k = self.array(i)
        index = np.unravel_index(i - self.leaves[k].start, self.shapes[k])
        return tuple(int(n) for n in index)

    def entry(self, i: int) -> str:
        """Entry i by the name of its array and its index there."""
        return f"{self.names[self.array(i)]} at {self.index(i)}"


def _require_numbers(named: Sequence[tuple[str, np.ndarray]], advice: str) -> None:
    for name, array in named:
        if array.dtype.kind not in "fciub":
            raise ValueError(f"gradcheck: {name} holds {array.dtype}, expected numbers ({advice})")


def leaves(tree: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield f'{name}["{key}"]', _array(value, f'{name}["{key}"]')
    else:
        yield name, _array(tree, name)


def _array(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"gradcheck: {name} is no array: {error}") from error


def called(function: Callable[..., Any], args: list[Any]) -> tuple[Any, Any]:
    result = function(*args)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(
            f"gradcheck: the function returned a {type(result).__name__}, "
            "expected (y, backward) or (value, gradient)"
        )
    return result[0], result[1]


def gradient(given: Any, x: Vector) -> Vector:
    """The gradients in a row, one of its own shape for each argument.

    None at the end, for an argument that was not given, is left out.
    """
    found = list(given) if isinstance(given, tuple | list) else [given]
    while len(found) > len(x.trees) and found[-1] is None:
        found.pop()
    for k, gradient in enumerate(found):
        if gradient is None:
            raise AssertionError(f"the gradient by argument {k} is None")
    for k, (gradient, tree) in enumerate(zip(found, x.trees, strict=False)):
        if isinstance(gradient, Mapping) and isinstance(tree, Mapping):  # in the argument's order
            found[k] = {key: gradient[key] for key in [*tree, *gradient] if key in gradient}
    named = [leaf for k, of in enumerate(found) for leaf in leaves(of, f"argument {k}")]
    gradients = Vector._of_leaves(tuple(found), named)
    if len(found) != len(x.trees) or gradients.shapes != x.shapes or gradients.names != x.names:
        got, expected = (
            ", ".join(f"{n} {s}" for n, s in zip(v.names, v.shapes, strict=True))
            for v in (gradients, x)
        )
        raise AssertionError(f"gradients are by {got}; expected {expected}")
    _require_numbers(named, "have backward return arrays")
    return gradients


def typical(array: np.ndarray) -> float:
    """The root mean square of an array; 1 where it is 0."""
    largest = float(np.max(np.abs(array), initial=0))
    return largest * float(np.sqrt(np.mean(np.abs(array / largest) ** 2))) if largest else 1.0


def not_finite(of: Vector, values: np.ndarray, what: str) -> str:
    """That an entry is not finite, which, and how many; "" if all are."""
    bad = np.flatnonzero(~np.isfinite(values))
    if not bad.size:
        return ""
    return (
        f"{what}{of.entry(int(bad[0]))} is {values[bad[0]]}; "
        f"of {values.size} entries {bad.size} are not finite"
    )


def bits(arrays: Sequence[np.ndarray]) -> list[bytes]:
    return [np.asarray(array).tobytes() for array in arrays]


# Directions


def generator(rng: Any) -> np.random.Generator:
    """A Generator as it is, or that of a seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(rng)
    raise ValueError(f"gradcheck: rng is {rng!r}, expected a numpy Generator or a seed from 0")


def weights(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Numbers between ½ and 1½ in size, of either sign; complex ones have two such parts."""

    def real() -> np.ndarray:
        size = rng.uniform(-1, 1, like.shape)
        return np.copysign(0.5 + np.abs(size), size)

    return real() + 1j * real() if np.iscomplexobj(like) else real()


Direction = tuple[str, tuple[int, ...] | None, np.ndarray, slice]  # its name, entry, v, and array


def unit_directions(x: Vector, rng: np.random.Generator, sample: int | None) -> Iterator[Direction]:
    """v = 1 at one entry and 0 elsewhere: for all entries, or for a sample of each array."""
    for k, leaf in enumerate(x.leaves):
        entries = np.arange(leaf.start, leaf.stop)
        if sample is not None and sample < len(entries):
            entries = np.sort(rng.choice(entries, sample, replace=False))
        for i in entries:
            v = np.zeros_like(x.values)
            v[i] = 0.6 + 0.8j if np.iscomplexobj(v) else 1  # what is not linear may be so along 1
            yield x.names[k], x.index(int(i)), v, leaf


def random_directions(
    x: Vector, rng: np.random.Generator, method: str, g: np.ndarray
) -> Iterator[Direction]:
    """v of all arguments together; for functions affine or linear in each alone, of each alone.

    Of a few that are drawn, that along which the terms of ⟨g, v⟩ cancel least: a gradient wrong by
    a factor is wrong by as much in what is compared.
    """

    def drawn(leaf: slice) -> np.ndarray:
        v = weights(rng, x.values[leaf])
        turned = (np.roll(v, rng.integers(v.size)) for _ in range(DRAWS))
        return max(turned, key=lambda v: float(np.abs(np.vdot(g[leaf], v))))

    if method in ("affine", "linear"):
        for name, leaf in zip(x.names, x.leaves, strict=True):
            v = np.zeros_like(x.values)
            if v[leaf].size:
                v[leaf] = drawn(leaf)
                yield name, None, v, leaf
    elif x.values.size:
        name = x.names[0] if len(x.names) == 1 else "all arguments"
        everything = slice(0, x.values.size)
        yield name, None, drawn(everything), everything

"""Right computations in NumPy and float32 whose sums are added up in some order."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.verdicts.programs import Arrays
from npkd import losses, ops
from npkd.validate import Case


def products_of(op: str, x: np.ndarray, w: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """What y = Σ x w adds up: (3, terms), the entries of x, of w and of y, of each term."""
    if op == "linear":
        n, o, i = np.indices((len(x), *w.shape)).reshape(3, -1)
        return np.stack([n * w.shape[1] + i, o * w.shape[1] + i, n * len(w) + o])
    groups = options.get("groups", 1)
    kernel = np.array(w.shape[2:])
    stride, dilation = (np.broadcast_to(options.get(name, 1), 2) for name in ("stride", "dilation"))
    padding = options.get("padding", 0)
    padding = 0 if padding == "valid" else padding
    before = dilation * (kernel - 1) // 2 if padding == "same" else np.broadcast_to(padding, 2)
    y = ops.conv2d(x, w, **options)[0]
    n, o, p, q, c, i, j = np.indices((*y.shape, *w.shape[1:]), dtype=np.int64).reshape(7, -1)
    row, column = p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]
    row, column = row - before[0], column - before[1]
    inside = (row >= 0) & (row < x.shape[2]) & (column >= 0) & (column < x.shape[3])
    channel = o // (len(w) // groups) * w.shape[1] + c
    entries = [
        np.ravel_multi_index((n, channel, row, column), x.shape, mode="clip"),
        np.ravel_multi_index((o, c, i, j), w.shape),
        np.ravel_multi_index((n, o, p, q), y.shape),
    ]
    return np.stack(entries)[:, inside]


def added_up(terms: np.ndarray, to: np.ndarray, size: int, order: str, rng) -> np.ndarray:
    """Σ of float32 terms by the entry that they belong to, in some order."""
    if order == "reversed":
        terms, to = terms[::-1], to[::-1]
    elif order == "permuted":
        permutation = rng.permutation(len(terms))
        terms, to = terms[permutation], to[permutation]
    elif order == "blocked":  # sums of blocks, and then of these
        blocks = int(rng.integers(2, 9))
        block = rng.integers(0, blocks, len(terms))
        partial_sums = np.zeros((size, blocks), np.float32)
        np.add.at(partial_sums, (to, block), terms)
        return partial_sums.sum(axis=1)
    elif order == "pairwise":
        by_entry = np.argsort(to, kind="stable")
        counts = np.bincount(to, minlength=size)
        columns = np.arange(len(to)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.zeros((2 ** math.ceil(math.log2(max(counts.max(), 1))), size), np.float32)
        table[columns, to[by_entry]] = terms[by_entry]
        while len(table) > 1:
            table = table[::2] + table[1::2]
        return table[0]
    y = np.zeros(size, np.float32)
    np.add.at(y, to, terms)
    return y


def in_order(case: Case, order: str, rng: np.random.Generator) -> Arrays:
    """conv2d or linear, and gradients, all sums in this order."""
    forward, _ = case.operations
    x, w = case.inputs["x"], case.inputs["w"]
    dy = case.inputs["dy"]
    of_x, of_w, of_y = products_of(forward.op, x, w, forward.options)

    def product(a, of_a, b, of_b, like, of_like):
        terms = a.ravel()[of_a] * b.ravel()[of_b]
        return added_up(terms, of_like, like.size, order, rng).reshape(like.shape)

    found = {
        "y": product(x, of_x, w, of_w, dy, of_y),
        "dx": product(dy, of_y, w, of_w, x, of_x),
        "dw": product(dy, of_y, x, of_x, w, of_w),
    }
    if "b" in case.inputs:
        b = case.inputs["b"]
        axes = (-1,) + (1,) * (dy.ndim - 2)
        found["y"] = found["y"] + b.reshape(axes)
        outputs = np.broadcast_to(np.arange(len(b)).reshape(axes), dy.shape).ravel()
        found["db"] = added_up(dy.ravel(), outputs, len(b), order, rng)
    return found


PERMUTED = (
    "l2",
    "l1",
    "huber",
    "cross_entropy",
    "kl",
    "soft_cross_entropy",
    "limit",
    "dkd",
    "dist",
)


def permuted(case: Case, rng: np.random.Generator) -> Arrays:
    """A loss on outputs, samples and classes in another order, and the gradient put back."""
    (operation,) = case.operations
    first = case.inputs[operation.inputs.get("student", "logits")]
    samples, classes = rng.permutation(len(first)), rng.permutation(first.shape[1])
    arguments = {
        name: np.argsort(classes)[x][samples] if name == "labels" else x[samples][:, classes]
        for name, x in ((name, case.inputs[at]) for name, at in operation.inputs.items())
    }
    value, gradient = getattr(losses, operation.op)(**arguments, **operation.options)
    found = {"value": np.asarray(value), "gradient": gradient}
    for name, array in list(found.items()):  # one number, or one for each sample, or for each entry
        found[name] = back = np.empty_like(array)
        back[np.ix_(*(samples, classes)[: array.ndim])] = array
    return found

"""What formulas share."""

from __future__ import annotations

import math
from typing import Any

from npkd.validate.bounds.formulas.words import Array, Words


def reduced(
    words: Words, terms: Array, reduction: str, batch: int | None = None, *, apart: bool = False
) -> Array:
    """One number out of terms (B, …), all added up in any order; or one for each sample.

    batch: what "batchmean" divides by, where terms have another first axis. apart: "none" keeps
    entries.
    """
    count = terms.shape[0] if batch is None else batch
    by = {"batchmean": count, "elementmean": math.prod(terms.shape)}.get(reduction, 1)
    if reduction != "none":
        total = words.sum(terms)
    else:
        total = terms if apart else words.sum(terms, tuple(range(1, len(terms.shape))))
    return total / float(by)


def log_probabilities(words: Words, z: Array, way: int) -> Array:
    """log softmax, or the logarithm of softmax."""
    return words.log_softmax(z) if way == 0 else words.log(words.softmax(z))


def probabilities(words: Words, z: Array, way: int) -> Array:
    """The exponential of log softmax, or softmax."""
    return words.exp(words.log_softmax(z)) if way == 0 else words.softmax(z)


def tempered(x: Array, temperature: float) -> Array:
    return x / temperature if temperature != 1 else x


def factor(words: Words, temperature: float, squared: bool) -> Any:
    """T², or 1, which rounds as T does and once more."""
    t = words.number(temperature if squared else 1.0)
    return t * t


def flat(words: Words, x: Array) -> Array:
    """(B, …) as rows."""
    return words.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def channels(words: Words, x: Array) -> Array:
    """(B, C, H, W) as (B, C, H·W)."""
    return words.reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))


def positions(words: Words, x: Array) -> Array:
    """(B, C, …) as rows (B·…, C), one for each position."""
    if len(x.shape) == 2:
        return x
    rows = words.permute(x, (0, *range(2, len(x.shape)), 1))
    return words.reshape(rows, (math.prod(x.shape) // max(1, x.shape[1]), x.shape[1]))


def regressed(words: Words, x: Array, weight: Array | None, bias: Array | None = None) -> Array:
    """Rows (B·…, O): weight · x + bias at every position, or x as it is."""
    rows = positions(words, x)
    if weight is None:
        return rows
    y = words.matmul(rows, words.transposed(weight))
    return y if bias is None else y + bias

"""Means over seeds and images with their intervals, and what many of them say together.

A figure y[s, i], of seed s and test image i, is taken to be the sum of a mean μ, what the seed and
what the image add, and a rest. Seeds and images are samples of all that there could be; the
training images are one set, and what another one would give no study of it can know. With S seeds
and I images, and the mean squares of a two-way table

    M_S = I Σ_s (y[s, ·] − y)² / (S − 1)
    M_I = S Σ_i (y[·, i] − y)² / (I − 1)
    M_E = Σ (y[s, i] − y[s, ·] − y[·, i] + y)² / ((S − 1) (I − 1))

y being the mean of all, an estimate of the variance of y is (M_S + M_I − M_E) / (S I). Its degrees
of freedom are, after Satterthwaite (1946), (Σ c M)² / Σ ((c M)² / f) over the three terms c M with
f degrees of freedom each; the interval is y ± t₀.₉₇₅ √variance, Student's.

M_S of a few seeds is more often too small than too large, and where it is, its small share also
hides how few the seeds are. So it is taken S / (S − 1) times. Then from 3 seeds on the interval
holds μ in 95 to 98 studies of 100, whatever the seeds' share of the variance
(`python -m benchmarks.coverage`); without it, in 92 where S is 3. Where the sum is below the larger
of M_S and M_I, a share has been estimated to be negative, and the larger alone is taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special

LEVEL, POWER = 0.95, 0.8
FEWEST_SEEDS = 3  # for an interval


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error, and the degrees of freedom of that; both None for few seeds.

    p         how often a mean as far from 0 comes where there is none: two-sided, Student's t; 1
              where the error is 0, as nothing then tells how large it might have been
    smallest  the smallest mean that would have been seen to differ from 0 in 80 studies of 100, by
              its own p < 0.05; None where the error is 0
    """

    mean: float
    error: float | None = None
    freedom: float | None = None

    @property
    def half(self) -> float | None:
        """Half the width of the 95 % interval."""
        return self._times(_quantile(self.freedom, (1 + LEVEL) / 2))

    @property
    def smallest(self) -> float | None:
        if self.error == 0:
            return None
        return self._times(
            _quantile(self.freedom, (1 + LEVEL) / 2) + _quantile(self.freedom, POWER)
        )

    @property
    def p(self) -> float | None:
        if self.error is None or self.freedom is None:
            return None
        if self.error == 0:
            return 1.0
        return 2 * float(scipy.special.stdtr(self.freedom, -abs(self.mean) / self.error))

    def _times(self, quantile: float) -> float | None:
        return None if self.error is None else quantile * self.error


def _quantile(freedom: float | None, share: float) -> float:
    return math.nan if freedom is None else float(scipy.special.stdtrit(freedom, share))


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of a value of each seed, on these very images: Student's interval."""
    if len(values) < FEWEST_SEEDS:
        return Interval(float(np.mean(values)))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(float(np.mean(values)), error, len(values) - 1)


def over_seeds_and_images(y: np.ndarray) -> Interval:
    """The mean of figures (seeds, images), for any such seeds and images; see above."""
    seeds, images = y.shape
    mean = float(y.mean())
    if seeds < FEWEST_SEEDS or images < 2:
        return Interval(mean)
    by_seed, by_image = y.mean(axis=1) - mean, y.mean(axis=0) - mean
    rest = y - by_seed[:, None] - by_image - mean
    terms = (
        (float(images * by_seed @ by_seed) / (seeds - 1) * seeds / (seeds - 1), seeds - 1),
        (float(seeds * by_image @ by_image) / (images - 1), images - 1),
        (-float(np.sum(rest * rest)) / ((seeds - 1) * (images - 1)), (seeds - 1) * (images - 1)),
    )
    total = sum(term for term, _ in terms)
    if total < max(terms)[0] or total == 0:
        total, freedom = max(terms[:2])
    else:
        freedom = total**2 / sum(term**2 / degrees for term, degrees in terms)
    return Interval(mean, math.sqrt(total / (seeds * images)), freedom)


def holm(p: Sequence[float]) -> list[float]:
    """Each p-value as adjusted for their number, after Holm (1979): in the order given.

    The k-th smallest of n is taken n − k + 1 times, and none is below one that is smaller: so that
    in 5 studies of 100 at most a difference is found, by p < 0.05, where there is none.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(np.asarray(p, float)[order] * factors))
    found = np.empty(len(p))
    found[order] = adjusted
    return [float(value) for value in found]

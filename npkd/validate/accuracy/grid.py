"""The float32 numbers that functions of one number are tried on: the same ones everywhere.

    0, ∞, NaN, and the ends of the normal and of the subnormal numbers, of both signs
    every power of two from the smallest subnormal to the largest one, and numbers above each
    of those from 2⁻¹² to 2⁷, where functions vary, 32 times as many
    steps of 2⁻¹¹ from −110 to 90, so that no threshold of exp or a tail is missed
    the nearest to 1, where log is 0

Each number is there once, in order of its bits. Numbers above a power of two lie in equal steps,
each moved within its step by multiples of the golden ratio, so that their last bits are of all
kinds.
"""

from collections.abc import Iterator

import numpy as np

FINE = 15  # log₂ of the numbers of one sign above a power of two, where functions vary
COARSER = 5  # and by how much less above the others
VARYING = (2.0**-12, 2.0**7)
STEEP = (-110, 90)
ROW = 1024  # the grid is a matrix of rows of so many
MANTISSA, BIAS = 23, 127
SIGN = np.uint32(1 << 31)
GOLDEN = 0x9E3779B1  # 2³² over the golden ratio


def grid(fine: int = FINE) -> np.ndarray:
    """The numbers, (…, 1024) float32; some 2.3 million, or with a smaller `fine` fewer."""
    limits = np.finfo(np.float32)
    ends = [0.0, np.inf, *map(float, (limits.max, limits.tiny, limits.smallest_subnormal))]
    special = np.array([sign * end for end in ends for sign in (1, -1)] + [np.nan], np.float32)
    bits = np.concatenate([*_above_powers(fine), _near_one(fine)])
    of_both = np.concatenate([bits, bits | SIGN]).view(np.float32)
    steps = 2 ** max(0, fine - 4)
    steep = np.arange(STEEP[0] * steps, STEEP[1] * steps, dtype=np.float32) / np.float32(steps)
    # np.unique, which would do, takes a hundred times as long since it hashes (NumPy 2.3)
    bits = np.sort(np.concatenate([special, of_both, steep]).view(np.uint32))
    every = bits[np.append(True, bits[1:] != bits[:-1])].view(np.float32)
    return np.append(every, np.ones(-every.size % ROW, np.float32)).reshape(-1, ROW)


def varying(x: np.ndarray) -> np.ndarray:
    """Where functions vary: these make the typical error."""
    size = np.abs(x)
    return (size >= VARYING[0]) & (size < VARYING[1])


def _above_powers(fine: int) -> Iterator[np.ndarray]:
    """Positive numbers, as bits, from each power of two up to the next."""
    coarse = 2 ** max(0, fine - COARSER)
    for power in range(MANTISSA):  # subnormal ones
        yield _spread(2**power, 2 ** (power + 1), coarse)
    lowest, highest = (int(np.log2(end)) for end in VARYING)
    for exponent in range(1 - BIAS, BIAS + 1):
        first = (exponent + BIAS) << MANTISSA
        count = 2**fine if lowest <= exponent < highest else coarse
        yield _spread(first, first + (1 << MANTISSA), count)


def _spread(first: int, end: int, count: int) -> np.ndarray:
    """So many whole numbers from `first` below `end`, that one first; all, where they are fewer."""
    count = min(count, end - first)
    step = (end - first) // count
    k = np.arange(count, dtype=np.uint64)
    within = ((k * np.uint64(GOLDEN)) & np.uint64(0xFFFFFFFF)) * np.uint64(step) >> np.uint64(32)
    return (np.uint64(first) + k * np.uint64(step) + within).astype(np.uint32)


def _near_one(fine: int) -> np.ndarray:
    one, count = BIAS << MANTISSA, 2**fine
    return np.arange(one - count, one + count, dtype=np.uint32)

"""Matrix products of the size at which BLAS is quickest."""

import math
import os

import numpy as np

try:
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__,
    )
except ImportError:  # it is NumPy's own, which may move it
    __cpu_features__ = {}

AVX512 = __cpu_features__.get("AVX512_SKX", False)
CORE = os.environ.get("OPENBLAS_CORETYPE", "SkylakeX")

# Multiply-adds up to which OpenBLAS multiplies without packing its operands, where it has code for
# that; elsewhere products are the quicker the larger they are.
SMALL = 1_000_000
QUICKEST = SMALL if AVX512 and CORE in ("SkylakeX", "Cooperlake") else math.inf
ROWS, COLUMNS = 16, 64  # that such a product has at least, and has
CACHED = 1 << 19  # numbers of the whole product: where it is larger, writing it is what takes time


def multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """np.matmul(a, b, out=out), cut along both sides of `out` into products that are QUICKEST.

    a (…, m, k), b (…, k, n), out (…, m, n). Pieces are views: nothing is copied, and no sum is cut.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m * k * n > QUICKEST and m * n <= CACHED:
        columns = COLUMNS if n % COLUMNS == 0 else n
        most = QUICKEST // (k * columns)
        rows = next((m // p for p in range(1, 65) if m % p == 0 and m // p <= most), 0)
        if rows >= ROWS:
            a = a.reshape(*a.shape[:-2], m // rows, 1, rows, k)
            b = b.reshape(*b.shape[:-2], 1, k, n // columns, columns).swapaxes(-3, -2)
            out = out.reshape(*out.shape[:-2], m // rows, rows, n // columns, columns)
            out = out.swapaxes(-3, -2)
    np.matmul(a, b, out=out)

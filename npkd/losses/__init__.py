"""Losses: each returns its value and its gradient by the student's outputs or features.

Example
    >>> loss, dy = losses.l2(np.array([[1.0, 3.0]]), np.zeros((1, 2)))
    >>> loss, (dx, dw, db) = losses.hint(dy, np.zeros((1, 1)), np.ones((1, 2)), np.zeros(1))

Where more than one array can be trained, gradients are a tuple, in the order of the arguments.
Teacher and labels are data: there is no gradient by them.

`reduction` says how many numbers become one. "batchmean", the default on outputs, divides by the
batch size B and by nothing else, so that a learning rate does not depend on the batch;
"elementmean", the default on maps and on relations, divides by the number of entries (pairs,
triples) that are compared; "sum" does not divide; "none", where there are losses of single samples,
keeps them apart, and the gradient is that of their sum.

Every loss raises ValueError for arrays whose shapes or dtypes do not go together, for a reduction,
variant or number that it does not take, and for a mean over nothing.

Values and gradients keep their digits, in float32 too: within about 8 roundings of the
largest entry, or, where student and teacher nearly cancel or results are exponentially small,
within what the digits of logits or features allow (`benchmarks/digits.py` measures it). A
docstring says where there are fewer. What is too large to be represented is ±∞, and a class at −∞
is ruled out: it has probability 0. What else differs between implementations is an argument too,
see `npkd.losses.arguments`; `conventions()` says who has it how, and by which factor.
"""

from npkd.losses.conventions import conventions
from npkd.losses.features import attention, fsp, hint, nst, vid
from npkd.losses.labels import cross_entropy, mix
from npkd.losses.regression import huber, l1, l2
from npkd.losses.relations import cc, pkt, rkd_angle, rkd_distance, similarity
from npkd.losses.soft_targets import dist, dkd, js, kl, limit, soft_cross_entropy, standardize

__all__ = [
    "attention",
    "cc",
    "conventions",
    "cross_entropy",
    "dist",
    "dkd",
    "fsp",
    "hint",
    "huber",
    "js",
    "kl",
    "l1",
    "l2",
    "limit",
    "mix",
    "nst",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity",
    "soft_cross_entropy",
    "standardize",
    "vid",
]

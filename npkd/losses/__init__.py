"""Losses: each returns its value and its gradient by the student's outputs.

    loss, dy = losses.l2(student, teacher)

`reduction` says how the losses of single samples become one number: "batchmean", the default,
divides their sum by the batch size and by nothing else, so that a learning rate does not depend on
the batch; "sum" does not divide; "none" keeps the losses apart, and the gradient is that of their
sum. Teacher and labels are data: there is no gradient by them.
"""

from npkd.losses.distance import l2
from npkd.losses.labels import cross_entropy
from npkd.losses.mixture import mix

__all__ = ["cross_entropy", "l2", "mix"]

"""A loss against the teacher mixed with one against the truth."""

from collections.abc import Callable

import numpy as np

from npkd.losses.arguments import in_range
from npkd.losses.labels import cross_entropy
from npkd.losses.regression import l2
from npkd.ops.contract import as_float, shown

Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@in_range
def mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: Loss = l2,
    hard: Loss = cross_entropy,
) -> tuple[np.ndarray, np.ndarray]:
    """Part truth, part teacher: (1 − α) · hard loss + α · soft loss.

    Shapes
        student, teacher (B, C), labels (B,) integers  →  value (), gradient (B, C)

    Definition
        value = (1 − α) hard(student, labels) + α soft(student, teacher), with the cross-entropy
        and L2, unless other losses are given; `labels` is what `hard` takes for the truth

    Gradient by the student
        the same sum of their gradients

    Conventions: α is the share of the teacher, as in haitongli's code; keras-io gives the name to
    the share of the labels, and Hinton et al. name no weight. A loss of more arguments is given as
    soft=lambda s, t: losses.dkd(s, t, labels). Both losses are means over the batch. At α = 0 or 1
    the other loss counts nothing, yet its values must still be finite.

    Raises ValueError if α is outside of [0, 1], and what the two losses raise.

    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """
    if not 0 <= as_float(alpha) <= 1:
        raise ValueError(f"mix: alpha is {shown(alpha)}, expected a number from 0 to 1")
    alpha = float(alpha)  # a NumPy float64 would take float32 arrays with it
    hard_value, hard_gradient = hard(student, labels)
    soft_value, soft_gradient = soft(student, teacher)
    value = (1 - alpha) * hard_value + alpha * soft_value
    return value, (1 - alpha) * hard_gradient + alpha * soft_gradient

"""Losses against labels."""

from collections.abc import Callable

import numpy as np

from npkd.arguments import as_float, require_arrays, require_axes, shown
from npkd.losses.arguments import require_labels
from npkd.losses.facts import divisor_of, loss
from npkd.losses.regression import l2
from npkd.losses.softened import log_softened


@loss("logits", "batchmean sum none", weight=None)
def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, reduction: str = "batchmean"
) -> tuple[np.ndarray, np.ndarray]:
    """The negative log-likelihood of the labels under softmax(logits).

    Shapes
        logits (B, C), labels (B,) integers from 0 to C − 1
        →  value (), or (B,) for "none"; gradient (B, C)

    Definition (l_b the label of sample b)
        loss_b = −log softmax(logits_b)[l_b]
        "sum": Σ_b loss_b      "batchmean": Σ_b loss_b / B      "none": loss_b

    Gradient by the logits
        ∂ log softmax(z)[l] / ∂z[c] = [c = l] − softmax(z)[c], so
        gradient[b,c] = softmax(logits_b)[c] − [c = l_b], divided by B for "batchmean"
        and at the label e^{−loss_b} − 1, that is −Σ of the other probabilities, whose digits remain
        where the label is all but certain, as those of loss_b do: see `log_softened`

    Conventions: "batchmean" is what frameworks call "mean". A label at −∞ has the loss ∞.
    Raises ValueError as all losses do, and for labels that are no integers or out of range.
    Source: the definition is that of torch.nn.functional.cross_entropy with class indices.

    Example
        >>> losses.cross_entropy(np.log([[1.0, 3.0]]), np.array([1]))  # −log ¾
        (np.float64(0.2876...), array([[ 0.25, -0.25]]))
    """
    require_arrays("cross_entropy", logits=logits)
    require_axes("cross_entropy", "logits", logits, "B C")
    labels = require_labels("cross_entropy", logits, labels)
    divisor = divisor_of("cross_entropy", reduction, len(logits))
    log_p = log_softened(logits)
    gradient, of_label = np.exp(log_p), (np.arange(len(labels)), labels)
    gradient[of_label] = np.expm1(log_p[of_label])
    value = -log_p[of_label]
    if reduction != "none":
        value = value.sum() / divisor
    return value, gradient / divisor


Loss = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@loss("logits", weight=None)
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

    Definition, and the gradient by the student is the same sum of gradients
        value = (1 − α) hard(student, labels) + α soft(student, teacher), with the cross-entropy
        and L2, unless other losses are given; `labels` is what `hard` takes for the truth

    Conventions: α is the share of the teacher, as in haitongli's code; keras-io gives the name to
    the share of the labels, and Hinton et al. name no weight. A loss of more arguments is given as
    soft=lambda s, t: losses.dkd(s, t, labels). Both losses are means over the batch. At α = 0 or 1
    the other loss counts nothing, yet its values must still be finite.
    Raises ValueError if α is outside of [0, 1], and what the two losses raise.
    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.

    Example
        >>> y, teacher, labels = np.ones((1, 2)), np.zeros((1, 2)), np.array([0])
        >>> losses.mix(y, teacher, labels, alpha=0.5)  # ½ log 2 + ½ · 1
        (np.float64(0.8465...), array([[0.25, 0.75]]))
    """
    if not 0 <= as_float(alpha) <= 1:
        raise ValueError(f"mix: alpha is {shown(alpha)}, expected a number from 0 to 1")
    alpha = float(alpha)  # a NumPy float64 would take float32 arrays with it
    hard_value, hard_gradient = hard(student, labels)
    soft_value, soft_gradient = soft(student, teacher)
    value = (1 - alpha) * hard_value + alpha * soft_value
    return value, (1 - alpha) * hard_gradient + alpha * soft_gradient

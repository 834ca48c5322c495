"""Losses against labels."""

import numpy as np

from npkd.losses.arguments import divisor_of, in_range, require_labels
from npkd.losses.softened import log_softened
from npkd.ops.contract import require_arrays, require_axes


@in_range
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

    Raises ValueError if shapes do not go together, if labels are no integers or out of range, for
    an empty batch under "batchmean", or for another reduction.

    Source: the definition is that of torch.nn.functional.cross_entropy with class indices.
    """
    require_arrays("cross_entropy", logits=logits)
    require_axes("cross_entropy", "logits", logits, "B C")
    labels = require_labels("cross_entropy", logits, labels)
    divisor = divisor_of("cross_entropy", reduction, batchmean=len(logits), sum=1, none=1)
    log_p = log_softened(logits)
    gradient, of_label = np.exp(log_p), (np.arange(len(labels)), labels)
    gradient[of_label] = np.expm1(log_p[of_label])
    value = -log_p[of_label]
    if reduction != "none":
        value = value.sum() / divisor
    return value, gradient / divisor

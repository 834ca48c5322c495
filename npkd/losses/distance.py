"""Losses that measure how far the student's outputs are from the teacher's."""

import numpy as np

from npkd.losses.reduction import divisor_of
from npkd.ops.contract import require_arrays


def l2(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> tuple[np.ndarray, np.ndarray]:
    """Half the squared distance, ½‖y_large − y_small‖², the document's loss.

    Shapes
        student, teacher (B, …), the same  →  value (), or (B, …) for "none"; gradient (B, …)

    Definition (Δ = student − teacher; B the batch size, C the outputs of one sample)
        "sum"          ½ Σ Δ²           the literal formula
        "batchmean"    ½ Σ Δ² / B
        "elementmean"  ½ Σ Δ² / (B·C)
        "none"         ½ Δ², entry by entry

    Gradient by the student
        ∂(½ Δ²)/∂student = Δ ∂Δ/∂student = Δ, so
        "sum", "none": Δ      "batchmean": Δ / B      "elementmean": Δ / (B·C)

    The gradient by the teacher is the negative of it, y_large − y_small: what the document prints.

    Conventions: a framework's mse_loss with its default reduction is Σ Δ² / (B·C), so that
    batchmean = (C/2) · mse_loss.

    Raises ValueError if shapes or dtypes differ, for an empty batch under a mean, or for another
    reduction.

    Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", equation 1.
    """
    require_arrays("l2", student=student, teacher=teacher)
    if student.shape != teacher.shape or student.ndim == 0:
        raise ValueError(
            f"l2: student is {student.shape} and teacher {teacher.shape}, expected the same (B, …)"
        )
    divisor = divisor_of(
        "l2", reduction, batchmean=len(student), sum=1, elementmean=student.size, none=1
    )
    delta = student - teacher
    value = 0.5 * delta * delta
    if reduction != "none":
        value = value.sum() / divisor
    return value, delta / divisor

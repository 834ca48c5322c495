"""Losses that measure how far the student's numbers are from the teacher's, entry by entry."""

from functools import partial

import numpy as np

from npkd.losses.arguments import choice, positive, require_same, temperatures
from npkd.losses.facts import divisor_of, loss
from npkd.losses.geometry import sum_of_squares
from npkd.losses.softened import (
    apart,
    by_log_probabilities,
    by_logits,
    difference,
    less,
    log_ratio,
    log_softened,
    of_infinite,
)


@loss("outputs", "batchmean sum elementmean none")
def l2(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    half: bool = True,
    temperature: float = 1.0,
    temperature_squared: bool = False,
    variant: str = "paper",
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
        By the teacher it is the negative of that, y_large − y_small: what the document prints.

    Conventions
        half=False leaves the ½ out: value and gradient are doubled. temperature: Δ is divided by T
        (the gradient once more, by the chain rule); with temperature_squared all is multiplied by
        T², which undoes it for "paper". variant="probabilities": Δ = softmax(student / T) −
        softmax(teacher / T) along the last axis, the gradient through the softmax;
        "log-probabilities": the same with their logarithms; both from the differences of logits, as
        in `kl`. Equal infinities, classes that both nets rule out, have Δ = 0.

    Digits: "probabilities" has fewer in the gradient, by log10 T, where the student alone rules out
    a class and T is high: Δ is then nearly the same for all others, and only its steps count.

    Elsewhere: a framework's mse_loss with its default reduction is Σ Δ² / (B·C), so that batchmean
    = (C/2) · mse_loss: `reduction="elementmean", half=False` is it.
    Raises ValueError as all losses do, and for T not above 0.
    Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", equation 1.

    Example
        >>> losses.l2(np.array([1.0, 3.0]), np.zeros(2))  # ½ (1² + 3²) / B, Δ / B
        (np.float64(2.5), array([0.5, 1.5]))
    """
    require_same("l2", student, teacher)
    t, factor = temperatures("l2", temperature, temperature_squared)
    choice("l2", "variant", variant, "paper", "probabilities", "log-probabilities")
    divisor = divisor_of("l2", reduction, len(student), student.size)
    delta = less(student, teacher)
    if t != 1:
        delta = delta / t
    if variant != "paper":
        log_q, log_p = log_softened(student, t), log_softened(teacher, t)
        delta, _ = log_ratio(apart(student, teacher) / t, log_q, log_p)
        q = np.exp(log_q)
        if variant == "probabilities":
            delta = difference(np.exp(log_p), q, delta)
    if not half:
        factor *= 2
    if reduction == "none":
        value = 0.5 * factor * delta * delta
    else:
        value = sum_of_squares(delta.ravel(), 0.5 * factor / divisor)
    gradient = delta / divisor
    if variant != "paper":
        back = by_logits if variant == "probabilities" else by_log_probabilities
        gradient = of_infinite(partial(back, q), gradient)
    return value, gradient if factor == t else (factor / t) * gradient


@loss("outputs", "batchmean sum elementmean none")
def l1(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> tuple[np.ndarray, np.ndarray]:
    """The sum of absolute differences.

    Shapes
        student, teacher (B, …), the same  →  value (), or (B, …) for "none"; gradient (B, …)

    Definition (Δ = student − teacher)
        "none": |Δ|      "sum": Σ |Δ|      "batchmean": Σ |Δ| / B      "elementmean": Σ |Δ| / (B·C)

    Gradient by the student
        ∂|Δ|/∂student = sign(Δ), divided as the value is

    Conventions: at the kink, sign(0) = 0. Complex numbers are decided on by their real part.
    Elsewhere: a framework's l1_loss is the elementmean, C times smaller than the batchmean.
    Raises ValueError as all losses do.
    Source: the definition is that of torch.nn.functional.l1_loss, but for the reduction.

    Example
        >>> losses.l1(np.array([1.0, -3.0]), np.zeros(2))  # (1 + 3) / B, sign(Δ) / B
        (np.float64(2.0), array([ 0.5, -0.5]))
    """
    require_same("l1", student, teacher)
    divisor = divisor_of("l1", reduction, len(student), student.size)
    delta = less(student, teacher)
    sign = np.sign(delta.real).astype(delta.dtype)
    value = sign * delta
    if reduction != "none":
        value = value.sum() / divisor
    return value, sign / divisor


@loss("outputs", "batchmean sum elementmean none")
def huber(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    delta: float = 1.0,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """Squares of small differences, absolute values of large ones.

    Shapes
        student, teacher (B, …), the same  →  value (), or (B, …) for "none"; gradient (B, …)

    Definition (Δ = student − teacher; δ where the one goes over into the other)
        h(Δ) = ½ Δ² where |Δ| ≤ δ, else δ (|Δ| − ½ δ); reduced as in `l1`

    Gradient by the student
        h'(Δ) = Δ where |Δ| ≤ δ, else δ sign(Δ): Δ held between −δ and δ; divided as the value is

    Conventions: variant="smooth" divides by δ: |Δ| − ½ δ far out, ½ Δ²/δ near 0. At δ = 1 they are
    the same. There is no kink: at |Δ| = δ value and gradient of both branches agree.
    Elsewhere: PyTorch's huber_loss is "paper" and its smooth_l1_loss (beta=δ) "smooth", both with
    the elementmean by default, C times smaller than the batchmean.
    Raises ValueError as all losses do, and for δ not above 0.
    Source: Huber 1964, "Robust Estimation of a Location Parameter"; Girshick 2015, "Fast R-CNN",
    equation 3, for δ = 1.

    Example
        >>> losses.huber(np.array([[0.5, 3.0]]), np.zeros((1, 2)))  # ½ · 0.5² + 3 − ½
        (np.float64(2.625), array([[0.5, 1. ]]))
    """
    require_same("huber", student, teacher)
    far = positive("huber", "delta", delta)
    choice("huber", "variant", variant, "paper", "smooth")
    divisor = divisor_of("huber", reduction, len(student), student.size)
    value, gradient = huber_of(less(student, teacher), far)
    if variant == "smooth":
        value, gradient = value / far, gradient / far
    if reduction != "none":
        value = value.sum() / divisor
    return value, gradient / divisor


def huber_of(difference: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """h(Δ) and h'(Δ) of `huber`, entry by entry. Decides by the real part."""
    sign = np.sign(difference.real)
    near = ~(np.abs(difference.real) > delta)  # NaN is near, and so goes through
    value = np.where(near, 0.5 * difference * difference, delta * (sign * difference - 0.5 * delta))
    return value, np.where(near, difference, delta * sign)

"""DIST: what correlates with the teacher's probabilities is as good as they are."""

import numpy as np

from npkd.losses.arguments import not_negative, number, require_logits, temperatures
from npkd.losses.geometry import centred, unit
from npkd.ops import softmax


def dist(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    epsilon: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """One minus Pearson's correlation, over the classes of a sample and the samples of a class.

    Shapes
        student, teacher logits (B, C), B at least 1  →  value (), gradient (B, C)

    Definition (q = softmax(student / T), p = softmax(teacher / T), along the classes)
        ρ(x, y) = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y
        inter = 1 − Σ_b ρ(q[b,:], p[b,:]) / B        over the classes
        intra = 1 − Σ_c ρ(q[:,c], p[:,c]) / C        over the batch
        value = T² (β inter + γ intra)

    Gradient by the student
        With u = x̃/‖x̃‖, v = ỹ/‖ỹ‖ (ε = 0): ρ = Σ u v, ∂ρ/∂x̃ = (v − ρ u) / ‖x̃‖, whose mean over x
        is 0 already, as those of u and v are; then back through the softmax, dz = q (dq − Σ q dq)/T

    Conventions
        A constant vector has no correlation with anything: its ρ counts as 0 and passes no
        gradient, so it adds 1/B or 1/C to the loss even where student and teacher are equal. In a
        batch of one every class is constant, and intra is 1. Constant is what varies by less than
        rounding does.

    Elsewhere
        The authors' code has ε = 1e-8, and at first had no temperature; the paper's appendix has no
        T². torchdistill has T² on both terms. All are the same at T = 1, but for ε.

    Raises ValueError as `kl` does.

    Source: Huang, You, Wang, Qian and Xu 2022, "Knowledge Distillation from A Stronger Teacher",
    equations 5 to 10.
    """
    require_logits("dist", student, teacher)
    if not len(student):
        raise ValueError("dist: an empty batch has no mean")
    t, factor = temperatures("dist", temperature, temperature_squared)
    beta, gamma = number("dist", "beta", beta), number("dist", "gamma", gamma)
    epsilon = not_negative("dist", "epsilon", epsilon)
    (q, backward), (p, _) = softmax(student / t), softmax(teacher / t)
    inter, by_inter = _one_less_correlation(q, p, epsilon)
    intra, by_intra = _one_less_correlation(q.T, p.T, epsilon)
    value = factor * (beta * inter + gamma * intra)
    return value, (factor / t) * backward(beta * by_inter + gamma * by_intra.T)


def _one_less_correlation(
    x: np.ndarray, y: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """1 − the mean of ρ over rows, and its gradient by x.

    ρ = Σ u v · κ with κ = ‖x̃‖‖ỹ‖ / (‖x̃‖‖ỹ‖ + ε), which depends on x too:
    ∂κ/∂x̃ = u ‖ỹ‖ ε / (‖x̃‖‖ỹ‖ + ε)².
    """
    (of_x, _), (of_y, _) = centred(x), centred(y)
    x_norm, y_norm = (np.sqrt((of * of).sum(axis=1, keepdims=True)) for of in (of_x, of_y))
    (u, backward), (v, _) = unit(of_x), unit(of_y)
    cosine = (u * v).sum(axis=1, keepdims=True)
    both = x_norm * y_norm
    by = np.where(both == 0, 1, both + epsilon)
    kappa = both / by
    dx = backward(kappa * v) + cosine * u * y_norm * epsilon / (by * by)
    return 1 - (cosine * kappa).sum() / len(x), dx / -len(x)

"""Whether a net's probabilities mean what they say: of all that is given 80 %, is 80 % right?"""

import numpy as np
import scipy.special

from npkd import losses, ops

BINS = 15


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log-likelihood, −log p[label], in nats: cross-entropy."""
    return float(losses.cross_entropy(logits.astype(np.float64), labels)[0])


def brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """The Brier score: the mean of Σ_c (p_c − [c = label])², from 0 to 2.

    Source: Brier 1950, "Verification of Forecasts Expressed in Terms of Probability".
    """
    p, _ = ops.softmax(logits.astype(np.float64))
    p[np.arange(len(p)), labels] -= 1
    return float(np.sum(p * p) / len(p))


def ece(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error, debiased: how far confidence is from accuracy.

    Images are sorted by confidence, the largest probability of each, into bins of as many images.
    With a bin's mean confidence p̄, its share of right answers r and its n images the error is the
    mean over all images of |p̄ − r|. As r is off by chance, this is too large, also of a net that is
    calibrated perfectly. With the deviation σ = √(r (1 − r) / n) of r, it is too large by about
    E |N(p̄ − r, σ²)| − |p̄ − r|, which is subtracted; so what remains may fall below 0.

    Source: Kumar, Liang, Ma 2019, "Verified Uncertainty Calibration". E |N(d, σ²)| is the mean of
    the folded normal distribution, σ √(2/π) e^(−d²/2σ²) + d erf(d / √2 σ).

    Example
        >>> from npkd.distill import calibration
        >>> logits = np.log([[0.75, 0.25]] * 8)
        >>> print(round(calibration.ece(logits, np.array([0, 0, 0, 1] * 2), bins=1), 3))
        -0.122
    """
    p, _ = ops.softmax(logits.astype(np.float64))
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, len(order))):
        n, r = len(part), float(right[part].mean())
        gap = abs(float(confidence[part].mean()) - r)
        deviation = np.sqrt(r * (1 - r) / n)
        expected = gap
        if deviation > 0:
            z = gap / deviation
            expected = deviation * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
            expected += gap * scipy.special.erf(z / np.sqrt(2))
        total += n * (2 * gap - expected)
    return float(total / len(order))

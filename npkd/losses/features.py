"""Losses on feature maps: the outputs of layers inside both nets, for the same images."""

from collections.abc import Callable

import numpy as np

from npkd import ops
from npkd.arguments import require_arrays
from npkd.losses.arguments import (
    choice,
    not_negative,
    number,
    require_maps,
    require_one_batch,
)
from npkd.losses.facts import divisor_of, loss
from npkd.losses.geometry import directions_apart, flat, sum_of_squares, unit
from npkd.losses.geometry import scale as scale_of
from npkd.losses.regression import l2


@loss("map", "elementmean batchmean sum", weight=100.0)
def hint(
    student: np.ndarray,
    teacher: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    half: bool = False,
    reduction: str = "elementmean",
) -> tuple[np.ndarray, np.ndarray | tuple[np.ndarray, ...]]:
    """FitNets' hint: L2 between the teacher's features and a regression on the student's.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O);
        weight (O, C), bias (O,), both, the weight alone, or neither (then O = C)
        →  value (), gradients by student, weight and bias, those that are given

    Definition (r = weight · student + bias at every position, a 1×1 convolution)
        Σ (r − teacher)² over all entries, divided as `reduction` says; half=True halves it

    Gradients
        dr = 2 (r − teacher), divided as the value is (half=True: without the 2), then
        dstudent = weightᵀ dr,   dweight = Σ dr studentᵀ,   dbias = Σ dr over batch and positions

    Digits: those that are left of weight · student + bias, whose products round and may cancel.
    Conventions: without a weight the student's features are taken as they are, and the gradient is
    one array. The regressor is linear; some put batch normalisation and a ReLU behind it.
    Elsewhere: the paper's equation has the ½ and no mean (half=True, reduction="sum"); frameworks
    take the mean over all entries.
    Raises ValueError as all losses do.
    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", equation 3.

    Example
        >>> student, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]])  # r = 3
        >>> losses.hint(student, np.array([[1.0]]), weight)  # (3 − 1)²
        (np.float64(4.0), (array([[4., 4.]]), array([[4., 8.]])))
    """
    require_one_batch("hint", student=student, teacher=teacher)
    divisor_of("hint", reduction, len(teacher), teacher.size)
    r, backward = _regressed("hint", student, weight, bias)
    if r.shape != teacher.shape:
        raise ValueError(
            f"hint: the student's features give {r.shape} and the teacher's are {teacher.shape}, "
            "expected the same; a weight (O, C) brings C channels to O"
        )
    value, dr = l2(r, teacher, half=half, reduction=reduction)
    gradients = backward(dr)
    return value, gradients if weight is not None else gradients[0]


@loss("map", "batchmean sum none elementmean", weight=1000.0)
def attention(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    power: float = 2.0,
    reduction: str = "elementmean",
    variant: str = "squared",
    epsilon: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention transfer: where in the image features are large.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  value (), or (B,) for "none"; gradient as
        the student

    Definition (Q[b] the map Σ_c |student[b,c]|^power / C, flattened to H·W, divided by its length
    plus ε; R likewise of the teacher)
        "squared"   loss_b = ‖Q[b] − R[b]‖²; "elementmean" divides Σ_b loss_b by B·H·W
        "norm"      loss_b = ‖Q[b] − R[b]‖, the paper's; has no "elementmean"

    Gradient by the student (a the map before it is divided, n = ‖a‖; ε = 0)
        dQ = 2 (Q − R), or (Q − R)/‖Q − R‖ for "norm", divided as the value is
        da = (dQ − Q Σ(dQ Q)) / n
        dstudent[b,c,i] = da[b,i] · power |student|^(power − 1) sign(student) / C

    Conventions: where nothing is active, a = 0, the map counts as 0 and passes no gradient; nor
    does "norm" where Q = R. The mean over C may be a sum: the length divides it out.
    Digits: with ε, maps of one position are 1 − ε/(n + ε); they differ by about ε, and only the
    digits of that are right. A power of features that vanishes beside ε counts as 0.
    Elsewhere: the authors' code is "squared" with the elementmean, not the paper's norm: about 140
    times apart on random 8×8 maps of 16 channels, by no constant factor. PyTorch's normalize has
    the larger of n and 1e-12 for n + ε.
    Raises ValueError as all losses do, and for a power below 1.
    Source: Zagoruyko and Komodakis 2017, "Paying More Attention to Attention", equation 2.

    Example
        >>> student, teacher = np.array([[[[1.0, 1.0]]]]), np.array([[[[1.0, 0.0]]]])
        >>> losses.attention(student, teacher)  # Q = (1, 1)/√2, R = (1, 0)
        (np.float64(0.2928...), array([[[[-0.7071...,  0.7071...]]]]))
    """
    require_maps("attention", student=student, teacher=teacher)
    choice("attention", "variant", variant, "squared", "norm")
    power = number("attention", "power", power)
    if power < 1:
        raise ValueError(f"attention: power is {power}, expected 1 or more")
    epsilon = not_negative("attention", "epsilon", epsilon)
    entries = student[:, 0].size if variant == "squared" else None
    divisor = divisor_of("attention", reduction, len(student), entries)
    (a, to_student, epsilon_a, w), (b, _, epsilon_b, w_t) = (
        _activity(features, power, epsilon) for features in (student, teacher)
    )
    (q, backward), (r, _) = unit(a, epsilon_a), unit(b, epsilon_b)
    delta = q - r
    if power == 2 and student.shape == teacher.shape:  # a − b to the digits of f − f'
        x, y = student / w, teacher / w_t
        less = flat(((x - y) * (x + y)).mean(axis=1))
        known = (w == w_t)[:, :, 0, 0]
        known &= np.count_nonzero(a + b, axis=1, keepdims=True) > 1  # or both directions are 1
        delta = np.where(known, directions_apart(a, b, less, epsilon_a), delta)
    if variant == "norm":
        dq, _ = unit(delta)
        value = (dq * delta).sum(axis=1)
    else:
        dq = 2 * delta
        value = (delta * delta).sum(axis=1)
    if reduction != "none":
        value = value.sum() / divisor
    return value, to_student(backward(dq / divisor))


@loss("map", "batchmean sum none", weight=50.0)
def nst(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    epsilon: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Neuron selectivity transfer: the channels of both nets as two samples of one distribution.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  value (), or (B,) for "none"; gradient as
        the student

    Definition (s[b,c] the channel's H·W values divided by their length plus ε, t[b,d] likewise;
    k(x, y) = (Σ x y)², the polynomial kernel of degree 2)
        loss_b = Σ_{c,c'} k(s_c, s_c') / C² + Σ_{d,d'} k(t_d, t_d') / D²
                 − 2 Σ_{c,d} k(s_c, t_d) / CD, the squared maximum mean discrepancy of the two

    Derivation of what is computed
        k(x, y) = Σ_ij x_i x_j y_i y_j is the product of the matrices x xᵀ and y yᵀ, so with
        A[i,j] = Σ_c s_c[i] s_c[j] / C − Σ_d t_d[i] t_d[j] / D, over pairs of positions (HW × HW),
        loss_b = Σ_ij A[i,j]²: not negative, and with digits left where the nets are alike

    Gradient by the student
        dA = 2 A, divided as the value is, and s_c stands on both sides of A: ds_c = 4 A s_c / C;
        then ds → dstudent through the length, as in `attention`

    Conventions: the middle sum does not depend on the student; with it the loss is 0 at equality. A
    channel of zeros stays 0. A takes B·(HW)² numbers. With ε and one position, digits are left as
    for `attention`.
    Elsewhere: RepDistiller, mdistiller and KD-Zoo agree; the first two average the larger map over
    cells until sizes are the same.
    Raises ValueError as all losses do.
    Source: Huang and Wang 2017, "Like What You Like: Knowledge Distill via Neuron Selectivity
    Transfer", equations 5 and 7.

    Example
        >>> student, teacher = np.array([[[[1.0, 0.0]]]]), np.array([[[[1.0, 1.0]]]])
        >>> value, gradient = losses.nst(student, teacher)
        >>> print(value.round(4), gradient.ravel().round(4))  # 1 + 1 − 2 · (1/√2)²
        1.0 [ 0. -2.]
    """
    require_maps("nst", student=student, teacher=teacher)
    epsilon = not_negative("nst", "epsilon", epsilon)
    divisor = divisor_of("nst", reduction, len(student))
    (s, backward), (t, _) = (unit(_channels(f), epsilon) for f in (student, teacher))
    c, d = s.shape[1], t.shape[1]
    apart = np.swapaxes(s, 1, 2) @ s / c - np.swapaxes(t, 1, 2) @ t / d  # (B, H·W, H·W)
    w = scale_of(apart).item() if epsilon else 1.0  # ε may make s and A small
    if w != 1:
        apart /= w
    value = np.einsum("bij,bij->b", apart, apart) * w * w
    if reduction != "none":
        value = value.sum() / divisor
    ds = 4 * (s @ apart) / c / divisor
    return value, (backward(ds) * w).reshape(student.shape)


@loss("maps", "elementmean batchmean sum", weight=50.0)
def fsp(
    first: np.ndarray,
    second: np.ndarray,
    teacher_first: np.ndarray,
    teacher_second: np.ndarray,
    weight_first: np.ndarray | None = None,
    weight_second: np.ndarray | None = None,
    *,
    reduction: str = "elementmean",
    variant: str = "squared",
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The flow of solution procedure: the products of two layers' channels.

    Shapes
        first (B, C, H, W), second (B, D, H, W) of the student; teacher_first (B, C', H', W'),
        teacher_second (B, D', H', W'); weight_first (C', C), weight_second (D', D), or None each
        where channels are as many  →  value (), gradients by first, second, and the weights given

    Definition (f, g the student's two layers, if weights are given weight_first f, weight_second g)
        G[b,c,d] = Σ_i f[b,c,i] g[b,d,i] / (H W), over the positions i; G' likewise of the teacher
        "squared"  Σ (G − G')² over all entries; "elementmean" divides by their number B·C'·D'
        "norms"    Σ_b Σ_d √Σ_c (G − G')²[b,c,d]; "elementmean" divides by B·D'

    Gradients
        dG = 2 (G − G'), or (G − G') / √Σ_c (G − G')², divided as the value is;
        df[b,c,i] = Σ_d dG[b,c,d] g[b,d,i] / (H W),    dg[b,d,i] = Σ_c dG[b,c,d] f[b,c,i] / (H W)
        and through the weights as in `hint`

    Conventions: the two layers of one net are of one height and width; the nets' may differ. The
    paper's nets have as many channels as each other; weights, trained with the net, serve others.
    Elsewhere: layers of two sizes are brought to the smaller one, by the paper and torchdistill by
    the maximum of the cells that become one, by RepDistiller and KD-Zoo by their average.
    torchdistill is "norms" with the batchmean.
    Raises ValueError as all losses do.
    Source: Yim, Joo, Bae and Kim 2017, "A Gift from Knowledge Distillation", equations 1 and 2.

    Example
        >>> maps = np.array([2.0, 3.0, 1.0, 4.0]).reshape(4, 1, 1, 1, 1)  # of one cell each
        >>> value, gradients = losses.fsp(*maps)
        >>> print(value, *(g.item() for g in gradients))  # (2·3 − 1·4)²
        4.0 12.0 8.0
    """
    require_maps("fsp", first=first, second=second)
    require_maps("fsp", teacher_first=teacher_first, teacher_second=teacher_second)
    require_one_batch("fsp", first=first, teacher_first=teacher_first)
    choice("fsp", "variant", variant, "squared", "norms")
    (f, of_first), (g, of_second) = (
        _regressed("fsp", first, weight_first),
        _regressed("fsp", second, weight_second),
    )
    f, g = _channels(f), _channels(g)  # (B, C', HW), (B, D', HW)
    tf, tg = _channels(teacher_first), _channels(teacher_second)
    a, b = (max(scale_of(own).item(), scale_of(of).item()) for own, of in ((f, tf), (g, tg)))
    f, g, tf, tg = f / a, g / b, tf / a, tg / b  # in units whose products do not overflow
    gram = f @ np.swapaxes(g, 1, 2) / f.shape[2]
    of_teacher = tf @ np.swapaxes(tg, 1, 2) / tf.shape[2]
    if gram.shape != of_teacher.shape:
        raise ValueError(
            f"fsp: the student's layers give {gram.shape} and the teacher's {of_teacher.shape}, "
            "expected the same; weights (C', C) and (D', D) bring channels to the teacher's number"
        )
    columns = np.swapaxes(gram - of_teacher, 1, 2)  # (B, D', C')
    entries = columns.size if variant == "squared" else len(columns) * columns.shape[1]
    divisor = divisor_of("fsp", reduction, len(columns), entries)
    if variant == "squared":
        slope, value = 2 * columns, sum_of_squares(columns.ravel(), 1 / divisor) * a * b * a * b
    else:
        slope = unit(columns)[0]
        value = (slope * columns).sum() / divisor * a * b
    by_gram = np.swapaxes(slope, 1, 2) / divisor
    by_gram = by_gram / f.shape[2]
    df = (by_gram @ g).reshape(-1, f.shape[1], *first.shape[2:]) * b
    dg = (np.swapaxes(by_gram, 1, 2) @ f).reshape(-1, g.shape[1], *second.shape[2:]) * a
    if variant == "squared":
        df, dg = df * a * b, dg * a * b
    (by_first, *by_weight_first), (by_second, *by_weight_second) = of_first(df), of_second(dg)
    return value, (by_first, by_second, *by_weight_first, *by_weight_second)


@loss("map", "elementmean batchmean sum")
def vid(
    student: np.ndarray,
    teacher: np.ndarray,
    scale: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    epsilon: float = 1e-5,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Variational information distillation: the teacher's features as normal about a regression.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O); scale (O,);
        weight (O, C), bias (O,), both, the weight alone, or neither (then O = C)
        →  value (), gradients by student, scale, weight and bias, those that are given

    Definition (μ = weight · student + bias, as in `hint`; σ²[o] = log(1 + e^scale[o]) + ε)
        Σ ½ ((μ − teacher)² / σ² + log σ²) over all entries, divided as `reduction` says: the
        negative log-likelihood without ½ log 2π

    Gradients (e = μ − teacher; divided as the value is)
        dμ = e / σ²,  and on to student, weight and bias as in `hint`
        ∂/∂σ²[o] = Σ ½ (1/σ² − e²/σ⁴) over batch and positions, and ∂σ²/∂scale = 1/(1 + e^−scale)

    Conventions: variant="fixed" takes σ² as a constant: dscale is 0. The value may be negative,
    and at equality it is ½ log σ². Value and dscale are sums of terms of both signs, and have their
    digits in proportion to the terms.
    Elsewhere: mdistiller leaves `scale` out of its optimiser, which makes it "fixed". The μ of
    RepDistiller and torchdistill is three 1×1 convolutions with ReLU between; here it is one. The
    paper sums over entries: "batchmean".
    Raises ValueError as all losses do.
    Source: Ahn, Hu, Damianou, Lawrence and Dai 2019, "Variational Information Distillation for
    Knowledge Transfer", equation 5.

    Example
        >>> scale = np.log(np.expm1([1.0]))  # σ² = 1
        >>> value, gradients = losses.vid(np.array([[1.0]]), np.array([[3.0]]), scale, epsilon=0.0)
        >>> print(value.round(4), *(g.round(4) for g in gradients))  # ½ (1 − 3)²
        2.0 [[-2.]] [-0.9482]
    """
    require_arrays("vid", student=student, scale=scale)
    choice("vid", "variant", variant, "paper", "fixed")
    epsilon = not_negative("vid", "epsilon", epsilon)
    mean, backward = _regressed("vid", student, weight, bias)
    require_one_batch("vid", student=student, teacher=teacher)
    if mean.shape != teacher.shape or scale.shape != teacher.shape[1:2]:
        raise ValueError(
            f"vid: the student's features give {mean.shape}, the teacher's are {teacher.shape}, "
            f"scale is {scale.shape}; expected the same, and one scale for each channel"
        )
    divisor = divisor_of("vid", reduction, len(teacher), teacher.size)
    by_channel = (1, -1) + (1,) * (teacher.ndim - 2)
    sign = np.sign(scale.real)
    decay = np.exp(-sign * scale)  # e^−|scale|, which does not overflow
    raised = scale.real > 0
    variance = np.where(raised, scale, 0) + np.log1p(decay) + epsilon  # (O,)
    slope = np.where(raised, 1, decay) / (1 + decay)  # ∂σ²/∂scale
    error = mean - teacher
    precise = error / variance.reshape(by_channel)
    over = tuple(k for k in range(teacher.ndim) if k != 1)
    entries = teacher.size // max(1, teacher.shape[1])
    w = scale_of(error).item()  # the unit of errors, so that squares do not overflow
    squares = (error / w * (precise / w)).sum(axis=over) / divisor  # (O,)
    value = 0.5 * (squares.sum() * w * w + entries * np.log(variance).sum() / divisor)
    by_scale = 0.5 * (slope / variance)
    dscale = by_scale * entries / divisor - by_scale * squares * w * w
    if variant == "fixed":
        dscale = np.zeros_like(scale)
    dstudent, *others = backward(precise / divisor)
    return value, (dstudent, dscale, *others)


def _regressed(
    loss: str, x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None = None
) -> tuple[np.ndarray, Callable[[np.ndarray], tuple[np.ndarray, ...]]]:
    """Features (B, C, …) with C channels brought to O at every position, or as they are.

    The backward pass gives the gradients by features, weight and bias, those that are given.
    """
    if weight is None:
        if bias is not None:
            raise ValueError(f"{loss}: a bias is given, but no weight")
        return x, lambda dy: (dy,)
    require_arrays(loss, student=x, weight=weight)
    if weight.ndim != 2 or x.ndim not in (2, 4) or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{loss}: features are {x.shape} and the weight {weight.shape}, expected (B, C, H, W) "
            "or (B, C), and (O, C)"
        )
    if x.ndim == 2:
        y, backward = ops.linear(x, weight, bias)
    else:
        y, backward = ops.conv2d(x, weight[:, :, np.newaxis, np.newaxis], bias)

    def by_each(dy: np.ndarray) -> tuple[np.ndarray, ...]:
        dx, dw, db = backward(dy)
        return (dx, dw.reshape(weight.shape)) + ((db,) if bias is not None else ())

    return y, by_each


def _activity(
    features: np.ndarray, power: float, epsilon: float
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray], np.ndarray, np.ndarray]:
    """Σ_c |f[b,c]|^power / C, (B, H·W), its backward pass, and ε, each sample's in its own unit.

    The unit is w^power, with w near the sample's largest feature, or where ε is more than its power
    near the root of that: no power overflows, and none that counts vanishes. w is given too.
    """
    least = scale_of(np.full(1, epsilon ** (1 / power), features.dtype))
    w = scale_of(features, axis=(1, 2, 3))
    w = np.maximum(w, least) if epsilon else w
    sign = np.sign(features.real)
    size = sign * features / w
    a = flat((size**power).mean(axis=1))

    def backward(da: np.ndarray) -> np.ndarray:
        slope = power / features.shape[1] * sign * size ** (power - 1)
        return da.reshape(len(features), 1, *features.shape[2:]) * slope / w

    return a, backward, (epsilon ** (1 / power) / w[:, :, 0, 0]) ** power, w


def _channels(features: np.ndarray) -> np.ndarray:
    """(B, C, H, W) as (B, C, H·W)."""
    return features.reshape(*features.shape[:2], features.shape[2] * features.shape[3])

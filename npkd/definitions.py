"""The specification: every op, every loss and SGD as the literal formula in scalar loops.

Read a docstring's formula and the loop below it side by side: they should be the same text. The
functions take the arguments of their namesakes in `npkd.ops`, `npkd.losses` and `npkd.optim`,
which they assume to be valid, and return values only, no gradients. They are slow, and nothing
but checks should call them.

Scalars are Python numbers, so sums are in double precision whatever the dtype of the arrays; a
result has the dtype of its input. Complex arrays go through every function by the same formula:
nothing is conjugated, and what must choose (ReLU, max-pool, an absolute value) chooses by the real
part. So |x| is x sign(Re x), and the length of a vector √Σ x², both analytic and neither of them a
modulus. A vector of length 0 has no direction: where one is asked for, it stays 0.

Letters of ops: n image, c input channel, o output channel, (i, j) output row and column, (p, q)
input row and column, (u, v) row and column inside a kernel. Of losses: b sample, c class or
channel, d channel of another layer or entry of a row of features, i position in a map, or in losses
on relations i, j, k samples; B is the size of the batch, T the temperature. Sizes are an int, a
sequence of one, or a (height, width) pair. The meaning of the ops' arguments is PyTorch's.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

Size = int | tuple[int] | tuple[int, int]
Number = float | complex


# Geometry: what one output cell sees


def _pair(size: Size | str) -> list:
    """[height, width] of a size given as one value for both or as a pair."""
    return np.broadcast_to(size, 2).tolist()


def _before_and_after(padding: int | str, kernel: int, dilation: int) -> tuple[int, int]:
    """Cells added on the two sides of an axis; "same" puts the odd one after."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = dilation * (kernel - 1)
        return total // 2, total - total // 2
    return int(padding), int(padding)


def _output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    ceil_mode: bool = False,
) -> int:
    """Number of windows along an axis of `size` cells padded by (before, after).

    The first window starts at the first padded cell and each next one `stride` further:
        ⌊(before + size + after − dilation (kernel − 1) − 1) / stride⌋ + 1
    With `ceil_mode` it is ⌈·⌉, so that a last window may stick out at the end, but only if it
    starts inside the image or the padding before it.
    """
    before, after = padding
    steps = (before + size + after - dilation * (kernel - 1) - 1) / stride
    if not ceil_mode:
        return math.floor(steps) + 1
    count = math.ceil(steps) + 1
    return count if (count - 1) * stride < before + size else count - 1


def _cells(start: int, kernel: int, dilation: int, size: int) -> list[int]:
    """The cells start + dilation u, 0 ≤ u < kernel, that lie inside an axis of `size` cells."""
    window = [start + dilation * u for u in range(kernel)]
    return [cell for cell in window if 0 <= cell < size]


def _zero_padded(x: np.ndarray, n: int, c: int, p: int, q: int) -> Number:
    """x[n,c,p,q], or 0 outside the image."""
    height, width = x.shape[2:]
    return x.item(n, c, p, q) if 0 <= p < height and 0 <= q < width else 0.0


# Ops


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlation of images with kernels (the kernel is not flipped).

    Shapes
        x (N, C, H, W), w (O, C/groups, kh, kw), b (O,) or None  →  y (N, O, Ho, Wo)

    Definition, with x = 0 outside the image
        y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] x[n, first + c, p, q]
        first = (C/groups) ⌊o / (O/groups)⌋, the first input channel of o's group
        p = i sh − top + u dh,  q = j sw − left + v dw, for strides s and dilations d

    `padding` is a size, "valid" (none) or "same" (Ho = H, Wo = W; at stride 1 only).
    """
    (sh, sw), (dh, dw), (pad_h, pad_w) = _pair(stride), _pair(dilation), _pair(padding)
    images, _, height, width = x.shape
    outputs, channels, kh, kw = w.shape
    top, bottom = _before_and_after(pad_h, kh, dh)
    left, right = _before_and_after(pad_w, kw, dw)
    rows = _output_size(height, kh, sh, (top, bottom), dh)
    columns = _output_size(width, kw, sw, (left, right), dw)
    y = np.empty((images, outputs, rows, columns), x.dtype)
    for n, o, i, j in np.ndindex(y.shape):
        first = channels * (o // (outputs // groups))
        total = 0.0 if b is None else b.item(o)
        for c, u, v in np.ndindex(channels, kh, kw):
            p, q = i * sh - top + u * dh, j * sw - left + v * dw
            total += w.item(o, c, u, v) * _zero_padded(x, n, first + c, p, q)
        y[n, o, i, j] = total
    return y


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | tuple[()] | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of each window of an image.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = (1/divisor) Σ x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    The divisor is `divisor_override` if given; else the number of the window's cells in the
    padded image, or with `count_include_pad=False` in the image. Cells by which a window sticks
    out of the padded image under `ceil_mode` are never counted. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    sh, sw = _pair(stride or kernel_size)  # not given, or ()
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), 1, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), 1, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, 1, height)
        qs = _cells(j * sw - pw, kw, 1, width)
        if divisor_override is not None:
            divisor = divisor_override
        elif count_include_pad:  # the same windows, in the coordinates of the padded image
            padded_ps = _cells(i * sh, kh, 1, height + 2 * ph)
            padded_qs = _cells(j * sw, kw, 1, width + 2 * pw)
            divisor = len(padded_ps) * len(padded_qs)
        else:
            divisor = len(ps) * len(qs)
        y[n, c, i, j] = sum(x.item(n, c, p, q) for p in ps for q in qs) / divisor
    return y


def max_pool2d(
    x: np.ndarray,
    kernel_size: Size,
    *,
    stride: Size | tuple[()] | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The largest value of each window of an image, by the real part.

    Shapes
        x (N, C, H, W)  →  y (N, C, Ho, Wo)

    Definition
        y[n,c,i,j] = max x[n,c,p,q] over the cells (p, q) of window (i, j) in the image

    Conventions: padding is never chosen, since only cells in the image compete; a tie goes to
    the first cell in row-major order (values differ there only if complex); a NaN wins over
    any number. `stride=None` is `kernel_size`.
    """
    (kh, kw), (ph, pw), (dh, dw) = _pair(kernel_size), _pair(padding), _pair(dilation)
    sh, sw = _pair(stride or kernel_size)  # not given, or ()
    images, channels, height, width = x.shape
    rows = _output_size(height, kh, sh, (ph, ph), dh, ceil_mode)
    columns = _output_size(width, kw, sw, (pw, pw), dw, ceil_mode)
    y = np.empty((images, channels, rows, columns), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        ps = _cells(i * sh - ph, kh, dh, height)
        qs = _cells(j * sw - pw, kw, dw, width)
        window = [x.item(n, c, p, q) for p in ps for q in qs]
        y[n, c, i, j] = max(window, key=lambda value: (value != value, value.real))
    return y


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """The affine map of each row.

    Shapes
        x (N, I), w (O, I), b (O,) or None  →  y (N, O)

    Definition
        y[n,o] = b[o] + Σ_i w[o,i] x[n,i]
    """
    y = np.empty((len(x), len(w)), x.dtype)
    for n, o in np.ndindex(y.shape):
        total = 0.0 if b is None else b.item(o)
        for i in range(w.shape[1]):
            total += w.item(o, i) * x.item(n, i)
        y[n, o] = total
    return y


def relu(x: np.ndarray) -> np.ndarray:
    """The positive part of each entry, by its real part.

    Shapes
        x, any shape  →  y, the same

    Definition
        y = 0 where Re x ≤ 0, else x; so NaN stays NaN
    """
    y = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x.item(*index)
        y[index] = 0.0 if value.real <= 0 else value
    return y


def flatten(x: np.ndarray) -> np.ndarray:
    """Each image as one row, in row-major order.

    Shapes
        x (N, C, H, W)  →  y (N, C H W); the axes after the first may be of any number

    Definition
        y[n,k] = x[n,c,p,q] with k = (c H + p) W + q
    """
    y = np.empty((len(x), math.prod(x.shape[1:])), x.dtype)
    for n in range(len(x)):
        for k, index in enumerate(np.ndindex(x.shape[1:])):
            y[n, k] = x[n].item(*index)
    return y


def _shifted(line: list) -> list:
    """The entries x_k − max_l Re x_l: their softmax is the same, and exp cannot overflow."""
    largest = max(value.real for value in line)
    return [value - largest for value in line]


def _softmax(line: list) -> list:
    """The quotient exp x_k / Σ_l exp x_l for each entry of one line."""
    exponentials = [np.exp(value).item() for value in _shifted(line)]
    return [value / sum(exponentials) for value in exponentials]


def _log_softmax(line: list) -> list:
    """The difference x_k − log Σ_l exp x_l for each entry of one line."""
    shifted = _shifted(line)
    log_sum = np.log(sum(np.exp(value).item() for value in shifted)).item()
    return [value - log_sum for value in shifted]


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The logarithm of the softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = x_k − log Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _log_softmax(lines[index].tolist())
    return y


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The softmax along one axis.

    Shapes
        x, any shape  →  y, the same

    Definition, for each line of entries x_k along the axis
        y_k = exp x_k / Σ_l exp x_l
    """
    y = np.empty_like(x)
    lines, y_lines = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)  # views
    for index in np.ndindex(lines.shape[:-1]):
        y_lines[index] = _softmax(lines[index].tolist())
    return y


def _neighbours(i: int, factor: int, size: int) -> list[tuple[int, float]]:
    """The two input cells, with their weights, between which output cell i lies (bilinear).

    Cells are unit squares, and an output cell is 1/factor of one, so its centre lies at
        t = (i + ½) / factor − ½, held to 0 ≤ t ≤ size − 1
    in units where input cell p is centred at p. Cell ⌊t⌋ weighs 1 − (t − ⌊t⌋), the next one the
    rest; at the last cell, where the next would be outside, the rest is 0 and it stands in.
    """
    t = min(max((i + 0.5) / factor - 0.5, 0.0), size - 1.0)
    p = math.floor(t)
    return [(p, 1 - (t - p)), (min(p + 1, size - 1), t - p)]


def upsample(x: np.ndarray, factor: int, mode: str = "nearest") -> np.ndarray:
    """An image `factor` times as high and wide.

    Shapes
        x (N, C, H, W)  →  y (N, C, H factor, W factor)

    Definition
        "nearest"   y[n,c,i,j] = x[n, c, ⌊i / factor⌋, ⌊j / factor⌋]
        "bilinear"  y[n,c,i,j] = Σ_{p,q} weight(p) weight(q) x[n,c,p,q] over the 2×2 input cells
                    around the centre of output cell (i, j) (align_corners=False)
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        if mode == "nearest":
            y[n, c, i, j] = x.item(n, c, i // factor, j // factor)
        else:
            y[n, c, i, j] = sum(
                weight_p * weight_q * x.item(n, c, p, q)
                for p, weight_p in _neighbours(i, factor, height)
                for q, weight_q in _neighbours(j, factor, width)
            )
    return y


def pixel_shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """Groups of factor² channels laid out as factor × factor blocks of pixels.

    Shapes
        x (N, C factor², H, W)  →  y (N, C, H factor, W factor)

    Definition
        y[n,c,i,j] = x[n, channel, ⌊i / factor⌋, ⌊j / factor⌋]
        channel = c factor² + (i mod factor) factor + (j mod factor)

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network", 2016, in PyTorch's order of channels.
    """
    images, channels, height, width = x.shape
    y = np.empty((images, channels // factor**2, height * factor, width * factor), x.dtype)
    for n, c, i, j in np.ndindex(y.shape):
        channel = c * factor**2 + (i % factor) * factor + (j % factor)
        y[n, c, i, j] = x.item(n, channel, i // factor, j // factor)
    return y


# Losses


def _sign(x: Number) -> int:
    """−1, 0 or 1, by the real part."""
    return (x.real > 0) - (x.real < 0)


def _absolute(x: Number) -> Number:
    """|x| as x sign(Re x), which is analytic: for complex numbers not the modulus."""
    return x * _sign(x)


def _product(x: list, y: list) -> Number:
    """The sum Σ_d x_d y_d."""
    return sum(one * other for one, other in zip(x, y, strict=True))


def _length(x: list) -> Number:
    """The root √Σ_d x_d², the principal one, from x divided by its largest |Re x_d|."""
    largest = max((abs(value.real) for value in x), default=0.0)
    if largest == 0:
        return 0.0
    return np.sqrt(sum((value / largest) ** 2 for value in x)).item() * largest


def _unit(x: list, epsilon: float = 0.0) -> list:
    """The entries x_d / (‖x‖ + ε), or zeros where ‖x‖ is 0."""
    length = _length(x)
    return [0.0 if length == 0 else value / (length + epsilon) for value in x]


def _centred(x: list) -> list:
    """The entries x_d less their mean, x_0 less first: what all have in common is no rounding."""
    x = [value - x[0] for value in x]
    mean = sum(x) / len(x)
    return [value - mean for value in x]


def _less(x: Number, y: Number) -> Number:
    """The difference x − y, of equal infinities 0."""
    return 0.0 if x == y else x - y


def _lesses(x: list, y: list) -> list:
    return [_less(one, other) for one, other in zip(x, y, strict=True)]


# Rows of logits as probabilities, and how far two of them are apart


def _exp(x: list) -> list:
    return [np.exp(value).item() for value in x]


def _expm1(x: Number) -> Number:
    return np.expm1(x).item()


def _below(z: list, temperature: float = 1.0) -> list:
    """The differences y_c = (z_c − z_r) / T from the largest logit z_r."""
    largest = max(z, key=lambda value: value.real)
    return [(value - largest) / temperature for value in z]


def _log_softened(z: list, temperature: float = 1.0) -> list:
    """log softmax(z / T)_c = y_c − log(1 + Σ_{k≠r} exp y_k), y_k = (z_k − z_r) / T.

    z_r is the largest. Where one class is all but certain, its log softmax is −Σ_{k≠r} exp y_k and
    no rounded 0.
    """
    r = max(range(len(z)), key=lambda c: z[c].real)
    y = _below(z, temperature)
    others = sum(value for c, value in enumerate(_exp(y)) if c != r)
    log_sum = np.log1p(others).item()
    return [value - log_sum for value in y]


def _log_ratio(d: list, log_q: list, log_p: list) -> tuple[list, Number]:
    """u_c = log q_c − log p_c, and log Σ_c p_c exp d_c, where d_c = u_c but for a number.

    With r the class that is likely in both and f_c = d_c − d_r, u_c = f_c − log Z where
        Z = Σ_c p_c exp f_c = 1 + Σ_near p (exp f − 1) − Σ_far p + Z Σ_far q
    near where |f_c| ≤ 1, far otherwise, where p exp f = q Z. If that is half of all and more, log Z
    is log p_r − log q_r.
    """
    classes = range(len(d))
    r = max(classes, key=lambda c: min(log_p[c].real, log_q[c].real))
    p, q, f = _exp(log_p), _exp(log_q), [value - d[r] for value in d]
    near = [c for c in classes if abs(f[c]) <= 1]
    far = [c for c in classes if c not in near]
    far_p, far_q = sum(p[c] for c in far), sum(q[c] for c in far)
    if abs(far_p) + abs(far_q) < 0.5:
        more = sum(p[c] * _expm1(f[c]) for c in near)
        log_z = np.log1p(more - far_p).item() - np.log1p(-far_q).item()
    else:
        log_z = -_less(log_q[r], log_p[r])
    u = []
    for c in classes:
        ruled_out = max(log_p[c].real, log_q[c].real) == -math.inf
        known = np.isfinite(log_z) and not ruled_out
        u.append(f[c] - log_z if known else _less(log_q[c], log_p[c]))
    return u, d[r] + log_z


def _divergence(p: list, q: list, u: list) -> Number:
    """The sum Σ_c p_c (log p_c − log q_c), from u_c = log q_c − log p_c.

    It is Σ_c p_c φ(u_c), φ(u) = exp u − 1 − u = u²/2! + u³/3! + …, as Σ p = Σ q = 1: no term is
    negative. Where |u| > 1, p φ(u) = q − p − p u, which is q where p is 0.
    """
    total: Number = 0.0
    for c in range(len(u)):
        if abs(u[c]) <= 1:
            total += p[c] * sum(u[c] ** n / math.factorial(n) for n in range(2, 22))
        elif p[c] == 0:
            total += q[c]
        else:
            total += q[c] - p[c] - p[c] * u[c]
    return total


def _between(p: list, q: list, u: list) -> list:
    """The differences q_c − p_c from u_c = log q_c − log p_c: p_c (exp u_c − 1) where |u_c| ≤ 1."""
    return [p[c] * _expm1(u[c]) if abs(u[c]) <= 1 else q[c] - p[c] for c in range(len(u))]


def _expected(p: list, x: list) -> Number:
    """The sum Σ_c p_c x_c, without the terms of p_c = 0."""
    return sum(p[c] * x[c] for c in range(len(p)) if p[c] != 0)


def _rows(features: np.ndarray) -> list:
    """Features (B, …) as B lists of numbers, in row-major order."""
    return [one.ravel().tolist() for one in features]


def _maps(features: np.ndarray) -> list:
    """Maps (B, C, H, W) as B lists of C lists of H·W numbers, in row-major order."""
    return [_rows(one) for one in features]


def l2(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    half: bool = True,
    temperature: float = 1.0,
    temperature_squared: bool = False,
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the squared difference, ½ (student − teacher)².

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = f(student / T) − f(teacher / T) along the last axis, where f is nothing,
    or with variant "probabilities" softmax, with "log-probabilities" log softmax, both from the
    differences of logits as in `kl`; where both are the same infinity Δ = 0
        "none"         ½ T² Δ² for each entry; without the ½ unless `half`, and without the T²
                       unless `temperature_squared`
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    factor = (0.5 if half else 1.0) * (temperature**2 if temperature_squared else 1.0)
    losses = []
    for index in np.ndindex(student.shape[:-1]):
        s, t = student[index].tolist(), teacher[index].tolist()
        deltas = [value / temperature for value in _lesses(s, t)]
        if variant != "paper":
            log_q, log_p = _log_softened(s, temperature), _log_softened(t, temperature)
            deltas, _ = _log_ratio(deltas, log_q, log_p)
            if variant == "probabilities":
                deltas = _between(_exp(log_p), _exp(log_q), deltas)
        losses += [factor * delta * delta for delta in deltas]
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def l1(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The absolute difference |student − teacher|.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         |Δ| for each entry
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        losses.append(_absolute(_less(student.item(*index), teacher.item(*index))))
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def _huber(difference: Number, delta: float) -> Number:
    """½ Δ² where |Re Δ| ≤ δ, else δ (|Δ| − ½ δ)."""
    if abs(difference.real) <= delta:
        return 0.5 * difference * difference
    return delta * (_absolute(difference) - 0.5 * delta)


def huber(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    delta: float = 1.0,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """Half the square of a small difference, and its absolute value, shifted, of a large one.

    Shapes
        student, teacher (B, …), the same shape  →  a number; with "none" an array of that shape

    Definition, with Δ = student − teacher
        "none"         h(Δ) for each entry: ½ Δ² where |Δ| ≤ δ, else δ (|Δ| − ½ δ);
                       with variant "smooth" h(Δ) / δ
        "sum"          the sum of these
        "batchmean"    their sum / B
        "elementmean"  their sum / number of entries
    """
    losses = []
    for index in np.ndindex(student.shape):
        h = _huber(_less(student.item(*index), teacher.item(*index)), delta)
        losses.append(h / delta if variant == "smooth" else h)
    if reduction == "none":
        return np.array(losses, student.dtype).reshape(student.shape)
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": student.size}[reduction]
    return sum(losses) / divisor


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """The negative log-likelihood of the labels under softmax(logits).

    Shapes
        logits (B, C), labels (B,) integers in 0 … C−1  →  a number; with "none" an array (B,)

    Definition
        "none"       ℓ[n] = −log softmax(logits[n])[labels[n]], which is log(1 + Σ_k exp(z_k − z_l))
                     over the classes k other than the label l, where z_l is the largest logit
        "sum"        Σ_n ℓ[n]
        "batchmean"  Σ_n ℓ[n] / B
    """
    losses = [-_log_softened(logits[n].tolist())[labels.item(n)] for n in range(len(logits))]
    if reduction == "none":
        return np.array(losses, logits.dtype)
    divisor = {"sum": 1, "batchmean": len(logits)}[reduction]
    return sum(losses) / divisor


def mix(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float,
    soft: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = l2,
    hard: Callable[[np.ndarray, np.ndarray], Number | np.ndarray] = cross_entropy,
) -> Number | np.ndarray:
    """The labels' loss and the teacher's, in shares of 1 − alpha and alpha.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number

    Definition, both losses the mean over the batch
        (1 − alpha) hard(student, labels) + alpha soft(student, teacher)
    """
    return (1 - alpha) * hard(student, labels) + alpha * soft(student, teacher)


def _compared(
    student: np.ndarray, teacher: np.ndarray, temperature: float
) -> Iterator[tuple[list, list, list, list, list]]:
    """q, log q, p, log p, and log q − log p, q and p the softmax of logits / T, by samples."""
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        log_q, log_p = _log_softened(s, temperature), _log_softened(t, temperature)
        u, _ = _log_ratio([value / temperature for value in _lesses(s, t)], log_q, log_p)
        yield _exp(log_q), log_q, _exp(log_p), log_p, u


def kl(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
    variant: str = "paper",
) -> Number | np.ndarray:
    """The Kullback-Leibler divergence of the teacher's and the student's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         T² Σ_c p (log p − log q), without the T² unless `temperature_squared`;
                       with variant "reversed"  T² Σ_c q (log q − log p)
                       "unlogged"               T² Σ_c p (log p − q)
                       "reversed unlogged"      T² Σ_c q (log q − p)
                       where 0 log 0 is 0
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)

    The first two as Σ p φ(log q − log p), Σ q φ(log p − log q), φ(u) = exp u − 1 − u, which is the
    same since p and q both sum to 1
    """
    batch, classes = student.shape
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for q, log_q, p, log_p, u in _compared(student, teacher, temperature):
        total = {
            "paper": lambda: _divergence(p, q, u),  # noqa: B023
            "reversed": lambda: _divergence(q, p, [-value for value in u]),  # noqa: B023
            "unlogged": lambda: _expected(p, _lesses(log_p, q)),  # noqa: B023
            "reversed unlogged": lambda: _expected(q, _lesses(log_q, p)),  # noqa: B023
        }[variant]()
        losses.append(factor * total)
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def soft_cross_entropy(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> Number | np.ndarray:
    """The cross-entropy of the student with the teacher's softened probabilities.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with p = softmax(teacher / T), q = softmax(student / T)
        "none"         −T² Σ_c p log q, without the T² unless `temperature_squared`; 0 log 0 is 0
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    factor = temperature**2 if temperature_squared else 1.0
    losses = [
        -factor * _expected(p, log_q)
        for _, log_q, p, _, _ in _compared(student, teacher, temperature)
    ]
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def limit(
    student: np.ndarray, teacher: np.ndarray, *, reduction: str = "batchmean"
) -> Number | np.ndarray:
    """Half the variance, over the classes, of the difference of logits.

    Shapes
        student, teacher (B, C)  →  a number; with "none" an array (B,)

    Definition, with Δ = student − teacher
        "none"         Σ_c (Δ[b,c] − Σ_k Δ[b,k] / C)² / 2C
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B C)
    """
    batch, classes = student.shape
    losses = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        centred = _centred(_lesses(s, t))
        losses.append(_product(centred, centred) / (2 * classes))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": batch, "elementmean": batch * classes}[reduction]
    return sum(losses) / divisor


def dkd(
    student: np.ndarray,
    teacher: np.ndarray,
    labels: np.ndarray,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    temperature_squared: bool = True,
    reduction: str = "batchmean",
) -> Number | np.ndarray:
    """The divergence of the label's class from the rest, and that of the rest, each weighted.

    Shapes
        student, teacher (B, C), labels (B,) integers in 0 … C−1  →  a number; "none" an array (B,)

    Definition, with z = student / T, l the label, o = log Σ_{c≠l} exp z[c], likewise the teacher
        TCKD = Σ p (log p − log q) over two classes, p, q = softmax(z[l], o) of teacher, student
        NCKD = Σ p (log p − log q) over the classes c ≠ l, p, q = softmax(z[c], c ≠ l) likewise
        "none"       T² (α TCKD + β NCKD), without the T² unless `temperature_squared`
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    both by the differences of logits as in `kl`, with o_s − o_t = log Σ_{c≠l} p exp d, d the
    difference and p the teacher's probabilities among the rest. NCKD is 0 where, in either net, all
    of the rest is at −∞
    """
    factor = temperature**2 if temperature_squared else 1.0
    losses = []
    for b, label in enumerate(labels.tolist()):
        two_s, rest_s, o_s = _taken_apart(student[b].tolist(), label, temperature)
        two_t, rest_t, o_t = _taken_apart(teacher[b].tolist(), label, temperature)
        d = [value / temperature for value in _lesses(student[b].tolist(), teacher[b].tolist())]
        d_label, d_rest = d[label], d[:label] + d[label + 1 :]
        u_rest, between = _log_ratio(d_rest, rest_s, rest_t)
        between = between if np.isfinite(between) else _less(o_s, o_t)
        u_two, _ = _log_ratio([d_label, between], two_s, two_t)
        tckd = _divergence(_exp(two_t), _exp(two_s), u_two)
        nckd: Number = 0.0
        if -math.inf not in (o_s.real, o_t.real):
            nckd = _divergence(_exp(rest_t), _exp(rest_s), u_rest)
        losses.append(factor * (_weighted(alpha, tckd) + _weighted(beta, nckd)))
    if reduction == "none":
        return np.array(losses, student.dtype)
    divisor = {"sum": 1, "batchmean": len(student)}[reduction]
    return sum(losses) / divisor


def _taken_apart(z: list, label: int, temperature: float) -> tuple[list, list, Number]:
    """log softmax(z_l / T, o), log softmax of the rest, and o = log Σ_{c≠l} exp(z_c / T).

    With m the largest of the rest, o = m / T + log Σ_{c≠l} exp((z_c − m) / T).
    """
    rest = [value for c, value in enumerate(z) if c != label]
    r = max(range(len(rest)), key=lambda c: rest[c].real)
    m = rest[r]
    if m.real == -math.inf:
        return [0.0, -math.inf], _log_softened([0.0 for _ in rest]), -math.inf
    log_rest = _log_softened(rest, temperature)
    more = -log_rest[r]
    return _log_softened([(z[label] - m) / temperature, more]), log_rest, m / temperature + more


def _weighted(weight: float, x: Number) -> Number:
    """The product, and 0 where the weight is, whatever x is."""
    return 0.0 if weight == 0 else weight * x


def _one_less_correlation(a: list, b: list, log_q: list, log_p: list, epsilon: float) -> Number:
    """1 − ρ, ρ = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 1 where one is constant.

    a is log q less the largest of them, b is log p less the largest: x = exp a and y = exp b are q
    and p, each in a unit, and x̃ is that of exp a − 1. The unit of y is where x is the largest, if
    that is large in y too. With u = x̃/‖x̃‖, v = ỹ/‖ỹ‖ and κ = ‖x̃‖‖ỹ‖ /
    (‖x̃‖‖ỹ‖ + ε), 1 − ρ = 1 − κ Σ u v = κ ½ Σ (u − v)² + 1 − κ.
    """
    r = of_y = max(range(len(a)), key=lambda k: a[k].real)
    if b[r].real > -1:
        b = [value - b[r] for value in b]
    else:
        of_y = max(range(len(b)), key=lambda k: b[k].real)
    x, y = (_centred([_expm1(value) for value in of]) for of in (a, b))
    if not any(value.real for value in x) or not any(value.real for value in y):
        return 1.0
    u, v = _unit(x), _unit(y)
    sign = -1 if _product(u, v).real < 0 else 1
    half = sum((sign * u[k] - v[k]) ** 2 for k in range(len(u))) / 2
    one_less = half if sign > 0 else 2 - half
    if epsilon == 0:
        return one_less
    lengths = _length(x) * _length(y) * np.exp(log_q[r] + log_p[of_y]).item()
    return (lengths * one_less + epsilon) / (lengths + epsilon)


def _between_samples(logits: list, log_q: list, temperature: float) -> list:
    """log q[b][c] less the largest of its class, by class.

    From the differences to the sample that rules out the least; a class that even that one rules
    out as it stands.
    """
    k = max(range(len(logits)), key=lambda b: min(value.real for value in log_q[b]))
    ratios = []
    for z, of_z in zip(logits, log_q, strict=True):
        d = [value / temperature for value in _lesses(z, logits[k])]
        ratios.append(_log_ratio(d, of_z, log_q[k])[0])
    by_class = []
    for c in range(len(log_q[0])):
        of_class = [line[c] for line in log_q]
        ruled_out = log_q[k][c].real == -math.inf != max(value.real for value in of_class)
        by_class.append(_below(of_class if ruled_out else [line[c] for line in ratios]))
    return by_class


def dist(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    temperature_squared: bool = True,
    epsilon: float = 0.0,
) -> Number:
    """One minus the correlation of probabilities, over classes and over samples.

    Shapes
        student, teacher (B, C)  →  a number

    Definition, with q = softmax(student / T), p = softmax(teacher / T)
        ρ(x, y) = Σ x̃ ỹ / (‖x̃‖ ‖ỹ‖ + ε), x̃ = x − mean x, ỹ = y − mean y; 0 for a constant
        inter = 1 − Σ_b ρ(q[b,:], p[b,:]) / B
        intra = 1 − Σ_c ρ(q[:,c], p[:,c]) / C
        T² (β inter + γ intra), without the T² unless `temperature_squared`
    """
    batch, classes = student.shape
    s, t = student.tolist(), teacher.tolist()
    log_q, log_p = ([_log_softened(line, temperature) for line in of] for of in (s, t))
    factor = temperature**2 if temperature_squared else 1.0
    inter: Number = 0.0
    for b in range(batch):
        x, y = _below(s[b], temperature), _below(t[b], temperature)
        inter += _one_less_correlation(x, y, log_q[b], log_p[b], epsilon) / batch
    x_of = _between_samples(s, log_q, temperature)
    y_of = _between_samples(t, log_p, temperature)
    intra: Number = 0.0
    for c in range(classes):
        q_of, p_of = ([line[c] for line in of] for of in (log_q, log_p))
        intra += _one_less_correlation(x_of[c], y_of[c], q_of, p_of, epsilon) / classes
    return factor * (beta * inter + gamma * intra)


def standardize(logits: np.ndarray, *, ddof: int = 0, epsilon: float = 1e-7) -> np.ndarray:
    """Logits less their mean, divided by their standard deviation, for each sample.

    Shapes
        logits (B, C)  →  y (B, C)

    Definition, with m[b] = Σ_c x[b,c] / C
        s[b] = √(Σ_c (x[b,c] − m[b])² / (C − ddof))
        y[b,c] = (x[b,c] − m[b]) / (ε + s[b]), or 0 where s[b] is 0
    """
    batch, classes = logits.shape
    y = np.empty_like(logits)
    for b in range(batch):
        centred = _centred(logits[b].tolist())
        s = np.sqrt(_product(centred, centred) / (classes - ddof)).item()
        for c in range(classes):
            y[b, c] = 0.0 if s == 0 else centred[c] / (epsilon + s)
    return y


def _regressed(
    features: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None = None
) -> np.ndarray:
    """weight · features + bias at every position, a 1×1 convolution; as they are with no weight."""
    if weight is None:
        return features
    if features.ndim == 2:
        return linear(features, weight, bias)
    return conv2d(features, weight.reshape(*weight.shape, 1, 1), bias)


def hint(
    student: np.ndarray,
    teacher: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    half: bool = False,
    reduction: str = "elementmean",
) -> Number:
    """The squared difference of a regression on the student's features and the teacher's.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O);
        weight (O, C), bias (O,), or None  →  a number

    Definition, with r = weight · student + bias at every position
        "sum"          Σ (r − teacher)², halved with `half`
        "batchmean"    the same / B
        "elementmean"  the same / number of entries
    """
    r = _regressed(student, weight, bias)
    total = 0.0
    for index in np.ndindex(teacher.shape):
        delta = r.item(*index) - teacher.item(*index)
        total += (0.5 if half else 1.0) * delta * delta
    return total / {"sum": 1, "batchmean": len(teacher), "elementmean": teacher.size}[reduction]


def attention(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    power: float = 2.0,
    reduction: str = "elementmean",
    variant: str = "squared",
    epsilon: float = 0.0,
) -> Number | np.ndarray:
    """The distance of the maps of where features are large, each divided by its length.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  a number; with "none" an array (B,)

    Definition, with a[b,i] = Σ_c |student[b,c,i]|^power / C at position i, Q[b] = a[b] / (‖a[b]‖ +
    ε), or 0 where ‖a[b]‖ is 0, and R likewise of the teacher
        "none"         Σ_i (Q − R)²; with variant "norm" √Σ_i (Q − R)²
        "sum"          the sum of these over b
        "batchmean"    their sum / B
        "elementmean"  their sum / (B H W)
    """
    losses = []
    for s, t in zip(_maps(student), _maps(teacher), strict=True):
        q, r = _unit(_activity(s, power), epsilon), _unit(_activity(t, power), epsilon)
        delta = [q[i] - r[i] for i in range(len(q))]
        losses.append(_product(delta, delta) if variant == "squared" else _length(delta))
    if reduction == "none":
        return np.array(losses, student.dtype)
    entries = len(student) * student.shape[2] * student.shape[3]
    divisor = {"sum": 1, "batchmean": len(student), "elementmean": entries}[reduction]
    return sum(losses) / divisor


def _activity(channels: list, power: float) -> list:
    """Σ_c |x[c,i]|^power / C for each position i."""
    cells = zip(*channels, strict=True)
    return [sum(_absolute(x) ** power for x in cell) / len(cell) for cell in cells]


def nst(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "batchmean",
    epsilon: float = 0.0,
) -> Number | np.ndarray:
    """The squared maximum mean discrepancy of channels, each divided by its length.

    Shapes
        student (B, C, H, W), teacher (B, D, H, W)  →  a number; with "none" an array (B,)

    Definition, with s[c] = student[b,c] / (‖student[b,c]‖ + ε) over positions, or 0 where the
    length is 0, t[d] likewise of the teacher, and k(x, y) = (Σ_i x_i y_i)²
        "none"       Σ_{c,c'} k(s[c], s[c']) / C² + Σ_{d,d'} k(t[d], t[d']) / D²
                     − 2 Σ_{c,d} k(s[c], t[d]) / CD
                     which is Σ_{i,j} (Σ_c s[c,i] s[c,j] / C − Σ_d t[d,i] t[d,j] / D)²
        "sum"        the sum of these over b
        "batchmean"  their sum / B
    """
    losses = []
    for of_student, of_teacher in zip(_maps(student), _maps(teacher), strict=True):
        s, t = ([_unit(x, epsilon) for x in channels] for channels in (of_student, of_teacher))
        total: Number = 0.0
        for i, j in np.ndindex(len(s[0]), len(s[0])):
            own = sum(x[i] * x[j] for x in s) / len(s)
            total += (own - sum(x[i] * x[j] for x in t) / len(t)) ** 2
        losses.append(total)
    if reduction == "none":
        return np.array(losses, student.dtype)
    return sum(losses) / {"sum": 1, "batchmean": len(student)}[reduction]


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
) -> Number:
    """The squared difference of how two layers of a net go together, in student and teacher.

    Shapes
        first (B, C, H, W), second (B, D, H, W), teacher_first (B, C', H', W'),
        teacher_second (B, D', H', W'), weight_first (C', C), weight_second (D', D), or None
        →  a number

    Definition, with f = weight_first · first, g = weight_second · second at every position
        G[b,c,d] = Σ_i f[b,c,i] g[b,d,i] / (H W), and G' likewise of the teacher's layers
        "sum"          Σ_{b,c,d} (G − G')²; with variant "norms" Σ_{b,d} √Σ_c (G − G')²
        "batchmean"    the same / B
        "elementmean"  the same / (B C' D'), or with "norms" / (B D')
    """
    f, g = _regressed(first, weight_first), _regressed(second, weight_second)
    batch, rows, columns = len(first), teacher_first.shape[1], teacher_second.shape[1]
    of_student, of_teacher = _flow(f, g), _flow(teacher_first, teacher_second)
    total: Number = 0.0
    for b in range(batch):
        for d in range(columns):
            delta = [of_student[b][c][d] - of_teacher[b][c][d] for c in range(rows)]
            total += _product(delta, delta) if variant == "squared" else _length(delta)
    entries = batch * columns * (rows if variant == "squared" else 1)
    return total / {"sum": 1, "batchmean": batch, "elementmean": entries}[reduction]


def _flow(first: np.ndarray, second: np.ndarray) -> list:
    """G[b][c][d] = Σ_i f[b,c,i] g[b,d,i] / (H W), over the positions i."""
    return [
        [[_product(x, y) / len(x) for y in of_second] for x in of_first]
        for of_first, of_second in zip(_maps(first), _maps(second), strict=True)
    ]


def _softplus(x: Number) -> Number:
    """log(1 + exp x), where Re x > 0 as x + log(1 + exp(−x)), which cannot overflow.

    The two differ by multiples of 2πi at most, where |Im x| is above π.
    """
    return np.log(1 + np.exp(-x)).item() + x if x.real > 0 else np.log(1 + np.exp(x)).item()


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
) -> Number:
    """The negative log-likelihood, but for ½ log 2π, of the teacher's features as normal.

    Shapes
        student (B, C, H, W), teacher (B, O, H, W), or rows (B, C) and (B, O); scale (O,);
        weight (O, C), bias (O,), or None  →  a number, the same for both variants

    Definition, with μ = weight · student + bias at every position and
    σ²[o] = log(1 + exp scale[o]) + ε
        "sum"          Σ ½ ((μ − teacher)² / σ² + log σ²) over all entries
        "batchmean"    the same / B
        "elementmean"  the same / number of entries
    """
    mean = _regressed(student, weight, bias)
    variances = [_softplus(value) + epsilon for value in scale.tolist()]
    total = 0.0
    for index in np.ndindex(teacher.shape):
        delta, variance = mean.item(*index) - teacher.item(*index), variances[index[1]]
        total += 0.5 * (delta * delta / variance + np.log(variance).item())
    return total / {"sum": 1, "batchmean": len(teacher), "elementmean": teacher.size}[reduction]


def _products(rows: list) -> list:
    """The products Σ_d x[i,d] x[j,d] of all pairs of rows."""
    return [[_product(x, y) for y in rows] for x in rows]


def _cosines(rows: list) -> list:
    """The products of all pairs of rows, each divided by its length: 1 with itself, or 0."""
    of = _products([_unit(row) for row in rows])
    for i, row in enumerate(rows):
        of[i][i] = 1.0 if any(row) else 0.0
    return of


def _shares(x: list) -> list:
    """The entries x_k / Σ_l |x_l|, or zeros where the sum is 0."""
    total = sum(_absolute(value) for value in x)
    return [0.0 if total == 0 else value / total for value in x]


def similarity(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of which samples activate a net alike, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with P[i,j] = Σ_d f[i,d] f[j,d] for features f as rows, G[i] = P[i] / ‖P[i]‖, with
    variant "l1" P[i] / Σ_j |P[i,j]|, or 0 where that is 0, and G' likewise of the teacher
        "sum"          Σ_{i,j} (G − G')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    divided = _unit if variant == "paper" else _shares
    g = [divided(row) for row in _products(_rows(student))]
    of_teacher = [divided(row) for row in _products(_rows(teacher))]
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += (g[i][j] - of_teacher[i][j]) ** 2
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _difference(x: list, y: list) -> list:
    return [one - other for one, other in zip(x, y, strict=True)]


def _distances_by_mean(features: np.ndarray) -> list:
    """d[i,j] / μ, d[i,j] = ‖f[i] − f[j]‖, μ the mean of those d with Re d > 0; 0 if none has."""
    rows = _rows(features)
    d = [[_length(_difference(x, y)) for y in rows] for x in rows]
    apart = [value for line in d for value in line if value.real > 0]
    mean = sum(apart) / len(apart) if apart else 1.0
    return [[value / mean for value in line] for line in d]


def rkd_distance(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of distances between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with d[i,j] = ‖f[i] − f[j]‖ for features f as rows, μ the mean of those d above 0,
    ψ = d / μ, ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j} h(ψ[i,j] − ψ'[i,j])
        "batchmean"    the same / B
        "elementmean"  the same / B²
    """
    batch = len(student)
    psi, of_teacher = _distances_by_mean(student), _distances_by_mean(teacher)
    total: Number = 0.0
    for i, j in np.ndindex(batch, batch):
        total += _huber(psi[i][j] - of_teacher[i][j], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _angles(features: np.ndarray) -> list:
    """ψ[i][j][k] = Σ_d e[i,j,d] e[i,k,d], e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖, or 0."""
    rows = _rows(features)
    return [_cosines([_difference(y, x) for y in rows]) for x in rows]


def rkd_angle(
    student: np.ndarray, teacher: np.ndarray, *, delta: float = 1.0, reduction: str = "elementmean"
) -> Number:
    """The difference of angles between samples, by Huber's loss, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with e[i,j] = (f[j] − f[i]) / ‖f[j] − f[i]‖ for features f as rows, or 0 where the
    length is 0, ψ[i,j,k] = Σ_d e[i,j,d] e[i,k,d], ψ' likewise of the teacher, and h as in `huber`
        "sum"          Σ_{i,j,k} h(ψ[i,j,k] − ψ'[i,j,k])
        "batchmean"    the same / B
        "elementmean"  the same / B³
    """
    batch = len(student)
    psi, of_teacher = _angles(student), _angles(teacher)
    total: Number = 0.0
    for i, j, k in np.ndindex(batch, batch, batch):
        total += _huber(psi[i][j][k] - of_teacher[i][j][k], delta)
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**3}[reduction]


def _likenesses(features: np.ndarray, epsilon: float) -> list:
    """c[i,j] = Σ_d u[i,d] u[j,d], u[i] = f[i] / (‖f[i]‖ + ε), and at least −1."""
    products = _products([_unit(row, epsilon) for row in _rows(features)])
    return [[-1.0 if value.real < -1 else value for value in row] for row in products]


def pkt(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    epsilon: float = 1e-7,
    reduction: str = "elementmean",
) -> Number:
    """The divergence of how likely one sample picks another, in teacher and student.

    Shapes
        student (B, …), teacher (B, …)  →  a number

    Definition, with u[i] = f[i] / (‖f[i]‖ + ε) for features f as rows, or 0 where the length is 0,
    s[i,j] = (Σ_d u[i,d] u[j,d] + 1) / 2, q[i,j] = s[i,j] / Σ_k s[i,k], p likewise of the teacher
        "sum"          Σ_{i,j} p log((p + ε) / (q + ε))
        "batchmean"    the same / B
        "elementmean"  the same / B²
    where a cosine below −1, by rounding or by the real part of a complex one, has s = 0

    As Σ (q − p) is 0 in each row, with w = (q − p) / (p + ε), φ(x) = exp x − 1 − x and m = 1/B,
        Σ p log((p + ε) / (q + ε)) = Σ p φ(log(1 + w)) + ε Σ w (m − p) / (m + ε)
    and q − p = (Δ − p Σ_k Δ[k]) / Σ_k (1 + c[k]), Δ = c − c', c the products Σ_d u[i,d] u[j,d], c'
    the teacher's
    """
    batch = len(student)
    m = 1 / max(1, batch)
    total: Number = 0.0
    for c, of_teacher in zip(
        _likenesses(student, epsilon), _likenesses(teacher, epsilon), strict=True
    ):
        s, s_of_teacher = sum(1 + value for value in c), sum(1 + value for value in of_teacher)
        p, q = [(1 + value) / s_of_teacher for value in of_teacher], [(1 + x) / s for x in c]
        delta = _difference(c, of_teacher)
        for j in range(batch):
            if p[j] + epsilon == 0:
                total += q[j]
                continue
            w = (delta[j] - p[j] * sum(delta)) / s / (p[j] + epsilon)
            ratio = (q[j] + epsilon) / (p[j] + epsilon)  # 1 + w
            x = np.log1p(w) if abs(w) <= 0.5 else np.log(ratio)
            total += _divergence([p[j]], [p[j] * ratio], [x.item()])
            total += (
                w * (m * sum(of_teacher) - of_teacher[j]) / s_of_teacher * epsilon / (m + epsilon)
            )
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


def _kernel(c: Number, gamma: float, order: int) -> Number:
    """Σ_{p=1}^{order} e^{−2γ} (2γ)^p / p! c^p, without the term of p = 0, the same for all c."""
    return sum(
        math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * c**p
        for p in range(1, order + 1)
    )


def cc(
    student: np.ndarray,
    teacher: np.ndarray,
    *,
    gamma: float = 0.4,
    order: int = 2,
    reduction: str = "elementmean",
    variant: str = "paper",
) -> Number:
    """The squared difference of a kernel between samples, in student and teacher.

    Shapes
        student (B, …), teacher (B, …)  →  a number; with variant "consecutive" of one shape

    Definition, with c[i,j] = Σ_d u[i,d] u[j,d] for u[i] = f[i] / ‖f[i]‖, or 0 where the length is
    0, f the features as rows, K[i,j] = Σ_{p=0}^{order} e^{−2γ} (2γ)^p / p! c[i,j]^p, K' likewise
        "sum"          Σ_{i,j} (K − K')²
        "batchmean"    the same / B
        "elementmean"  the same / B²
    with variant "bilinear" u = f and K = c; with "norm" u = f, and √Σ_{i,j} (K − K')² for the sum
    with variant "consecutive" another loss, a[i,d] = |f[i,d] − f'[i,d]|
        "sum"                       Σ_{i<B−1} Σ_d a[i,d] a[i+1,d], for i from 0
        "batchmean", "elementmean"  the same / (B − 1), or / 1 where B is 1
    """
    batch = len(student)
    rows, of_teacher = _rows(student), _rows(teacher)
    total: Number = 0.0
    if variant == "consecutive":
        a = [
            [_absolute(value) for value in _difference(x, y)]
            for x, y in zip(rows, of_teacher, strict=True)
        ]
        for i in range(batch - 1):
            total += _product(a[i], a[i + 1])
        return total if reduction == "sum" else total / max(1, batch - 1)
    matrix = _cosines if variant == "paper" else _products
    k, k_of_teacher = matrix(rows), matrix(of_teacher)
    for i, j in np.ndindex(batch, batch):
        ours, theirs = k[i][j], k_of_teacher[i][j]
        if variant != "bilinear":
            ours, theirs = _kernel(ours, gamma, order), _kernel(theirs, gamma, order)
        total += (ours - theirs) ** 2
    if variant == "norm":
        total = np.sqrt(total).item()
    return total / {"sum": 1, "batchmean": batch, "elementmean": batch**2}[reduction]


# Optimiser


def sgd(
    params: dict[str, np.ndarray],
    grads: dict[str, np.ndarray],
    velocity: dict[str, np.ndarray],
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One step of gradient descent with momentum μ and weight decay λ, in PyTorch's convention.

    Shapes
        params, grads, velocity: arrays of one shape under each name; velocity is 0 at first
        →  (new params, new velocity), new arrays of those shapes

    Definition, for each entry θ with gradient g and velocity v
        v ← μ v + (g + λ θ)
        θ ← θ − lr v
    """
    new_params = {name: np.empty_like(array) for name, array in params.items()}
    new_velocity = {name: np.empty_like(array) for name, array in params.items()}
    for name, array in params.items():
        for index in np.ndindex(array.shape):
            theta, g, v = (arrays[name].item(*index) for arrays in (params, grads, velocity))
            v = momentum * v + (g + weight_decay * theta)
            new_velocity[name][index] = v
            new_params[name][index] = theta - lr * v
    return new_params, new_velocity

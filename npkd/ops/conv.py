"""Convolution of images."""

import numpy as np

from npkd.arguments import positive_integer, require_arrays, require_axes, shown
from npkd.engine import memory, threads
from npkd.ops.contract import Op, Pair, pair, require_gradient
from npkd.ops.windows import Axis, Unfold, axis_of

OUTPUTS_IN_A_COPY = 16  # that a patch's entry is multiplied for in the time of copying it


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Op:
    """Convolution as the field has it: cross-correlation, with kernels that are not flipped.

    Shapes
        x (N, C, H, W), w (O, C/G, kh, kw), b (O,) or None  →  y (N, O, Ho, Wo)
        Ho = ⌊(H + top + bottom − dilation·(kh − 1) − 1) / stride⌋ + 1, and Wo likewise

    Arguments
        stride, dilation: sizes of at least 1. groups: G, of channels that see nothing of others.
        padding: zeros around the image. A size is put on both sides; "valid" is none; "same" is
        what keeps Ho = H and Wo = W, the odd cell at the bottom and right, stride 1 only.

    Definition (groups = 1, stride s, dilation d, padding p; x is zero outside of the image)
        y[n,o,u,v] = Σ_c Σ_i Σ_j w[o,c,i,j] x[n, c, u·s + i·d − p, v·s + j·d − p] + b[o]
        Y = [W b] [X; 1], where the columns of X[cij,uv] are the patches of image n, above a row of
        ones (`windows.Unfold`)

    Backward, given dy = ∂L/∂y (N, O, Ho, Wo)
        w[o,c,i,j] meets x[…] once in every window of every image; x meets w wherever a tap of a
        window lies on it, which is what the adjoint of unfold collects:
        dW[o,cij] = Σ_n Σ_uv dY[o,uv] X[cij,uv]     dw = Σ_n dY Xᵀ
        dX[cij,uv] = Σ_o W[o,cij] dY[o,uv]          dx = fold(Wᵀ dY)
        db[o] = Σ_n Σ_uv dY[o,uv]

    `backward(dy, need_dx=False)` gives (None, dw, db), without the work for dx; db is None where b
    is. Scratch memory is that of a few images for each thread, for any N.

    Raises ValueError if the arrays' dtypes or shapes do not go together, if the kernel does not fit
    into the padded image, or if an argument is outside of its range.
    Source: the definition is that of torch.nn.functional.conv2d.

    Example
        >>> x, w = np.array([[[[1.0, 2.0, 5.0]]]]), np.array([[[[-1.0, 1.0]]]])
        >>> y, backward = ops.conv2d(x, w)
        >>> dx, dw, _ = backward(np.ones_like(y))
        >>> print(y.ravel(), dx.ravel(), dw.ravel())
        [1. 3.] [-1.  0.  1.] [3. 7.]
    """
    require_arrays("conv2d", x=x, w=w, b=b, optional="b")
    _require_shapes(x, w, b, groups)
    rows, columns = _axes(x, w, stride, padding, dilation)
    shape = (len(x), len(w), rows.output, columns.output)
    y = memory.empty(shape, x.dtype)
    w_rows = w.reshape(groups, len(w) // groups, -1)  # (G, O/G, C/G·kh·kw)
    b_rows = np.zeros_like(w_rows[:, :, :1]) if b is None else b.reshape(groups, -1, 1)
    wb_rows = np.concatenate([w_rows, b_rows], axis=2)
    patches_size = w[0].size * len(x) * rows.output * columns.output
    parts = threads.parts(len(x), work=patches_size * (len(w) + OUTPUTS_IN_A_COPY))

    def forward(part: slice) -> None:
        unfolding = Unfold.of_part(rows, columns, x, groups, part)
        run = unfolding.run(len(w))
        for images in threads.slices(part, unfolding.images):
            np.matmul(wb_rows, unfolding.unfold(x[images]), out=run)  # Y = [W b] [X; 1]
            y[images] = unfolding.crop(run, images.stop - images.start)

    threads.run(forward, parts)

    def backward(
        dy: np.ndarray, need_dx: bool = True
    ) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
        require_gradient("conv2d", dy, shape, x.dtype)
        dx = memory.empty(x.shape, x.dtype) if need_dx else None

        def part_of_backward(part: slice) -> np.ndarray:
            dwb_columns = np.zeros_like(wb_rows.swapaxes(1, 2))
            unfolding = Unfold.of_part(rows, columns, x, groups, part)
            run = unfolding.run(len(w))
            for images in threads.slices(part, unfolding.images):
                unfolding.spread(dy[images], run)
                # [dW db]ᵀ = [X; 1] dYᵀ, faster than its transpose
                dwb_columns += unfolding.unfold(x[images]) @ run.swapaxes(1, 2)
                if dx is not None:
                    np.matmul(w_rows.swapaxes(1, 2), run, out=unfolding.scratch)  # dX = Wᵀ dY
                    unfolding.fold(dx[images])
            return dwb_columns

        partial_sums = threads.run(part_of_backward, parts)
        dwb_rows = sum(partial_sums, start=np.zeros_like(wb_rows.swapaxes(1, 2))).swapaxes(1, 2)
        dw = dwb_rows[:, :, :-1].reshape(w.shape)
        db = dwb_rows[:, :, -1].flatten()
        return dx, dw, None if b is None else db

    return y, backward


def _axes(
    x: np.ndarray, w: np.ndarray, stride: Pair, padding: Pair | str, dilation: Pair
) -> tuple[Axis, Axis]:
    """The windows along rows and columns."""
    kernel = w.shape[2:]
    strides = pair("conv2d", "stride", stride, 1)
    dilations = pair("conv2d", "dilation", dilation, 1)
    if not isinstance(padding, str):
        before = after = list(pair("conv2d", "padding", padding, 0))
    elif padding == "valid":
        before = after = [0, 0]
    elif padding != "same":
        raise ValueError(f'conv2d: padding is {shown(padding)}, expected "same", "valid" or sizes')
    elif strides != (1, 1):
        raise ValueError(f'conv2d: padding "same" takes stride 1 only, got stride {stride}')
    else:
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        before, after = [t // 2 for t in totals], [t - t // 2 for t in totals]
    rows, columns = (
        axis_of(*axis)
        for axis in zip(x.shape[2:], kernel, strides, before, after, dilations, strict=True)
    )
    if rows.output < 1 or columns.output < 1:
        raise ValueError(
            f"conv2d: a kernel of {kernel} with dilation {dilations} does not fit into images of "
            f"{x.shape[2:]} padded by {tuple(before)} and {tuple(after)}"
        )
    return rows, columns


def _require_shapes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, groups: int) -> None:
    require_axes("conv2d", "x", x, "N C H W")
    require_axes("conv2d", "w", w, "O C/groups kh kw")
    positive_integer("conv2d", "groups", groups)
    if 0 in w.shape or x.shape[1] != groups * w.shape[1] or len(w) % groups:
        raise ValueError(
            f"conv2d: x has {x.shape[1]} channels and w is {w.shape} with groups={groups}, "
            f"expected w of (a multiple of {groups}, {x.shape[1]}/{groups}, kh, kw)"
        )
    if b is not None and b.shape != (len(w),):
        raise ValueError(f"conv2d: b has shape {b.shape}, expected ({len(w)},) as w is {w.shape}")

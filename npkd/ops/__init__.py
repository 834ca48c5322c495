"""Operations: each returns its value and its backward pass.

Example
    >>> y, backward = ops.linear(np.ones((2, 3)), np.ones((4, 3)), np.zeros(4))
    >>> dx, dw, db = backward(np.ones_like(y))

Ops are pure: no argument is changed, nothing is remembered, `backward` may be called again. It is
the plain transpose of the derivative (never conjugated): dy = ∂L/∂y in, the gradients of L by the
array arguments out, in their order. It reads the op's arguments again, so it is valid as long as
they have not changed. The arrays of one call share one dtype, float32, float64, complex64 or
complex128, which is kept; complex numbers serve exact gradient checks, and where an op decides
(ReLU, max-pool) the real part does. A size is an int for rows and columns, a pair (rows, columns),
or a sequence of one int, which is the same as the int.

One op gives more: `batch_norm` in training has the batch's statistics as a third result.

Anything else is a ValueError that says what was given and what was expected.
"""

from npkd.ops.activation import log_softmax, relu, softmax
from npkd.ops.conv import conv2d
from npkd.ops.joining import add, concat
from npkd.ops.linear import flatten, linear
from npkd.ops.norm import batch_norm
from npkd.ops.pointwise import dropout, gelu, relu6, sigmoid, silu, tanh
from npkd.ops.pool import avg_pool2d, global_avg_pool2d, max_pool2d
from npkd.ops.resize import pixel_shuffle, upsample

__all__ = [
    "add",
    "avg_pool2d",
    "batch_norm",
    "concat",
    "conv2d",
    "dropout",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "linear",
    "log_softmax",
    "max_pool2d",
    "pixel_shuffle",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
    "upsample",
]

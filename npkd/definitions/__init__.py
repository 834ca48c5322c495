"""The specification: every op, every loss and optimiser as the literal formula in scalar loops.

Read a docstring's formula and the loop below it side by side: they should be the same text. The
functions of ops and losses take the arguments of their namesakes in `npkd.ops` and `npkd.losses`,
those of updates and of eight-bit integers what their docstrings say; they assume these to be valid,
and return values only, no gradients. They are slow, and nothing but checks should call them.

Scalars are Python numbers, so sums are in double precision whatever the dtype of the arrays; a
result has the dtype of its input, or of eight-bit integers that which the formula names. Complex
arrays go through every function by the same formula: nothing is conjugated, and what must choose
(ReLU, max-pool, an absolute value) chooses by the real part. So |x| is x sign(Re x), and the length
of a vector √Σ x², both analytic and neither of them a modulus. A vector of length 0 has no
direction: where one is asked for, it stays 0.

Letters of ops: n image, c input channel, o output channel, (i, j) output row and column, (p, q)
input row and column, (u, v) row and column inside a kernel. Of losses: b sample, c class or
channel, d channel of another layer or entry of a row of features, i position in a map, or in losses
on relations i, j, k samples; B is the size of the batch, T the temperature. Sizes are an int, a
sequence of one, or a (height, width) pair. The meaning of the ops' arguments is PyTorch's.
"""

from npkd.definitions.features import *  # noqa: F403
from npkd.definitions.labels import *  # noqa: F403
from npkd.definitions.ops import *  # noqa: F403
from npkd.definitions.quantised import *  # noqa: F403
from npkd.definitions.regression import *  # noqa: F403
from npkd.definitions.relations import *  # noqa: F403
from npkd.definitions.soft_targets import *  # noqa: F403
from npkd.definitions.update import *  # noqa: F403

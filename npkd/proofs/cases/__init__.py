"""Random cases for checks: the shapes, arguments and arrays of one call of an op or a loss.

Everything discrete is drawn through one function `integers(low, high)`, both ends included, so
that whoever calls decides where chance comes from:

    rng = np.random.default_rng(0)
    case = CASES["conv2d"](lambda low, high: int(rng.integers(low, high + 1)))

or, inside a Hypothesis strategy, `lambda low, high: draw(st.integers(low, high))`; the smallest
case is then what failing examples shrink to. Values come from a Generator:

    y, backward = ops.conv2d(*arrays(case, rng).values(), **case.options)

Every case is valid as built; none is drawn and thrown away. To tell apart what a wrong op mixes
up, batches hold more than one image, height and width are drawn independently, an op's input
and output channels differ (but for depthwise convolution), and strides may skip cells. To serve
scalar loops, a case costs less than 5,000 multiply-adds. (A graph may cost some
times that. Only the document's two nets are of one size, and no work for scalar loops.)
"""

from npkd.proofs.cases.drawn import Drawn, Integers, arrays, images, normal, rows
from npkd.proofs.cases.integers import INTEGERS
from npkd.proofs.cases.ops import OPS
from npkd.proofs.cases.subjects import CASES, LOSSES

__all__ = [
    "CASES",
    "INTEGERS",
    "LOSSES",
    "OPS",
    "Drawn",
    "Integers",
    "arrays",
    "images",
    "normal",
    "rows",
]

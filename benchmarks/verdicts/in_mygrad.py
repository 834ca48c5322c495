"""MyGrad, answering exported cases as a stranger to npkd writes it, by the folder's README alone.

    npkd validate export cases && PYTHONPATH=cases python in_mygrad.py
    npkd validate check cases results.npz --dtype float32

MyGrad 2.5: 697 tensors, all CONSISTENT. It computes in float32 and stores some results as float64.
"""

import mygrad as mg
import numpy as np
from adapter import Adapter, NamespaceWords, NotGiven, made_of
from answer import answer
from geometry import geometry
from mygrad.nnet.activations import logsoftmax, relu, sigmoid, softmax
from mygrad.nnet.layers import conv_nd, max_pool


def conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    of = geometry(x.shape, w.shape[2:], stride, padding, dilation)
    if groups != 1:
        raise NotGiven("convolutions with groups")
    if of.before != of.after:
        raise NotGiven("convolutions with other padding behind than before")
    y = conv_nd(x, w, stride=of.stride, padding=of.before, dilation=of.dilation)
    return y if b is None else y + b.reshape(1, -1, 1, 1)


def max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode):
    of = geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    if any(of.before + of.after + of.extra) or of.dilation != (1, 1):
        raise NotGiven("max pools with padding, dilation or ceil_mode")
    return max_pool(x, of.kernel, of.stride)


class MyGrad(Adapter):
    name = "MyGrad"

    def __init__(self):
        self.words = NamespaceWords(
            mg,
            array=np.asarray,
            floating=lambda x: x.astype(np.float32),
            stop_gradient=lambda x: x.data if isinstance(x, mg.Tensor) else x,
            softmax=lambda z, axis=-1: softmax(z, axis=axis),
            log_softmax=lambda z, axis=-1: logsoftmax(z, axis=axis),
        )
        own = {"conv2d": conv2d, "max_pool2d": max_pool2d, "relu": relu, "sigmoid": sigmoid}
        self.operations = {**made_of(self.words), **own, "tanh": mg.tanh}

    def about(self):
        return {"framework": f"MyGrad {mg.__version__}", "device": "CPU", "flags": "none"}

    def given(self, array):
        return mg.tensor(array) if array.dtype.kind == "f" else array

    def found(self, x):
        return np.asarray(x)

    def vjp(self, function, arrays, dy):
        function(*arrays).backward(None if dy is None else dy.data)
        return [np.zeros(x.shape) if x.grad is None else x.grad for x in arrays]


if __name__ == "__main__":
    answer(MyGrad(), "cases", "results.npz")

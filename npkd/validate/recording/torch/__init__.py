"""PyTorch's side: recording what it computes.

    report = torch_module(net, x)                  # a model of one's own, operation by operation
    report = torch_step(step, student, teacher=teacher, optimizer=sgd, objective=…, labels=labels)

A recording sees every torch function that a model calls, whoever calls it, and keeps its arguments
and results, and in the backward pass the gradient of each of its arguments. So every operation,
forward and backward, can be judged alone on the very numbers that PyTorch had; what is no operation
of the judge's is "unknown", and taken as it is: it is called again in float64, and its gradient
checked. A model runs once, and is left as it was found.
Under autocast the factors of products are taken as they were rounded. From the bottom up:

    tensors      PyTorch's numbers as NumPy has them
    recorder     keeps the calls, their tensors and gradients
    operations   what a call of a torch function is as an operation
    program      the program of what was recorded
    probes       the recorded functions again, on small integers
    replays      those that no rule is for again, in float64
    own          torch_module
    objective    an objective as operations
    update       the update by torch.optim.SGD as operations
    step         torch_step
"""

from npkd.validate.recording.torch.own import record, torch_module
from npkd.validate.recording.torch.probes import exact_probes
from npkd.validate.recording.torch.step import torch_step

__all__ = ["exact_probes", "record", "torch_module", "torch_step"]

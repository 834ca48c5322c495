"""What a framework is asked to compute: the cases that `npkd.validate` is about.

    for case in cases(np.random.default_rng(0)): …
    for case in cases(np.random.default_rng(0), ["conv2d", "kl"]): …       # some subjects alone

A subject is one thing that can be done rightly or wrongly, a case is one probe of it. Subjects are
each op and each loss alone; the update; how gradients of several batches are added up; how data are
prepared, and how they reach the teacher; the document's two nets, forward and backward; and
distillation, several updates of it. The arrays of a subject do not depend on which other subjects
are asked for.

Numbers are such that no two mistakes look alike: batches of N = 5, C = 7 classes, temperature
T = 3, so that no factor of N, C, T or T² is another one; height and width differ, and so do the
numbers of channels in and out; kernels are not symmetric, and those that are square show a
transposition; padding of 1 at stride 2 and an even size shows whether it is symmetric.

Most cases are of ordinary float32 numbers. Their sums have fewer than 500 terms, but for the
nets' and those of 64 channels, so that TF32 cannot hide within the bound. Some are extreme: logits
that overflow, classes that are ruled out, near ties, numbers below the smallest normal one, a
temperature far from 1, windows that begin in the padding. The others are exact: small integers,
times a power of two (`dyadic`), of which no sum rounds in whatever order it is added up, nor with
fused multiply-adds, nor with factors in TF32. `exactness` proves it of a case. Where a mean is
taken, it is of 2ⁿ numbers then.
"""

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npkd.files import BadInput
from npkd.nets import Network
from npkd.nets.models import LargeCNN, SmallCNN
from npkd.validate.questions.data import (
    about_augmentation,
    about_augmented_teacher,
    about_evaluation_mode,
    about_preparation,
    about_teacher_cache,
    about_workers,
)
from npkd.validate.questions.losses import (
    LOSSES,
    about_loss,
    about_ragged_batch,
    about_standardize,
)
from npkd.validate.questions.nets import about_distillation, about_net, about_residual
from npkd.validate.questions.numbers import (
    Cases,
)
from npkd.validate.questions.ops import OPS, about_op
from npkd.validate.questions.updates import (
    about_accumulation,
    about_adam,
    about_nesterov,
    about_sgd,
)


def cases(rng: np.random.Generator, names: Sequence[str] | None = None) -> Cases:
    """The cases of all subjects, or of those named, each made when it is asked for.

    Raises BadInput for a subject that there is not.
    """
    makers = _subjects(rng)
    for name in makers if names is None else names:
        if name not in makers:
            near = difflib.get_close_matches(name, makers, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(makers)}"
            raise BadInput(f"validate: no subject is named {name!r}; {hint}")
    return _all_of(makers[name] for name in dict.fromkeys(makers if names is None else names))


def with_kinds(names: Sequence[str]) -> list[str]:
    """These subjects, and for an op all that begin with its name: conv2d groups for conv2d."""
    found = []
    for name in names:
        kinds = [one for one in OPS if one.startswith(f"{name} ")]
        found += kinds if kinds and name not in OPS else [name, *kinds]
    return found


def _all_of(makers: Iterator[Callable[[], Cases]]) -> Cases:
    for maker in makers:
        yield from maker()


def subjects() -> tuple[str, ...]:
    """The names of all subjects."""
    return tuple(_subjects(np.random.default_rng(0)))


def _subjects(rng: np.random.Generator) -> dict[str, Callable[[], Cases]]:
    """What makes the cases of each subject, each with a Generator of its own."""
    of_large, of_small = rng.spawn(2)

    @functools.cache  # the arrays that two subjects share are the same ones
    def large() -> Network:
        return LargeCNN(of_large)

    @functools.cache
    def small() -> Network:
        return SmallCNN(of_small)

    makers: dict[str, Callable[[np.random.Generator], Cases]] = {}
    for subject, of_op in OPS.items():
        makers[subject] = functools.partial(about_op, subject, of_op)
    for subject, of_loss in LOSSES.items():
        makers[subject] = functools.partial(about_loss, subject, of_loss)
    makers |= {
        "standardize": about_standardize,
        "ragged batch": about_ragged_batch,
        "sgd": about_sgd,
        "nesterov": about_nesterov,
        "adam": functools.partial(about_adam, "adam"),
        "adamw": functools.partial(about_adam, "adamw"),
        "accumulation": about_accumulation,
        "preparation": about_preparation,
        "augmentation": about_augmentation,
        "teacher cache": about_teacher_cache,
        "augmented teacher": about_augmented_teacher,
        "workers": about_workers,
        "evaluation mode": about_evaluation_mode,
        "residual": about_residual,
        "SmallCNN": lambda rng: about_net("SmallCNN", small(), rng),
        "LargeCNN": lambda rng: about_net("LargeCNN", large(), rng),
        "distillation": lambda rng: about_distillation(large(), small(), rng),
    }
    generators = rng.spawn(len(makers))
    return {
        name: functools.partial(maker, own)
        for (name, maker), own in zip(makers.items(), generators, strict=True)
    }

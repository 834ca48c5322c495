"""Questions about the update, and how gradients of several batches are added up."""

from collections.abc import Sequence

import numpy as np

from npkd.validate.program import Operation, sum_of, update_of
from npkd.validate.questions.numbers import C, Cases, Draw, Options, case_of, dyadic, normal


def sgd_operations(
    names: Sequence[str], *, before: str, at: str, first: bool, options: Options
) -> list[Operation]:
    """One update of parameters, from `before` + name to `at` + name, by `at` + name + ".grad"."""
    return [
        update_of(
            f"{at}sgd {name}",
            before + name,
            f"{at}{name}.grad",
            at + name,
            options,
            None if first else f"{before}{name}.velocity",
            f"{at}{name}.velocity",
        )
        for name in names
    ]


def about_sgd(rng: np.random.Generator) -> Cases:
    """Four updates of a weight and a bias by given gradients; the rate changes after the second."""
    about = "v ← μ v + (g + λ θ), θ ← θ − lr v, four times; the biases decay too"
    usual = {"momentum": 0.9, "weight_decay": 0.01}
    powers = {"momentum": 0.5, "weight_decay": 0.25}
    plain = {"momentum": 0.0, "weight_decay": 0.0}
    for name, shape, rates, constants, draw in (
        ("sgd linear", (4, 6), (0.1, 0.1, 0.05, 0.05), usual, normal),
        ("sgd convolution", (4, 3, 3, 2), (0.1, 0.1, 0.05, 0.05), usual, normal),
        ("sgd exact", (4, 6), (0.5, 0.5, 0.25, 0.25), powers, dyadic),
        ("sgd plain", (4, 6), (0.1, 0.1, 0.05, 0.05), plain, normal),
        ("sgd plain exact", (4, 6), (0.5, 0.5, 0.25, 0.25), plain, dyadic),
    ):
        shapes = {"weight": shape, "bias": shape[:1]}
        inputs = {key: draw(rng, of_one) for key, of_one in shapes.items()}
        operations, before = [], ""
        for step, lr in enumerate(rates, 1):
            at = f"step{step}/"
            inputs |= {f"{at}{key}.grad": draw(rng, of_one) for key, of_one in shapes.items()}
            operations += sgd_operations(
                list(shapes), before=before, at=at, first=step == 1, options={"lr": lr} | constants
            )
            before = at
        needed = [f"step{step}/{key}" for step in range(1, 5) for key in shapes]
        yield case_of(name, "sgd", about, inputs, operations, exact=draw is dyadic, needed=needed)


def about_accumulation(rng: np.random.Generator) -> Cases:
    """The gradients of a batch of eight from two of four: the mean of the mean's gradients."""
    for inputs_of, outputs_of in ((6, 4), (11, C)):
        for exact in (False, True):
            draw: Draw = dyadic if exact else normal
            inputs = {"w": draw(rng, (outputs_of, inputs_of)), "b": draw(rng, (outputs_of,))}
            operations = []
            for part in ("part1/", "part2/"):
                inputs[f"{part}x"] = draw(rng, (4, inputs_of))
                inputs[f"{part}dy"] = draw(rng, (4, outputs_of)) / 4
                operations.append(
                    Operation(
                        f"{part}linear backward",
                        "linear_backward",
                        {"x": f"{part}x", "w": "w", "b": "b", "dy": f"{part}dy"},
                        {"dw": f"{part}dw", "db": f"{part}db"},
                    )
                )
            for name in ("dw", "db"):
                operations.append(sum_of([f"part1/{name}", f"part2/{name}"], name, divisor=2))
            yield case_of(
                f"accumulation {inputs_of} to {outputs_of}{' exact' * exact}",
                "accumulation",
                "the gradients of the mean over 8 samples from those of the means over 4 and 4",
                inputs,
                operations,
                exact=exact,
            )

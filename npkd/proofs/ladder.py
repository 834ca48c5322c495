"""All subjects with their checks, and how these are run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

import npkd
from npkd import definitions, losses, nets, ops, optim
from npkd.proofs.cases import CASES, INTEGERS, LOSSES, OPS
from npkd.proofs.checks import Finding, Proof, described
from npkd.proofs.of_integers import CHECKS_OF_INTEGERS
from npkd.proofs.of_losses import CHECKS_OF_A_LOSS
from npkd.proofs.of_nets import CHECKS_OF_A_DOCUMENT_NET, CHECKS_OF_CNN, CHECKS_OF_GRAPH
from npkd.proofs.of_ops import checks_of_op
from npkd.proofs.of_training import Training, steps_by, training_gradient, training_steps
from npkd.quantise import ops as integers


@dataclass(frozen=True)
class Row:
    """What all checks of one subject came to: the worst errors of those passed, and failures."""

    name: str
    checks: int
    examples: int
    value: Finding
    gradient: Finding
    failures: tuple[str, ...]


def prove(names: list[str], examples: int, seed: int) -> Iterator[Row]:
    """Run all checks of these subjects on so many random cases each. Yields a row for each."""
    for name in names:
        proof, count = PROOFS[name], PROOFS[name].examples(examples)
        worst = {"value": Finding(), "gradient": Finding()}
        failures = []
        for example in range(count):
            for check in proof.checks:
                rng = np.random.default_rng([seed, example])
                case = CASES[name](partial(_integer, rng))
                try:
                    finding = proof.checks[check](proof.subject, case, rng)
                except Exception as error:  # whatever it is, the row says so, and others follow
                    reason = str(error) if isinstance(error, AssertionError) else repr(error)
                    failures.append(f"{check}, example {example}: {reason}\n{described(case)}")
                    continue
                column = "gradient" if check in GRADIENTS else "value"
                found = worst[column]
                if finding.relative > found.relative:
                    where = f"{check}, example {example}: {finding.where}"
                    found = replace(found, relative=finding.relative, where=where)
                worst[column] = replace(found, power=max(found.power, finding.power))
        yield Row(name, len(proof.checks), count, **worst, failures=tuple(failures))


def _integer(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


GRADIENTS = ("direction", "entries", "difference", "adjoint", "ties")

PROOFS: dict[str, Proof] = {
    **{name: Proof(getattr(ops, name), checks_of_op(name)) for name in OPS},
    **{name: Proof(getattr(integers, name), CHECKS_OF_INTEGERS) for name in INTEGERS},
    **{name: Proof(getattr(losses, name), CHECKS_OF_A_LOSS) for name in LOSSES},
    "cnn": Proof(npkd, CHECKS_OF_CNN, one_in=2),
    "graph": Proof(npkd, CHECKS_OF_GRAPH, one_in=2),
    "SmallCNN": Proof(nets.SmallCNN, CHECKS_OF_A_DOCUMENT_NET, one_in=2),
    "LargeCNN": Proof(nets.LargeCNN, CHECKS_OF_A_DOCUMENT_NET, one_in=20),
    "SGD": Proof(optim.SGD, {"steps": steps_by(definitions.sgd, "velocity")}),
    "Adam": Proof(optim.Adam, {"steps": steps_by(definitions.adam, "m", "v", counted=True)}),
    "AdamW": Proof(optim.AdamW, {"steps": steps_by(definitions.adamw, "m", "v", counted=True)}),
    "training": Proof(
        Training(), {"direction": training_gradient, "steps": training_steps}, one_in=2
    ),
}

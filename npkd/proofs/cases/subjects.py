"""All subjects: by name, what makes a random case of each."""

from npkd.losses.facts import FACTS
from npkd.proofs.cases import features, labels, regression, relations, soft_targets
from npkd.proofs.cases.drawn import Cases
from npkd.proofs.cases.integers import INTEGERS
from npkd.proofs.cases.nets import NETWORKS, TRAININGS
from npkd.proofs.cases.ops import OPS

FAMILIES = (regression, labels, soft_targets, features, relations)
LOSSES: Cases = {
    name: vars(family)[name] for family in FAMILIES for name in FACTS if name in vars(family)
}
CASES: Cases = OPS | INTEGERS | LOSSES | NETWORKS | TRAININGS

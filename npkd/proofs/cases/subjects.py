"""All subjects: by name, what makes a random case of each."""

from npkd.proofs.cases.case import Cases
from npkd.proofs.cases.features import attention, fsp, hint, nst, vid
from npkd.proofs.cases.labels import cross_entropy, mix
from npkd.proofs.cases.nets import NETWORKS, TRAININGS
from npkd.proofs.cases.ops import OPS
from npkd.proofs.cases.regression import huber, l1, l2
from npkd.proofs.cases.relations import cc, pkt, rkd_angle, rkd_distance, similarity
from npkd.proofs.cases.soft_targets import dist, dkd, kl, limit, soft_cross_entropy, standardize

LOSSES: Cases = {
    "l2": l2,
    "l1": l1,
    "huber": huber,
    "cross_entropy": cross_entropy,
    "mix": mix,
    "kl": kl,
    "soft_cross_entropy": soft_cross_entropy,
    "limit": limit,
    "dkd": dkd,
    "dist": dist,
    "standardize": standardize,
    "hint": hint,
    "attention": attention,
    "nst": nst,
    "fsp": fsp,
    "vid": vid,
    "similarity": similarity,
    "rkd_distance": rkd_distance,
    "rkd_angle": rkd_angle,
    "pkt": pkt,
    "cc": cc,
}


CASES: Cases = OPS | LOSSES | NETWORKS | TRAININGS

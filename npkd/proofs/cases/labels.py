"""Random arguments of the losses to labels."""

from npkd.proofs.cases.case import BATCH_MEANS, Case, Integers, labels, one_of, outputs


def cross_entropy(integers: Integers) -> Case:
    """Every reduction."""
    shape = outputs(integers)
    options = {
        "labels": labels(integers, *shape),
        "reduction": one_of(integers, *BATCH_MEANS),
    }
    return Case("cross_entropy", {"logits": shape}, options)


def mix(integers: Integers) -> Case:
    """Any share of the teacher, none and all of it among them."""
    shape = outputs(integers)
    options = {"labels": labels(integers, *shape), "alpha": integers(0, 8) / 8}
    return Case("mix", {"student": shape, "teacher": shape}, options)

"""Random arguments of the losses to labels."""

from npkd.proofs.cases.drawn import BATCH_MEANS, Drawn, Integers, labels, one_of, outputs


def cross_entropy(integers: Integers) -> Drawn:
    """Every reduction."""
    shape = outputs(integers)
    options = {
        "labels": labels(integers, *shape),
        "reduction": one_of(integers, *BATCH_MEANS),
    }
    return Drawn("cross_entropy", {"logits": shape}, options)


def mix(integers: Integers) -> Drawn:
    """Any share of the teacher, none and all of it among them."""
    shape = outputs(integers)
    options = {"labels": labels(integers, *shape), "alpha": integers(0, 8) / 8}
    return Drawn("mix", {"student": shape, "teacher": shape}, options)

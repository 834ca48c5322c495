"""What eight bits save and cost a net of a run, in words, from report.json."""

from collections.abc import Mapping
from typing import Any

from npkd.data.recognised import counted
from npkd.distill.evaluate import WORDS, in_words
from npkd.distill.report.table import IN_EIGHT_BITS
from npkd.distill.tasks import TASKS


def rows(report: Mapping[str, Any], name: str) -> list[list[str]]:
    """Bytes and figures on the test images, before and after."""
    before, after = report["models"][IN_EIGHT_BITS[name]], report["models"][name]
    words = [(*WORDS[figure], figure) for figure in TASKS[report["task"]].figures]
    return [
        ["", "float32", "8 bits"],
        ["bytes", f"{before['bytes']:,}", f"{after['bytes']:,}"],
        *(
            [f"test {word}", *(form.format(of[f]) for of in (before, after))]
            for word, form, f in words
        ),
    ]


def sentences(report: Mapping[str, Any], name: str) -> list[str]:
    """What it took, and what moved."""
    before, after = report["models"][IN_EIGHT_BITS[name]], report["models"][name]
    of, moved = report["eight_bits"][name], report["eight_bits"][name]["moved"]
    said = [f"{before['bytes'] / after['bytes']:.2f} times fewer bytes"]
    if "changed" in of:
        said[0] += (
            f"; {of['changed']:,} of {report['data']['test']:,} test images are of another class "
            "than before"
        )
    text = f"the largest change of an output is {moved['median']:.3g} in the median image, "
    text += f"{moved['most']:.3g} at most"
    if "expected" in of:
        expected = of["expected"]
        some = f" (of {of['estimated']:,} of them)" if _are_some(report, of) else ""
        text += (
            f"; to first order{some} {expected['median']:.3g} and {expected['most']:.3g}, which "
            f"leaves {of['unexplained']:.0%} of all changes unexplained"
        )
    said.append(text)
    if of["epochs"]:
        said.append(
            f"{counted(of['epochs'], 'epoch')} of distillation with the net computing in eight "
            f"bits; before these {in_words(of['before'])}"
        )
    if of.get("departure"):
        ratios = ", ".join(f"{one['ratio']:.3g} at {one['step']:g}" for one in of["departure"])
        said.append(
            "they follow no gradient, as rounding has none: the loss changes by so many times what "
            f"the backward pass says, for steps of these shares of the weights: {ratios}"
        )
    return said


def _are_some(report: Mapping[str, Any], of: Mapping[str, Any]) -> bool:
    """Whether what is expected is of some of the test images only."""
    return bool(of.get("estimated", report["data"]["test"]) < report["data"]["test"])


def steps(report: Mapping[str, Any], name: str) -> list[list[str]]:
    """Which steps move the outputs, as rows with a head; none where that is not known."""
    held = report["eight_bits"][name].get("steps", [])
    moving = [[one["step"], f"{one['moves']:.3g}"] for one in held if one["moves"]]
    return [["step", "moves"], *moving] if moving else []

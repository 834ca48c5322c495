"""study.html: a study for somebody who was not there, its answer first.

The question, the answer in two sentences made of the figures, what had been expected, the picture,
the tables. Made from what study.json holds (`results.report`), and the nets' latencies.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from npkd.distill.evaluate import WORDS
from npkd.files import write_atomically
from npkd.printing.pages import Html, document, figure, html, table, tag
from npkd.study import picture, tables

Report = Mapping[str, Any]
MOST_INCHES = 400  # of a picture's height; study.png draws more, with smaller dots
QUESTION = "When does a net that is distilled beat the same net without a teacher?"


def write(path: Path, report: Report, nets: Sequence[Mapping[str, Any]]) -> None:
    """Write study.html. Raises what `pictures.png` does, and OSError."""
    text = page(report, nets).encode()
    write_atomically(path, lambda file: file.write(text))


def page(report: Report, nets: Sequence[Mapping[str, Any]]) -> str:
    """The page as text."""
    question = report["question"] or QUESTION
    size, draw = picture.drawing(report)
    pictures = []
    if size[1] < MOST_INCHES:
        caption = (
            "Left: what each net reaches; right: the difference, seed by seed, with its mean and "
            "95 % interval."
        )
        pictures = [figure(caption, draw, size=size, wide=True)]
    settings = tables.rows_of_settings(report)
    expected = report["expected"]
    pieces = [
        tag("h1", question),
        *(tag("p", html(sentence)) for sentence in answer(report)),
        *([tag("p", tag("em", "Expected before it ran: "), expected)] if expected else []),
        *pictures,
        tag("h2", "The settings"),
        tag("p", tables.heading(report)),
        table(tables.rows(report)),
        *([tag("h2", "In what they differ"), table(settings)] if settings[1:] else []),
        tag("h2", "The same nets otherwise"),
        tag("p", tables.HEADING_OF_OTHERS),
        table(tables.rows_of_others(report)),
        tag("h2", "The nets"),
        tag("p", tables.HEADING_OF_NETS),
        table(tables.rows_of_nets(nets)),
        *_failures(report),
        tag("h2", "How it was done"),
        tag("p", _how(report)),
        tag("p", _data(report)),
    ]
    return document(f"npkd: {question}", pieces)


def answer(report: Report) -> list[str]:
    """Two sentences: what beats the net from labels and what does not."""
    unit, _, _ = tables.UNITS[report["figure"]]
    of = {
        verdict: sorted(
            (one for one in report["settings"] if one["verdict"] == verdict),
            key=lambda one: -one["difference"]["mean"],
        )
        for verdict in ("beats", "loses", "none")
    }
    tested = tables.number_tested(report)
    called, other = WORDS[report["figure"]][0], f"the net {tables.without(report)}"

    def told(setting: Mapping[str, Any]) -> str:
        difference = tables.written(setting["difference"], report["figure"], "+")
        return f"“{tables.shortened(setting['name'])}”, {difference} {unit}"

    count = Counter(one["verdict"] for one in report["settings"])
    if not tested and count["few"]:
        return ["There are too few seeds to say.", "More seeds will."]
    if not tested and count["failed"]:
        return ["Nothing can be said, as trainings failed.", "What failed is listed below."]
    if not tested:
        return ["Nothing is compared.", f"Each setting is {other} itself."]
    beats, loses, none = (of[verdict] for verdict in ("beats", "loses", "none"))
    first = f"{_of_them(beats, tested)} {other} in {called}"
    first += f", {'most of all ' * (len(beats) > 1)}{told(beats[0])}." if beats else "."
    rest = []
    if loses:
        verb = "loses" if len(loses) == 1 else "lose"
        most = "most of all " * (len(loses) > 1)
        rest.append(f"{len(loses)} {verb} to it, {most}{told(loses[-1])}")
    if none:
        seen = [one["difference"]["smallest"] for one in none]
        text = f"of {len(none)} no difference is found"
        if None not in seen:
            least = tables.written({"mean": max(seen), "half": None}, report["figure"])
            text += f", where {least} {unit} would have been, tested alone, in 80 studies of 100"
        rest.append(text)
    for verdict, words in (("failed", "failed"), ("few", "with too few seeds")):
        if count[verdict]:
            rest.append(f"{count[verdict]} more {words}")
    if count["same"]:
        rest.append(f"{count['same']} more, {other} itself")
    if lost := sum(bool(one["failed"]) for of_one in of.values() for one in of_one):
        rest.append(f"in {lost} the training of a seed failed, which is left out")
    second = "; ".join(rest) or "none loses to it, and none is undecided"
    return [first, second[0].upper() + second[1:] + "."]


def _how(report: Report) -> str:
    """What is compared, and by what analysis."""
    settings, other = report["settings"], tables.without(report)
    text = (
        "Each setting is a small net that is distilled, with these settings, beside a small net "
        f"{other} alone: with the same first weights, images in the same order, and as many "
        "updates, at a learning rate of its own"
    )
    if any(one["against"] for one in settings):
        text += ", but for what the table says that it has otherwise"
    if any(one["config"]["unlabelled"] for one in settings):
        text += (
            ". Where the distilled net also sees images without labels, the other one goes through "
            "those with labels as much oftener, each time in the next version"
        )
    return (
        f"{text}. p-values, and the verdicts by them, are adjusted after Holm for the "
        f"{tables.number_tested(report)} setting(s) that have one; intervals are each for itself. "
        "They are for seeds and test images such as these, by a two-way analysis of variance. The "
        "training images are one set: what another one would give, no figure here can know."
    )


def _of_them(beats: Sequence[object], tested: int) -> str:
    """How many of so many beat something: "1 of 3 settings beats", "None of 3 settings beats"."""
    verb = "beat" if len(beats) > 1 else "beats"
    settings = "setting" if tested == 1 else "settings"
    return f"{len(beats) or 'None'} of {tested} {settings} {verb}"


def _failures(report: Report) -> Sequence[Html]:
    failed = tables.failures(report)
    if not failed:
        return []
    return [tag("h2", "What failed"), tag("ul", *(tag("li", text) for text in failed))]


def _data(report: Report) -> str:
    data = report["data"]
    return (
        f"{data['name']}: {data['train']:,} images to train, {data['test']:,} "
        f"{tables.tested_on(report)}; seeds {', '.join(map(str, report['seeds']))}; npkd "
        f"{report['npkd']}."
    )

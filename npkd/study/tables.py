"""What a study found in words: the tables of the terminal and the page, and their sentences.

Made from what study.json holds (`results.report`); the names in it are anybody's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from npkd.distill.evaluate import WORDS
from npkd.distill.report.table import names_of
from npkd.files import one_line
from npkd.objectives import Term
from npkd.printing.text import aligned

UNITS = {  # and a factor, and decimals
    "accuracy": ("points", 100.0, 1),
    "psnr": ("dB", 1.0, 2),
    "agreement": ("points", 100.0, 1),
    "ece": ("points", 100.0, 1),
    "nll": ("nats", 1.0, 3),
    "brier": ("", 1.0, 3),
}
MOST_DECIMALS = 6
MOST_LETTERS = 60  # of a setting's name in a line
VERDICTS = {
    "beats": "BEATS",
    "loses": "LOSES",
    "none": "NO DIFFERENCE FOUND",
    "few": "too few seeds",
    "failed": "FAILED",
    "same": "the same net",
}


def without(report: Mapping[str, Any]) -> str:
    """How the small net that has no teacher is called: "from labels"."""
    return names_of(report["task"])["small_from_labels"].removeprefix("small, ")


def tested_on(report: Mapping[str, Any]) -> str:
    """Which images the figures are of."""
    return "held-out training images" if report["data"]["held_out"] else "test images"


def table(report: Mapping[str, Any]) -> str:
    """The settings, a line each, below `heading`."""
    return "\n".join([heading(report), "", *aligned(rows(report), left=(0, 7))])


def heading(report: Mapping[str, Any]) -> str:
    """What `rows` are of."""
    unit, scale, _ = UNITS[report["figure"]]
    called = WORDS[report["figure"]][0]
    count, several = len(report["seeds"]), number_tested(report)
    return (
        f"{called}, {f'%, and differences, {unit}' if scale == 100 else unit}, on "
        f"{report['data']['test']:,} {tested_on(report)}: mean of {count} seed(s) ± half of its "
        f"95 % interval, for such seeds and images; p and verdict adjusted for {several} "
        'setting(s); "found from": what would have been found, tested by itself, in 80 studies '
        "of 100"
    )


def number_tested(report: Mapping[str, Any]) -> int:
    """Of how many settings there is a p-value: that it is adjusted for."""
    return sum(one["verdict"] in ("beats", "loses", "none") for one in report["settings"])


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The settings: the teacher, the distilled net, from labels, the difference."""
    main = report["figure"]
    titles = ["teacher", "distilled", without(report), "difference", "found from", "p"]
    found = [["", *titles, ""]]
    for setting in report["settings"]:
        small, labels = setting["small"].get(main), setting["labels"].get(main)
        same, difference = setting["verdict"] == "same", setting["difference"] or {}
        seen, p = difference.get("smallest"), difference.get("adjusted_p")
        seeds = len(difference.get("values", report["seeds"]))
        fewer = f" ({seeds} of {len(report['seeds'])} seeds)"
        found.append(
            [
                shortened(setting["name"]) + fewer * (seeds < len(report["seeds"])),
                written(setting["small"].get(f"teacher_{main}"), main),
                "–" if same else written(small, main),
                written(labels, main),
                written(setting["difference"], main, sign="+"),
                "–" if seen is None else written({"mean": seen, "half": None}, main),
                "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
                VERDICTS[setting["verdict"]],
            ]
        )
    return found


HEADING_OF_OTHERS = (
    "the same nets otherwise, with intervals for such seeds; the best epoch is chosen on these "
    "images, and flatters"
)


def table_of_others(report: Mapping[str, Any]) -> str:
    """The other figures, a line for each net, below their heading."""
    return "\n".join([HEADING_OF_OTHERS, "", *aligned(rows_of_others(report), left=(0, 1))])


def rows_of_others(report: Mapping[str, Any]) -> list[list[str]]:
    """Best epoch, calibration, agreement with the teacher."""
    main = report["figure"]
    others = {f"best_{main}": "best epoch", "nll": "−log p", "brier": "Brier", "ece": "ECE, %"}
    offered = {name for one in report["settings"] for name in one["labels"]}
    shown = {name: words for name, words in others.items() if name in offered}
    compared = any("agreement" in one["small"] for one in report["settings"])
    found = [["", "net", *shown.values(), *["as the teacher, %"] * compared]]
    listed: set[str] = set()
    for setting in report["settings"]:
        for net, called in (
            ("labels", without(report)),
            ("small", "distilled"),
            ("others", "difference"),
        ):
            figures, sign = setting[net], "+" if net == "others" else "-"
            if not figures or (net != "labels" and setting["verdict"] == "same"):
                continue
            cells = [written(figures.get(name), name.removeprefix("best_"), sign) for name in shown]
            as_teacher = [written(figures.get("agreement"), "agreement")] * compared
            row = [called, *cells, *as_teacher]
            if net != "labels" or repr(row) not in listed:  # one from labels serves many settings
                listed.add(repr(row))
                found.append([shortened(setting["name"]), *row])
    return found


def rows_of_settings(report: Mapping[str, Any]) -> list[list[str]]:
    """In what the settings differ, and what the net from labels has otherwise: `against`.

    Only a head where there is nothing to say.
    """
    settings = report["settings"]
    configs = [one["config"] for one in settings]
    names = [n for n in configs[0] if any(c[n] != configs[0][n] for c in configs)]
    compared = any(one["against"] for one in settings)
    found = [["", *names, *[f"the net {without(report)} has"] * compared]]
    if found == [[""]]:
        return found
    for one in settings:
        against = [f"{name} {_in_words(value)}" for name, value in one["against"].items()]
        cells = [_in_words(one["config"][name]) for name in names]
        found.append([shortened(one["name"]), *cells, *[", ".join(against) or "–"] * compared])
    return found


def _in_words(value: Any) -> str:
    """What a setting is, as study.json holds it."""
    if isinstance(value, list | tuple):  # the loss
        layers = ("student", "teacher")
        return " + ".join(str(Term(**one | {n: tuple(one[n]) for n in layers})) for one in value)
    return "all" if value is None else str(value)


HEADING_OF_NETS = "the nets, on this machine: milliseconds from images to outputs, one image or 64"


def table_of_nets(nets: Sequence[Mapping[str, Any]]) -> str:
    """What `nets_of` gives, a line each, below their heading."""
    return "\n".join([HEADING_OF_NETS, "", *aligned(rows_of_nets(nets), left=(0, 1))])


def rows_of_nets(nets: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Size and latency of each net."""
    found = [["", "images", "parameters", "multiply-adds", "ms, 1", "ms, 64"]]
    for net in nets:
        shape = "×".join(map(str, net["image_shape"]))
        times = (f"{net['latency_ms'][b]:.2f}" for b in ("1", "64"))
        found.append([net["model"], shape, f"{net['parameters']:,}", f"{net['macs']:,}", *times])
    return found


def shortened(name: str) -> str:
    """A setting's name in one line; a long one loses its middle, as such names differ in the end.

    Somebody made it up, with what a terminal would obey, perhaps.
    """
    name, half = one_line(name), MOST_LETTERS // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[-half + 1 :]}"


def written(interval: Mapping[str, Any] | None, figure: str, sign: str = "-") -> str:
    """An interval of this figure as text: "64.3 ± 0.8". sign: "+" to have one on all means."""
    if interval is None:
        return "–"
    _, scale, decimals = UNITS[figure]
    half = interval["half"]
    if half and round(scale * half, MOST_DECIMALS):
        while round(scale * half, decimals) == 0:
            decimals += 1  # an interval is not nothing
    else:
        half = None
    text = f"{scale * interval['mean']:{sign}z.{decimals}f}"
    if half:
        text += f" ± {scale * half:.{decimals}f}"
    return text.replace("-", "−")


def conclusion(report: Mapping[str, Any]) -> list[str]:
    """What the table says, in sentences: who is ahead, who is behind, where no difference is."""
    unit, _, _ = UNITS[report["figure"]]
    lines, other = [], f"the net {without(report)}"
    for verdict, words in (
        ("beats", f"BEATS {other}"),
        ("loses", f"LOSES to {other}"),
        ("none", f"NO DIFFERENCE FOUND to {other}"),
        ("few", "too few seeds for an interval"),
    ):
        named = [one for one in report["settings"] if one["verdict"] == verdict]
        if verdict != "few":
            named.sort(key=lambda one: -one["difference"]["mean"])
        if named:
            lines.append(f"{words}:")
        for one in named:
            text = f"    {shortened(one['name'])}"
            if one["difference"]:
                text += f": {written(one['difference'], report['figure'], '+')} {unit}"
            lines.append(text)
    if failed := failures(report):
        lines += ["failed, and left out:", *(f"    {text}" for text in failed)]
    return lines


def failures(report: Mapping[str, Any]) -> list[str]:
    """Which trainings failed, and why."""
    called, failed = names_of(report["task"]), set()
    for one in report["settings"]:
        for name, reason in one["failed"].items():
            seed, net = name.split(", ")
            which = f"{called[net]}, {seed}, of {shortened(one['name'])}"
            failed.add(one_line(f"{which}: {reason.removeprefix(f'{net}: ')}"))
    return sorted(failed)

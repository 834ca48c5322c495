"""The figures of a framework as JSON, and back; cases for one that is asked elsewhere."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import npkd
from npkd.arguments import shown
from npkd.files import BadInput, OtherVersion, each_once, read_bytes, write_atomically, writing_to
from npkd.validate.accuracy import asking
from npkd.validate.accuracy.asking import Asked, Given
from npkd.validate.accuracy.measuring import Accuracy, Row
from npkd.validate.accuracy.questions import LARGEST, OWN, Question
from npkd.validate.accuracy.ulps import EXAMPLES, KINDS, Fault, Measured, Place
from npkd.validate.program import Case
from npkd.validate.questions import exchange

FORMAT, VERSION = "npkd accuracy", 1
WHAT = "figures of npkd accuracy"
MOST_BYTES = 1 << 21
MOST_ROWS, LONGEST = 1000, 1000  # letters of a text
ABOUT = ("framework", "device", "flags", "platform")
WORDS = {  # of the exchange format, what no op of npkd's is
    "exp": "x → y = eˣ, entry by entry",
    "log": "x → y = log x, entry by entry",
    "sqrt": "x → y = √x, entry by entry",
    "softplus": "x → y = log(1 + eˣ), entry by entry",
}


# JSON


def name_of(accuracy: Accuracy) -> str:
    """The name of its file: the framework and its version."""
    words = re.sub(r"[^a-z0-9.+]+", "-", accuracy.about.get("framework", "").lower()).strip("-.")
    return f"{words[:80] or 'framework'}.json"


def as_json(accuracy: Accuracy) -> dict[str, Any]:
    """All figures, for JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "npkd": npkd.__version__,
        "about": dict(accuracy.about),
        "precision": "float32",
        "rows": [_of_row(row) for row in accuracy.rows],
        "not_given": dict(accuracy.left),
    }


def _of_row(row: Row) -> dict[str, Any]:
    measured = row.measured
    return {
        "name": row.name,
        "op": row.op,
        "unit": row.unit,
        "reference_off": row.off,
        "entries": measured.entries,
        "ulp": measured.ulp,
        "typical": measured.typical,
        "bits": row.bits,
        "worst": measured.worst and vars(measured.worst),
        "faults": {
            kind: {
                "count": fault.count,
                "of": fault.of,
                "places": [vars(place) for place in fault.places],
            }
            for kind, fault in measured.faults.items()
        },
    }


def write(path: Path, accuracy: Accuracy) -> Path:
    """Write the figures to a file, or to one in this folder with the framework's name.

    Returns its path. Raises BadInput if it cannot be written.
    """
    path = path / name_of(accuracy) if path.is_dir() else path
    held = as_json(accuracy)
    rows = ",\n".join(map(_dumped, held.pop("rows")))  # each in a line, to be compared
    text = f'{_dumped(held)[:-1]}, "rows": [\n{rows}\n]}}\n'
    with writing_to(path.parent):
        write_atomically(path, lambda file: file.write(text.encode("utf-8", "replace")))
    return path


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read(path: str | Path) -> Accuracy:
    """The figures in a file.

    Raises BadInput for anything but what `write` writes, OtherVersion for another version of it.
    """
    data = read_bytes(path, at_most=MOST_BYTES, what=WHAT)
    try:
        held = json.loads(data, object_pairs_hook=each_once, parse_constant=_no_number)
        if not isinstance(held, dict) or held.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        version = held.get("version")
        if type(version) is int and version != VERSION:
            raise OtherVersion(f"{path}: has version {shown(version)}, expected {VERSION}")
        about = _texts("about", _of("it", held, "about", dict))
        if "framework" not in about:
            raise ValueError("its about has no framework")
        rows = tuple(map(_row, _of("it", held, "rows", list)[: MOST_ROWS + 1]))
        left = _texts("not_given", _of("it", held, "not_given", dict))
        names = {*left, *(row.name for row in rows)}
        if len(names) > MOST_ROWS or len(names) < len(rows) + len(left):
            raise ValueError(f"two rows have one name, or there are more than {MOST_ROWS}")
    except BadInput:
        raise
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not {WHAT}: {error}") from error
    return Accuracy(about, rows, left)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _of(whose: str, owner: Any, name: str, kind: type) -> Any:
    """A field of this kind."""
    if not isinstance(owner, dict) or type(owner.get(name)) is not kind:
        found = shown(owner[name]) if isinstance(owner, dict) and name in owner else "missing"
        raise ValueError(f"{whose}: {name} is {found}, expected {exchange.KINDS[kind]}")
    if kind is str and len(owner[name]) > LONGEST:
        raise ValueError(f"{whose}: {name} has {len(owner[name]):,} letters")
    return owner[name]


def _texts(whose: str, held: dict[str, Any]) -> dict[str, str]:
    for name in held:
        if len(name) > LONGEST:
            raise ValueError(f"{whose}: a name has {len(name):,} letters")
    return {name: _of(whose, held, name, str) for name in held}


def _number(whose: str, owner: Any, name: str, *, missing: bool = False) -> Any:
    """A number that is finite; None where that may be. Negative ones are effective bits alone."""
    value: Any = owner.get(name) if isinstance(owner, dict) else None
    if value is None and missing:
        return None
    if type(value) not in (int, float) or not abs(value) < 1e300 or value < -1e3:
        raise ValueError(f"{whose}: {name} is {shown(value)}, expected a number")
    return float(value)


def _count(whose: str, owner: Any, name: str) -> int:
    value = _number(whose, owner, name)
    if value < 0 or value != math.floor(value):
        raise ValueError(f"{whose}: {name} is {shown(value)}, expected a count")
    return int(value)


def _row(entry: Any) -> Row:
    name = _of("a row", entry, "name", str)
    unit = _of(name, entry, "unit", str)
    if unit not in (OWN, LARGEST):
        raise ValueError(f"{name}: unit is {shown(unit)}, expected {OWN} or {LARGEST}")
    faults = {}
    for kind, fault in _of(name, entry, "faults", dict).items():
        if kind not in KINDS:
            raise ValueError(f"{name}: no fault is called {shown(kind)}")
        places = _of(name, fault, "places", list)[:EXAMPLES]
        counts = (_count(name, fault, "count"), _count(name, fault, "of"))
        faults[kind] = Fault(*counts, tuple(_place(name, place) for place in places))
    worst = entry.get("worst")
    measured = Measured(
        _count(name, entry, "entries"),
        _number(name, entry, "ulp", missing=True),
        _number(name, entry, "typical", missing=True),
        None if worst is None else _place(name, worst),
        faults,
    )
    off, bits = _number(name, entry, "reference_off"), _number(name, entry, "bits", missing=True)
    return Row(name, _of(name, entry, "op", str), unit, off, measured, bits)


def _place(name: str, held: Any) -> Place:
    return Place(*(_of(name, held, field, str) for field in ("x", "hex", "found", "right")))


# Cases, for a framework that is asked elsewhere


def export(folder: str | Path, questions: Sequence[Question]) -> None:
    """Write what is to be computed as the judge's cases are (`exchange.export`)."""
    cases = [one.case for one in questions]
    exchange.export(folder, cases, results=asking.results, words=WORDS)


def answers(folder: str | Path, results: str | Path, questions: Sequence[Question]) -> Asked:
    """Who has answered the cases of a folder, by the file of results.

    Raises BadInput if the cases are not those of these questions, or if a file cannot be read.
    """
    path = Path(folder) / exchange.MANIFEST
    listed = {entry.get("name"): entry for entry in exchange.listed_in(path) if type(entry) is dict}
    for question in questions:
        case = question.case
        if case.name not in listed or not _is_listed(case, listed[case.name]):
            raise BadInput(f"{path}: {case.name!r} is missing or another case; export cases anew")
    found = exchange.read_results(results, [one.case for one in questions])
    about = {"framework": Path(results).stem, **exchange.read_about(results)}
    about = {name: about[name] for name in ABOUT if name in about}
    return Asked(lambda case: Given(found.get(case.name, {})), about)


def _is_listed(case: Case, entry: Mapping[str, Any]) -> bool:
    """Whether a manifest's case has these very inputs."""
    tensors = entry.get("tensors")
    return isinstance(tensors, dict) and all(
        isinstance(tensors.get(name), dict)
        and tensors[name].get("sha256") == exchange.digest(np.asarray(x))
        for name, x in case.inputs.items()
    )

"""Which code the figures in READMEs were measured with, and whether it is still the same.

    python -m benchmarks.figures                what was measured with other code than there is now
    python -m benchmarks.figures --now study    its table has just been copied from its command

benchmarks/results/figures.json lists all measured tables: where a table stands, the command that
measures it, which code matters, and a digest of that code as it was then. A command with an option
--write puts its figures into benchmarks/results/NAME.md by itself (`fill`); the others' are copied.

A digest is of lines of code: docstrings, comments and blank lines may change. It says that figures
may have changed, not that they have; so it is a report, and no test fails of it. Measuring again
takes from minutes to hours, and whether a change is worth that is for whoever makes it to say.
"""

import argparse
import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RECORD = RESULTS / "figures.json"
KINDS_OF_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Measured:
    """A table of figures.

    page     the file that it stands in
    command  what measures it
    code     the files and folders whose code matters
    digests  of that code as it was, by the part of the table where several runs make one; empty
             where a table is older than this record
    """

    page: str
    command: str
    code: list[str]
    digests: dict[str, str]

    def stale(self) -> list[str]:
        """The parts that were measured with other code; all of it where nothing is known."""
        now = digest(self.code)
        return [part for part, then in self.digests.items() if then != now] or (
            [] if self.digests else ["all"]
        )


def record() -> dict[str, Measured]:
    """All measured tables, by name."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    return {name: Measured(**fields) for name, fields in found.items()}


def note(name: str, part: str = "all") -> None:
    """Write down that this table, or a part of it, is of the code that there is now."""
    everything = record()
    everything[name].digests[part] = digest(everything[name].code)
    fields = {one: asdict(measured) for one, measured in everything.items()}
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    RECORD.write_text(text, encoding="utf-8")


def digest(code: Iterable[str]) -> str:
    """SHA-256 of the lines of code in these files and folders, wherever these are moved to."""
    files = sorted(path for one in code for path in python_files(ROOT / one))
    lines = sorted("\n".join(code_lines(path.read_text(encoding="utf-8"))) for path in files)
    return hashlib.sha256("\n\n".join(lines).encode()).hexdigest()[:16]


def python_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def code_lines(text: str) -> list[str]:
    """The lines of a module without those that are blank, a comment, or of a docstring."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, KINDS_OF_DOCUMENTED) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    numbered = enumerate(map(str.rstrip, text.splitlines()), 1)
    return [
        line
        for number, line in numbered
        if number not in left_out and line.strip() and not line.lstrip().startswith("#")
    ]


def fill(name: str, keys: int, rows: Mapping[tuple[str, ...], Mapping[str, str]]) -> None:
    """Put figures into the table of benchmarks/results/NAME.md, and leave the rest as it is.

    rows: by the texts of a line's first `keys` columns, what goes into which columns. A line that
    is not there yet comes last. Figures go in as they are found; `note` says of which code.
    """
    path = RESULTS / f"{name}.md"
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    head = cells(lines[first])
    last = first + 1
    while last + 1 < len(lines) and lines[last + 1].startswith("|"):
        last += 1
    table = {tuple(cells(line)[:keys]): cells(line) for line in lines[first + 2 : last + 1]}
    for key, figures in rows.items():
        line = table.setdefault(key, [*key, *[""] * (len(head) - keys)])
        for column, text in figures.items():
            line[head.index(column)] = text
    body = [row(texts) for texts in table.values()]
    lines[first + 2 : last + 1] = body
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(cells: Iterable[str]) -> str:
    """A line of a table, of these cells."""
    return f"| {' | '.join(cells)} |"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def report() -> list[str]:
    """A line for each table that was measured with other code than there is now."""
    return [
        f"{name} ({', '.join(parts)}), in {one.page}: {one.command}"
        for name, one in record().items()
        if (parts := one.stale())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--now", metavar="NAME", choices=list(record()), help="measured just now")
    name = parser.parse_args().now
    if name:
        note(name)
    stale = report()
    print("measured with other code than there is now:" if stale else "all is of this code")
    for line in stale:
        print(f"    {line}")


if __name__ == "__main__":
    main()

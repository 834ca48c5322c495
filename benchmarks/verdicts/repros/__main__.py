"""Run the few lines that show each bug in every version of its framework.

    python -m benchmarks.verdicts.repros [NAME…] --envs DIR [--write]

The files here hold a list of bugs for each framework:

    cause    what is wrong, in a clause
    of       the framework, or one of `released.RELEASES` with a setting
    program  lines that print what the framework gives
    right    what they print where it is right
    says     what the framework's documentation says, in our words, and page, where
    issue    where it was reported, or "none found"
    case     a case of which the judge says BUG in every version that prints something else, or dies
             in; blank where `npkd accuracy` shows it

--write keeps the table in benchmarks/results/repros.md.
"""

import argparse
import json
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import figures
from benchmarks.verdicts.released import KEPT, RELEASES, Release, environment, kept_of
from npkd.validate import BUG

HERE = Path(__file__).parent
TABLE = KEPT.parent / "repros.md"
SECONDS = 300


@dataclass(frozen=True)
class Repro:
    """A bug, as the files have it."""

    cause: str
    of: str
    program: str
    right: str
    says: str
    page: str
    issue: str
    case: str = ""


def repros() -> Iterator[Repro]:
    """All of them, file by file."""
    for path in sorted(HERE.glob("*.toml")):
        for bug in tomllib.loads(path.read_text("utf-8"))["bugs"]:
            yield Repro(**bug)


def printed(python: Path, release: Release, program: str) -> str:
    """What a version prints; or that it dies, or the last line of what it raises."""
    done = subprocess.run(
        [python, "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": "/usr/bin:/bin", "HOME": str(python.parents[1]), **release.environ},
    )
    if done.returncode < 0:
        return "dies"
    if done.returncode:
        return f"raises {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return " ".join(done.stdout.split())


def judge_says(release: Release, case: str) -> bool:
    """Whether the judge, asked blind, found something in this case of this version, however set."""
    same = (one for one in RELEASES if one.requirements == release.requirements)
    for path in map(kept_of, same):
        if path.exists():
            kept = json.loads(path.read_text("utf-8"))
            bugs = {one["case"] for one in kept["verdicts"] if one["verdict"] == BUG}
            if case in bugs | {*kept.get("dies", [])}:
                return True
    return False


def told(bug: Repro, found: Mapping[Release, str]) -> list[str]:
    """A row of the table."""
    by_text: dict[str, list[str]] = {}
    for release, text in found.items():
        by_text.setdefault(text, []).append(release.version + release.flags)
    name = bug.of.partition(" ")[0]
    wrong = "; ".join(
        f"{text} ({', '.join(versions)})" for text, versions in by_text.items() if text != bug.right
    )
    fine = ", ".join(by_text.get(bug.right, [])) or "–"
    silent = [
        release.version
        for release, text in found.items()
        if text != bug.right and bug.case and not judge_says(release, bug.case)
    ]
    by = f"`{bug.case}`" if bug.case else "`npkd accuracy`"
    by += f", not in {', '.join(silent)}" if silent else ""
    where = f"[{bug.says}]({bug.page})"
    issue = bug.issue if not bug.issue.startswith("http") else f"[issue]({bug.issue})"
    return [name, bug.cause, wrong or "nothing wrong", bug.right, fine, by, where, issue]


HEAD = ("framework", "what", "gives", "right is", "given by", "found by", "documentation", "issue")
ABOVE = """# Bugs of released frameworks

By `python -m benchmarks.verdicts.repros --envs DIR --write`, which runs the few lines of each,
in `benchmarks/verdicts/repros`, in every version.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts.repros")
    parser.add_argument("names", nargs="*", metavar="NAME", help="frameworks (all)")
    parser.add_argument("--envs", required=True, type=Path, metavar="DIR", help="environments")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {TABLE.name}")
    args = parser.parse_args()
    lines = [figures.row(HEAD), figures.row(["---"] * len(HEAD))]
    print(*lines, sep="\n")
    for bug in repros():
        if args.names and not any(bug.of.startswith(name) for name in args.names):
            continue
        asked = [one for one in RELEASES if one.name.startswith(bug.of) and not one.flags]
        asked = asked or [one for one in RELEASES if one.name == bug.of]
        found = {
            release: printed(environment(args.envs.resolve(), release), release, bug.program)
            for release in asked
        }
        lines.append(figures.row([cell.replace("|", "\\|") for cell in told(bug, found)]))
        print(lines[-1], flush=True)
    if args.write:
        TABLE.write_text(ABOVE + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

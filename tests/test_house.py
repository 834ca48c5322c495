"""The rules of the house: which room may import which, and what may import a framework."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTBOOK = ("ops", "losses", "nets", "optim", "objectives", "training", "engine")
SECOND_PART = (  # of the textbook: what the document's pair and losses on outputs do not need
    *("ops/norm.py", "ops/pointwise.py", "ops/joining.py", "optim/adam.py"),
    *("losses/features.py", "losses/geometry.py", "losses/relations.py"),
)
CHECKS = "arguments"  # of arguments, which any room may ask for
FRAMEWORKS = ("torch", "jax", "safetensors", "distributed", "mpi4py")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Each module of npkd by its dotted name."""
    for path in sorted((ROOT / "npkd").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names of all that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, *rooms: str) -> bool:
    """Whether a dotted name is one of these rooms of npkd, or in one of them."""
    return any(f"{name}.".startswith(f"npkd.{room}.") for room in rooms)


IMPORTS = [(name, other) for name, tree in modules() for other in imported(tree)]


@pytest.mark.parametrize("judge", ["definitions", "gradcheck"])
def test_what_judges_the_rest_imports_nothing_of_it(judge):
    for name, other in IMPORTS:
        if is_in(name, judge) and other.startswith("npkd"):
            assert is_in(other, judge), f"{name} imports {other}"


def test_the_textbook_imports_none_of_the_tools():
    """Nor anything else of npkd but itself and the checks of arguments, which import nothing."""
    for room in TEXTBOOK:
        assert any(is_in(name, room) for name, _ in IMPORTS), room
    for name, other in IMPORTS:
        if is_in(name, *TEXTBOOK) and other.startswith("npkd"):
            assert is_in(other, *TEXTBOOK, CHECKS), f"{name} imports {other}"
        assert not (is_in(name, CHECKS) and other.startswith("npkd")), f"{name} imports {other}"


def test_engine_imports_nothing_of_npkd_and_ops_nothing_above_it():
    for name, other in IMPORTS:
        if is_in(name, "engine") and other.startswith("npkd"):
            assert is_in(other, "engine"), f"{name} imports {other}"
        if is_in(name, "ops") and other.startswith("npkd"):
            assert is_in(other, "ops", "engine", CHECKS), f"{name} imports {other}"


def test_validate_and_study_do_not_import_each_other_nor_validate_distill():
    for name, other in IMPORTS:
        assert not (is_in(name, "validate") and is_in(other, "distill")), f"{name} imports {other}"
        assert not (is_in(name, "validate") and is_in(other, "study")), f"{name} imports {other}"
        assert not (is_in(name, "study") and is_in(other, "validate")), f"{name} imports {other}"


STAIRCASE = [
    f"validate.{step}"
    for step in (
        "program",
        "bounds",
        "by_npkd",
        "questions",
        "faults",
        "judging",
        "recording",
        "frameworks",
        "accuracy",
        "command",
    )
]


def test_the_rooms_of_the_judge_are_a_staircase():
    """Each imports only those before it."""
    for name, other in IMPORTS:
        steps = [[is_in(one, step) for step in STAIRCASE] for one in (name, other)]
        if all(map(any, steps)):
            assert steps[0].index(True) >= steps[1].index(True), f"{name} imports {other}"


def test_only_where_one_is_asked_for_is_a_framework_imported():
    for name, other in IMPORTS:
        if other.split(".")[0] in ("torch", "jax"):
            rooms = ("validate.recording", "validate.frameworks", "export")
            assert is_in(name, *rooms), f"{name}: {other}"
    for name, tree in modules():
        if not is_in(name, "validate.recording", "validate.frameworks"):
            at_once = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
            for other in imported(ast.Module(at_once, [])):
                assert other.split(".")[0] not in FRAMEWORKS, f"{name} imports {other} at once"


def test_nothing_imports_the_tests_or_the_benchmarks():
    tests = {path.stem for path in (ROOT / "tests").glob("*.py")} - {"commands"}
    for name, other in IMPORTS:
        assert other.split(".")[0] not in {"tests", "benchmarks", *tests}, f"{name} imports {other}"


def test_the_textbook_stays_short():
    """5,000 lines at most, and its second part 2,000."""
    files = [path for room in TEXTBOOK for path in (ROOT / "npkd").glob(f"{room}/**/*.py")]
    files += [ROOT / "npkd" / f"{room}.py" for room in TEXTBOOK]
    lines = [0, 0]
    for path in filter(Path.exists, files):
        part = path.relative_to(ROOT / "npkd").as_posix() in SECOND_PART
        lines[part] += len(path.read_text(encoding="utf-8").splitlines())
    assert lines[0] <= 5000, "what is added has to take the place of something: what can go?"
    assert lines[1] <= 2000, "what is added has to take the place of something: what can go?"

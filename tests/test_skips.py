"""With --all-extras a test that is skipped for want of a package fails, however it is skipped."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import skips

TESTS = """
from importlib.util import find_spec
import pytest

def test_imports_it():
    pytest.importorskip("no_such_package")

@pytest.fixture
def package():
    return pytest.importorskip("no_such_package")

def test_has_a_fixture_of_it(package):
    pass

@pytest.mark.skipif(find_spec("no_such_package") is None, reason="the programs are in it")
def test_asks_for_it():
    pass

@pytest.mark.parametrize("program", [] if find_spec("no_such_package") is None else [1])
def test_has_no_parameters_without_it(program):
    pass

@pytest.mark.skip
def test_gives_no_reason():
    pass

@pytest.mark.parametrize("reason", REASONS)
def test_lacks_something_of_the_machine(reason):
    pytest.skip(reason)

@pytest.mark.xfail
def test_fails_as_expected():
    assert False

def test_passes():
    pass
"""
MODULE = """
import pytest

pytest.importorskip("no_such_package")

def test_in_a_module_that_imports_it():
    pass
"""


def run(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """The exit status of a run of these tests, and what it shows."""
    (folder / "test_it.py").write_text(text.replace("REASONS", repr(sorted(skips.OF_THE_MACHINE))))
    plugin = ["-p", "skips", "-p", "no:cacheprovider"]
    alone = {"PYTHONPATH": str(Path(skips.__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, "-rA", "--rootdir", ".", "test_it.py", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | alone,
    )
    return done.returncode, done.stdout


def test_a_test_skipped_for_a_package_fails_and_one_for_the_machine_does_not(tmp_path):
    status, shown = run(tmp_path, TESTS, "--all-extras")
    assert status == 1
    assert set(re.findall(r"^(?:FAILED|ERROR) test_it.py::test_(\w+)", shown, re.MULTILINE)) == {
        "imports_it",
        "has_a_fixture_of_it",
        "asks_for_it",
        "has_no_parameters_without_it",
        "gives_no_reason",
    }
    assert "skipped in spite of --all-extras: the programs are in it" in shown
    assert f"1 passed, {len(skips.OF_THE_MACHINE)} skipped, 1 xfailed" in shown


def test_a_module_skipped_for_a_package_is_an_error(tmp_path):
    status, shown = run(tmp_path, MODULE, "--all-extras")
    assert status == pytest.ExitCode.INTERRUPTED
    assert "skipped in spite of --all-extras: could not import 'no_such_package'" in shown


def test_without_the_option_they_are_skipped(tmp_path):
    assert run(tmp_path, TESTS)[0] == 0
    assert run(tmp_path, MODULE)[0] == pytest.ExitCode.NO_TESTS_COLLECTED

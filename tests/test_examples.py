"""Every public docstring has an example, and every example gives what stands below it.

An example is a doctest under the heading "Example". It takes NumPy (as np) and the modules of npkd
for imported; one that imports a package of an extra is skipped where that is missing.
"""

import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import npkd
from npkd import gradcheck, losses, nets, objectives, ops, optim, training, validate, weights
from npkd.engine import threads

MODULES = (gradcheck, losses, nets, objectives, ops, optim, training, validate, weights)
NAMES = {"np": np, "npkd": npkd} | {of.__name__.removeprefix("npkd."): of for of in MODULES}

PUBLIC = {of: of.__all__ for of in (npkd, ops, losses, nets, optim)} | {
    objectives: ["Objective", "Term"],
    training: ["train"],
    weights: ["save_weights", "load_weights"],
    gradcheck: ["check", "compare", "check_contract"],
    validate: ["compare", "judge"],
}


def documented() -> Iterator[tuple[str, Any]]:
    """The public functions, classes and modules of npkd, by name; constants have no docstrings."""
    kinds = (inspect.isfunction, inspect.isclass, inspect.ismodule)
    for module, names in PUBLIC.items():
        for name in names:
            one = getattr(module, name)
            if any(kind(one) for kind in kinds):
                yield f"{module.__name__}.{name}", one


DOCUMENTED = list(documented())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threads, "_num_threads", None)


def run(name: str, one: Any, **more: Any) -> None:
    """Run the example of one name; fails with what it gave, and if there is none."""
    text = inspect.getdoc(one) or ""
    assert re.search(r"^ *Example\n +>>> ", text, re.M), f"{name} has no example"
    test = doctest.DocTestParser().get_doctest(text, {**NAMES, **more}, name, None, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize(("name", "one"), DOCUMENTED, ids=[name for name, _ in DOCUMENTED])
def test_a_public_name_has_an_example_and_it_runs(name, one):
    run(name, one)


def test_so_have_the_strategies():
    pytest.importorskip("hypothesis")
    from npkd import testing

    for name in ("drawn", "cases", "rows", "images", "generators", "arrays"):
        run(f"testing.{name}", getattr(testing, name), testing=testing)


@pytest.mark.parametrize("name", ["torch_module", "torch_step", "jax_function", "jax_step"])
def test_so_has_what_asks_a_framework(name):
    """In a process of its own: once JAX is at work, every later fork of this one is a warning."""
    pytest.importorskip(name.split("_")[0])
    code = f"from test_examples import run, validate; run('{name}', validate.{name})"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)

"""A framework's answers to npkd's cases, operation by operation, with NumPy alone.

    from answer import answer
    answer(Mine(), "cases", "results.npz")      # `npkd validate check cases results.npz` judges it

Mine is an `Adapter`. Each operation is computed on the case's own inputs and on what the framework
itself has made before. What it cannot do is left out, with the reason; what it raises, too: all
else is given nevertheless.

Updates are given as the parameter after each step; velocities and other memory stay with the
framework, since each has conventions of its own for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npkd.validate.frameworks.adapter import Adapter, NotGiven

Arrays = Mapping[str, np.ndarray]
UPDATES = {"sgd": ("velocity",), "adam": ("m", "v")}  # and what they remember
# Keys of JSON, as bytes: who has answered, and why tensors are not given that it does not have
ABOUT, LEFT = "about", "left"


def answer(
    adapter: Adapter,
    folder: str | Path = "cases",
    results: str | Path = "results.npz",
    subjects: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """Compute the cases of a folder, or of these subjects, and write what comes out to a file."""
    manifest = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, np.ndarray] = {}
    left: Counter[str] = Counter()
    not_had: dict[str, str] = {}
    with np.load(Path(folder, "inputs.npz")) as stored:
        for case in manifest["cases"]:
            if subjects is not None and case["subject"] not in subjects:
                continue
            inputs = {
                name: stored[tensor["key"]]
                for name, tensor in case["tensors"].items()
                if tensor["role"] == "input"
            }
            made, without = answered(adapter, inputs, case["operations"])
            found.update({f"{case['name']}/{tensor}": array for tensor, array in made.items()})
            for number, why in without:
                operation = case["operations"][number]
                left[_reason(operation["op"], why)] += 1
                if isinstance(why, NotGiven):
                    keys = (f"{case['name']}/{tensor}" for tensor in operation["outputs"].values())
                    not_had.update({key: str(why) for key in keys if key not in found})
    texts = {ABOUT: {"adapter": adapter.name, **adapter.about()}, LEFT: not_had}
    written: dict[str, Any] = dict(found)
    for key, words in texts.items():
        written[key] = np.frombuffer(json.dumps(words).encode(), np.uint8)
    np.savez(str(results), **written)
    print(f"{len(found)} tensors are in {results}")
    for reason, count in left.most_common():
        print(f"not given: {reason} ({count} operations)")
    return found


def _reason(op: str, why: Exception) -> str:
    """Why an operation was left out, in words."""
    if isinstance(why, NotGiven):
        return str(why)
    line, *_ = str(why).split("\n")  # the rest may tell of this one's sizes
    return f"{op}: {type(why).__name__}: {line}"


def answered(
    adapter: Adapter, inputs: Arrays, operations: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, np.ndarray], list[tuple[int, Exception]]]:
    """What a framework makes of a case, by tensor, and which operations it left out, and why.

    operations: as manifest.json has them. Why is a NotGiven, or what the framework raised.
    """
    found: dict[str, np.ndarray] = {}
    left: list[tuple[int, Exception]] = []
    updaters: dict[str, Callable[..., Any]] = {}  # by the parameter as they left it
    with adapter.settings():
        for number, operation in enumerate(operations):
            made: dict[str, Any] = {}
            try:
                known = {**inputs, **found}
                if operation["op"] in UPDATES:
                    made = _updated(adapter, operation, known, updaters)
                else:
                    for part in (_value, _gradients):
                        made.update(part(adapter, operation, _given(operation, known)))
            except Exception as error:  # whatever a framework raises, it has the other operations
                left.append((number, error))
            for name, x in made.items():
                found[operation["outputs"][name]] = np.asarray(x)
    return found, left


def _given(operation: Mapping[str, Any], known: Arrays) -> dict[str, np.ndarray]:
    missing = [tensor for tensor in operation["inputs"].values() if tensor not in known]
    if missing:
        raise NotGiven("what it starts from is not given")
    return {name: known[tensor] for name, tensor in operation["inputs"].items()}


def _value(adapter: Adapter, operation: Mapping[str, Any], given: Arrays) -> dict[str, np.ndarray]:
    """What an operation makes, unless that is gradients alone."""
    name = next((name for name in operation["outputs"] if name not in operation["gradients"]), "")
    if not name:
        return {}
    inputs = {name: adapter.given(array) for name, array in given.items()}
    return {name: adapter.found(adapter.computed(operation["op"], inputs, operation["options"]))}


def _gradients(
    adapter: Adapter, operation: Mapping[str, Any], given: Arrays
) -> dict[str, np.ndarray]:
    """The gradients that an operation gives, of a loss or from a given dy."""
    by = {out: name for out, name in operation["gradients"].items() if out in operation["outputs"]}
    if not by:
        return {}
    inputs = {name: adapter.given(array) for name, array in given.items()}
    if operation["op"] in adapter.operations:
        made = adapter.operations[operation["op"]](**inputs, **operation["options"])
        return {out: adapter.found(made[out]) for out in by if out in made}
    if adapter.infers:
        raise NotGiven("gradients: it only infers")
    dy = inputs.pop("dy", None)
    op = operation["op"][: -len("_backward")] if dy is not None else operation["op"]

    def function(*arrays: Any) -> Any:
        of_them = dict(zip(by.values(), arrays))
        every = {name: of_them.get(name, x) for name, x in inputs.items()}
        return adapter.computed(op, every, operation["options"])

    gradients = adapter.vjp(function, [inputs[name] for name in by.values()], dy)
    return {out: adapter.found(gradient) for out, gradient in zip(by, gradients)}


def _updated(
    adapter: Adapter,
    operation: Mapping[str, Any],
    known: Arrays,
    updaters: dict[str, Callable[..., Any]],
) -> dict[str, np.ndarray]:
    """A parameter after a step; what updates it goes on with the tensor that it left."""
    before, memory = operation["inputs"]["theta"], UPDATES[operation["op"]]
    inputs = {k: tensor for k, tensor in operation["inputs"].items() if k not in memory}
    given = _given({"inputs": inputs}, known)
    update = updaters.get(before)
    if update is None:
        kept = {k: known[operation["inputs"][k]] for k in memory if k in operation["inputs"]}
        kept = {k: adapter.given(array) for k, array in kept.items()}
        update = adapter.updater(operation["op"], **kept)
    updaters[operation["outputs"]["theta"]] = update
    theta = update(adapter.given(given["theta"]), adapter.given(given["g"]), **operation["options"])
    return {"theta": adapter.found(theta)}

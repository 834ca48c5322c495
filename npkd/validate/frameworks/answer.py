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
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npkd.validate.frameworks.adapter import Adapter, NotGiven

Arrays = Mapping[str, np.ndarray]
Made = Iterator[tuple[str, np.ndarray]]  # what comes out, by its name in the operation
UPDATES = {"sgd": ("velocity",), "adam": ("m", "v")}  # and what they remember
# Keys of JSON, as bytes: who has answered, and why tensors are not given that it does not have
ABOUT, LEFT = "about", "left"


def answer(
    adapter: Adapter,
    folder: str | Path = "cases",
    results: str | Path = "results.npz",
    only: Iterable[str] | None = None,
) -> dict[str, np.ndarray]:
    """Compute the cases of a folder, and write what comes out to a file.

    only: these alone, by their names or subjects; where a framework takes Python down with it, each
    by a process of its own.
    """
    chosen = None if only is None else set(only)
    manifest = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, np.ndarray] = {}
    left: Counter[str] = Counter()
    not_had: dict[str, str] = {}
    with np.load(Path(folder, "inputs.npz")) as stored:
        for case in manifest["cases"]:
            if chosen is not None and chosen.isdisjoint((case["name"], case["subject"])):
                continue
            inputs = {
                name: stored[tensor["key"]]
                for name, tensor in case["tensors"].items()
                if tensor["role"] == "input"
            }
            made, without = answered(adapter, inputs, case["operations"])
            found.update({f"{case['name']}/{tensor}": array for tensor, array in made.items()})
            for number, why in without.items():
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
) -> tuple[dict[str, np.ndarray], dict[int, Exception]]:
    """What a framework makes of a case, by tensor, and which operations it left out, and why.

    operations: as manifest.json has them. Why is a NotGiven, or what the framework raised.
    """
    found: dict[str, np.ndarray] = {}
    left: dict[int, Exception] = {}
    updaters: dict[str, Callable[..., Any]] = {}  # by the parameter as they left it
    with adapter.settings():
        for number, operation in enumerate(operations):
            known = {**inputs, **found}
            if operation["op"] in UPDATES:
                parts = [_updated(adapter, operation, known, updaters)]
            else:
                parts = [part(adapter, operation, known) for part in (_value, _gradients)]
            for part in parts:
                try:
                    for name, x in part:
                        found[operation["outputs"][name]] = np.asarray(x)
                except Exception as error:  # whatever a framework raises, it has the others
                    left.setdefault(number, error)
    return found, left


def _given(inputs: Mapping[str, str], known: Arrays) -> dict[str, np.ndarray]:
    if not known.keys() >= set(inputs.values()):
        raise NotGiven("what it starts from is not given")
    return {name: known[tensor] for name, tensor in inputs.items()}


def _value(adapter: Adapter, operation: Mapping[str, Any], known: Arrays) -> Made:
    """What an operation makes, unless that is gradients alone."""
    name = next((name for name in operation["outputs"] if name not in operation["gradients"]), "")
    if name:
        given = _given(operation["inputs"], known)
        inputs = {name: adapter.given(array) for name, array in given.items()}
        x = adapter.computed(operation["op"], inputs, operation["options"])
        yield name, adapter.found(x)


def _gradients(adapter: Adapter, operation: Mapping[str, Any], known: Arrays) -> Made:
    """The gradients that an operation gives, of a loss or from a given dy."""
    by = {out: name for out, name in operation["gradients"].items() if out in operation["outputs"]}
    if not by:
        return
    given = _given(operation["inputs"], known)
    inputs = {name: adapter.given(array) for name, array in given.items()}
    if operation["op"] in adapter.operations:
        made = adapter.operations[operation["op"]](**inputs, **operation["options"])
        yield from ((out, adapter.found(made[out])) for out in by if out in made)
        return
    if adapter.infers:
        raise NotGiven("gradients: it only infers")
    dy = inputs.pop("dy", None)
    op = operation["op"][: -len("_backward")] if dy is not None else operation["op"]

    def gradients(*names: str) -> list[Any]:
        def function(*arrays: Any) -> Any:
            every = {**inputs, **dict(zip(names, arrays))}
            y = adapter.computed(op, every, operation["options"])
            if dy is not None and tuple(y.shape) != given["dy"].shape:  # it may read beyond dy
                raise ValueError(f"y has shape {tuple(y.shape)}, and dy {given['dy'].shape}")
            return y

        return adapter.vjp(function, [inputs[name] for name in names], dy)

    try:
        together = dict(zip(by, gradients(*by.values())))
    except Exception:  # it may have some of them, each by itself
        together = {}
    failure = None
    for out, name in by.items():
        try:
            x = adapter.found(together[out] if together else gradients(name)[0])
        except Exception as error:
            failure = error
        else:
            yield out, x
    if failure is not None:
        raise failure


def _updated(
    adapter: Adapter,
    operation: Mapping[str, Any],
    known: Arrays,
    updaters: dict[str, Callable[..., Any]],
) -> Made:
    """A parameter after a step; what updates it goes on with the tensor that it left."""
    before, memory = operation["inputs"]["theta"], UPDATES[operation["op"]]
    given = _given({k: x for k, x in operation["inputs"].items() if k not in memory}, known)
    update = updaters.get(before)
    if update is None:
        kept = {k: known[operation["inputs"][k]] for k in memory if k in operation["inputs"]}
        kept = {k: adapter.given(array) for k, array in kept.items()}
        update = adapter.updater(operation["op"], **kept)
    updaters[operation["outputs"]["theta"]] = update
    theta = update(adapter.given(given["theta"]), adapter.given(given["g"]), **operation["options"])
    yield "theta", adapter.found(theta)

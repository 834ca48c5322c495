"""Cases as files, for frameworks in any language, and a framework's results as a file.

    export("cases", cases(np.random.default_rng(0)))    # a folder
    write_results("results.npz", {"l2 5x7": {"value": …, "gradient": …}})
    known = load("cases")
    found = read_results("results.npz", known)          # arrays by case and tensor

The folder holds

    README.md            how to answer, and the rules
    schema.json          what manifest.json must look like, as a JSON schema
    manifest.json        what is to be computed, and on which arrays
    inputs.npz           the arrays, by key: a zip file of .npy files
    inputs.safetensors   the same arrays by the same keys
    answer.py            answers all cases with what an adapter fills in; it needs NumPy alone, as
                         do adapter.py and formulas/ beside it

The manifest is an object with

    format, version      "npkd cases" and 1
    npkd                 the version that wrote it
    conventions          what holds for all cases, in sentences
    vocabulary           by operation: what it gives, in a line, and its definition in full
    results              what the file with results must look like
    cases                a list of objects with
        name, subject, about    a name of its own; what it is a probe of; what is to be computed
        exact                   whether all numbers are such that nothing rounds: any difference in
                                a result is a bug then
        tensors                 by name: an object with role, "input" or "result", shape and dtype;
                                and an input's key, under which its array is stored, and sha256, of
                                its bytes, little-endian and in C order; or a result's needed,
                                whether it must be given (others may be, and make the verdict finer)
        operations              in order: objects with name, op, pass (forward, backward, update),
                                inputs and outputs, tensors by the names of arguments and of
                                results, options, all of them, gradients, by results the input that
                                each is by, and, where there are windows, geometry (`Geometry`)

Arrays that are the same to the bit are stored once, under the key of the first. Results are one
.npz or .safetensors file with the key CASE/TENSOR for each tensor, `linear plain/dw`; a name of a
case has no slash in it. Names have 1 to 200 letters, and arrays one entry or more. A case that npkd
cannot compute to tensors of these shapes and dtypes makes no sense (`sense`), and none is judged
then. A file of results may have two keys more, both of JSON as bytes: "about", who has answered,
and "left", by CASE/TENSOR what a framework does not have, so that this tensor is not given.
"""

import hashlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import npkd
from npkd import losses, ops
from npkd.arguments import shown
from npkd.files import (
    BadInput,
    Damaged,
    OtherVersion,
    read_bytes,
    read_npz,
    write_atomically,
    writing_to,
)
from npkd.validate import by_npkd
from npkd.validate.program import Arrays, Case, Operation
from npkd.validate.questions.described import as_called, described
from npkd.validate.questions.sense import (
    LONGEST_NAME,
    MOST_TERMS,
    STEP,
    Listed,
    nearest,
    require_sense,
)
from npkd.weights import MOST_BYTES, load_arrays, save_weights

FORMAT, VERSION = "npkd cases", 1
MANIFEST, INPUTS, SAFE = "manifest.json", "inputs.npz", "inputs.safetensors"
SCHEMA, ABOUT, LEFT = "schema.json", "about", "left"
MOST_ABOUT = 1 << 20  # bytes of who has answered, or of what is left out
MOST_TEXT = 1 << 23  # bytes of a manifest; that of all cases has 660,000
MOST_AXES = 8  # of an array
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool")
KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}

CONVENTIONS = (
    "Images are (N, C, H, W), weights of convolutions (out, in, kh, kw), of linear layers (out, "
    "in); convolution is cross-correlation, nothing is flipped.",
    "dy is the gradient of a number L by y; dx, dw and db are those by x, w and b.",
    "relu'(0) = 0, and relu6' is 0 at 0 and at 6. Of equal cells in a window max-pooling chooses "
    "the first in row-major order. Max-pooling's padding is −∞.",
    "flatten keeps the order (C, H, W). Bilinear interpolation has half-pixel centres "
    "(align_corners=False).",
    "A loss gives value and gradient, by the student (by the first argument, where none has that "
    "name). Gradients by other arguments that are trained are named gradient_ARGUMENT. There is "
    "none by teacher and labels.",
    "reduction batchmean, the default of most losses, divides by the batch size alone, elementmean "
    "by the number of entries that are compared; sum does not divide.",
    "sgd: v ← μ v + (g + λ θ), θ ← θ − lr v, v = 0 at first; biases decay as weights do. adam: ε "
    "is added to the root of the corrected v; m = v = 0 at first.",
    "Numbers are float32 unless a tensor says otherwise; results may be of a higher precision.",
)
RESULTS = (
    "One .npz or .safetensors file with an array for each tensor under the key CASE/TENSOR. All "
    "needed tensors of a case must be there, or none of it; others may. Shapes are those given."
)
BACKWARD = "the gradients of L by the array arguments of {}, given those and dy = ∂L/∂y"
OTHERS = {
    "sgd": "theta, g, velocity (none before the first step) → velocity = momentum · velocity + "
    "(g + weight_decay · theta), theta − lr · velocity (the new one); with nesterov, theta − lr · "
    "(g + weight_decay · theta + momentum · velocity)",
    "adam": "theta, g, m and v (none before the first step) → m = beta1 · m + (1 − beta1) · g, "
    "v = beta2 · v + (1 − beta2) · g², theta − lr · m / (1 − beta1^step) / "
    "(√(v / (1 − beta2^step)) + epsilon); with g + weight_decay · theta in the place of g or, if "
    "decoupled, theta · (1 − lr · weight_decay) in the place of theta",
    "sum": "the inputs → y = their sum / divisor (1 unless given)",
    "copy": "x → y = x, after all else: what must not have changed",
    "rows": "x (M, …), index (B,) → y[b] = x[index[b]]; batches: how many of these an epoch has",
    "dropout": "x, mask → y = x · mask, entry by entry; without a mask y = x: the layer drops "
    "entries with chance p in training, none in evaluation, which this is",
    "normalise": "images (N, C, H, W) of 0 … 255, mean (C,), std (C,) → "
    "y[n,c] = (images[n,c] / 255 − mean[c]) / std[c]",
    "augment": "images (N, C, H, W), shifts (N, 2), flips (N,) → y: image n moved down by "
    "shifts[n,0] cells and right by shifts[n,1], zeros coming in, then, if flips[n], mirrored "
    "left to right",
    "running_mean": "x (N, C, …), mean (C,) → y[c] = (1 − momentum) · mean[c] + momentum · that of "
    "the numbers x[:,c], as a layer in training keeps it for evaluation",
    "running_variance": "x (N, C, …), variance (C,) → y[c] = (1 − momentum) · variance[c] + "
    "momentum · that of the m numbers x[:,c], the unbiased one, over m − 1",
    "distinct": "→ draws (workers, 16): the first random numbers that each worker draws; no two "
    "rows are the same",
}


def vocabulary() -> dict[str, dict[str, str]]:
    """What each operation gives: `line`, and `definition` in full."""
    words = {}
    transforms = {"standardize": losses.standardize}
    for name, op in {**{name: getattr(ops, name) for name in ops.__all__}, **transforms}.items():
        words[name] = _from_docstring(op)
        line = BACKWARD.format(name)
        words[f"{name}_backward"] = {"line": line, "definition": f"See {name}, Backward."}
    for name in losses.__all__:
        if name not in ("conventions", *transforms):
            words[name] = _from_docstring(getattr(losses, name))
    return words | {name: {"line": line, "definition": line} for name, line in OTHERS.items()}


def _from_docstring(function: Any) -> dict[str, str]:
    text = inspect.getdoc(function) or ""
    arguments = ", ".join(inspect.signature(function).parameters)
    return {"line": text.split("\n", 1)[0], "definition": f"Arguments: {arguments}\n\n{text}"}


# Writing


def export(
    folder: str | Path,
    cases: Iterable[Case],
    results: Callable[[Case], Arrays] = by_npkd.results,
    words: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write cases to a folder: the same bytes for the same cases. Returns the files' paths.

    results: what a case gives, whose shapes and dtypes are listed. words: of operations that are
    not in the vocabulary, what they give, in a line.

    Raises BadInput if the folder cannot be written to, ValueError for cases that cannot be told
    apart or hold what the format has not.
    """
    folder = Path(folder)
    stored: dict[str, np.ndarray] = {}
    keys: dict[str, str] = {}  # by digest, dtype and shape
    entries: dict[str, dict[str, Any]] = {}
    for case in cases:
        if case.name in entries or "/" in case.name or not 0 < len(case.name) <= LONGEST_NAME:
            raise ValueError(
                f"validate: {case.name!r} cannot name a case; it must be new, without /, and of 1 "
                f"to {LONGEST_NAME} letters"
            )
        entries[case.name] = _entry(case, stored, keys, results)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "npkd": npkd.__version__,
        "conventions": CONVENTIONS,
        "vocabulary": {
            **vocabulary(),
            **{op: {"line": line, "definition": line} for op, line in words.items()},
        },
        "results": RESULTS,
        "cases": list(entries.values()),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in (MANIFEST, SAFE):  # no manifest beside arrays that are not its own
            (folder / old).unlink(missing_ok=True)
        write_atomically(
            folder / INPUTS,
            lambda file: np.savez_compressed(file, **stored),  # type: ignore[arg-type]
        )
        save_weights(folder / SAFE, stored)
        for name, harness in _harness().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(harness, encoding="utf-8")
        write_atomically(folder / MANIFEST, lambda file: file.write(text.encode()))
    return [folder / name for name in (MANIFEST, INPUTS, SAFE)]


def _harness() -> dict[str, str]:
    """What answers the cases without npkd, and says how: texts by the names of files."""
    package = files("npkd.validate")
    texts = {name: package / "questions" / "exported" / name for name in ("README.md", SCHEMA)}
    texts |= {name: package / "frameworks" / name for name in ("adapter.py", "answer.py")}
    texts["geometry.py"] = package / "geometry.py"
    formulas = [one for one in (package / "bounds" / "formulas").iterdir() if one.is_file()]
    texts |= {f"formulas/{one.name}": one for one in formulas}
    return {name: standalone(text.read_text("utf-8")) for name, text in texts.items()}


def standalone(program: str) -> str:
    """A program of the judge's, to stand beside its like in a folder without npkd."""
    return re.sub(
        r"\bnpkd\.validate\.((?:\w+\.)?)(?=adapter|answer|formulas|geometry)", "", program
    )


def _entry(
    case: Case,
    stored: dict[str, np.ndarray],
    keys: dict[str, str],
    results: Callable[[Case], Arrays],
) -> dict[str, Any]:
    """A case in the manifest; its arrays are put into `stored`."""
    tensors: dict[str, dict[str, Any]] = {}
    for name, array in case.inputs.items():
        array = little_endian(array)
        about = {"shape": list(array.shape), "dtype": array.dtype.name}
        sha256 = digest(array)
        key = keys.setdefault(f"{sha256} {about}", f"{case.name}/{name}")
        stored.setdefault(key, array)
        tensors[name] = {"role": "input", **about, "key": key, "sha256": sha256}
    shapes = {name: array.shape for name, array in case.inputs.items()}
    for name, array in results(case).items():
        shapes[name] = np.shape(array)
        about = {"shape": list(shapes[name]), "dtype": np.asarray(array).dtype.name}
        tensors[name] = {"role": "result", **about, "needed": name in case.needed}
    operations = [
        described(one, {name: shapes[tensor] for name, tensor in one.inputs.items()})
        for one in case.operations
    ]
    return {
        "name": case.name,
        "subject": case.subject,
        "about": case.about,
        "exact": case.exact,
        "tensors": tensors,
        "operations": operations,
    }


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes, little-endian and in C order."""
    return hashlib.sha256(little_endian(array).tobytes()).hexdigest()


def little_endian(array: np.ndarray) -> np.ndarray:
    """The array with its bytes in C order and little-endian. Raises ValueError for other dtypes."""
    array = np.asarray(array, order="C")
    if array.dtype.name not in DTYPES:
        raise ValueError(f"validate: arrays of {array.dtype} are not in the format")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def write_results(
    path: str | Path, results: Mapping[str, Arrays], about: Mapping[str, str] | None = None
) -> None:
    """Write results, arrays by case and tensor, to an .npz or a .safetensors file.

    about: who has answered: framework, device, flags. Raises BadInput if the file cannot be
    written.
    """
    arrays = {
        f"{case}/{tensor}": little_endian(array)
        for case, tensors in results.items()
        for tensor, array in tensors.items()
    }
    if about is not None:
        arrays[ABOUT] = np.frombuffer(json.dumps(dict(about)).encode(), np.uint8)
    try:
        save_weights(path, arrays)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror or error}") from error


# Reading


def load(folder: str | Path) -> list[Case]:
    """The cases of a folder that `export` wrote, every array being what the manifest says.

    All of them make sense: npkd has computed each, and made tensors as the manifest lists them.

    Raises BadInput if a file is missing or something else, or if a case makes no sense; Damaged if
    an array is not to the bit what was written; OtherVersion for another version of the format.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    every = listed_in(path)
    stored = read_npz(folder / INPUTS, at_most=MOST_BYTES)
    digests: dict[str, str] = {}
    cases: dict[str, Case] = {}
    of_subject: Counter[str] = Counter()
    terms = 0
    for number, entry in enumerate(every, 1):
        where = f"{path}: case {number}"
        try:
            name = _name("its", entry, "name")
            where = f"{path}: {name}"
            if name in cases:
                raise ValueError("two cases have the same name")
            case, listed = case_of(entry, folder, stored, digests)
            of_subject[case.subject] += len(case.operations)
            # A cause is sought in each operation by what it does to all of its subject.
            terms += len(case.operations) * of_subject[case.subject] * STEP
            terms += require_sense(case, listed, MOST_TERMS - terms)
            cases[name] = case
        except BadInput:
            raise
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from error
    return list(cases.values())


def listed_in(path: Path) -> list[Any]:
    """The cases in a manifest, as JSON has them."""
    data = read_bytes(path, at_most=MOST_TEXT, what="a manifest of npkd's cases")
    try:
        manifest = json.loads(data, object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadInput(f"{path}: not a manifest of npkd's cases: its format is not {FORMAT!r}")
    version, entries = manifest.get("version"), manifest.get("cases")
    if type(version) is int and version != VERSION:
        raise OtherVersion(
            f"{path}: has version {shown(version)} of the format, expected {VERSION}; write the "
            "cases anew by this npkd"
        )
    if type(version) is not int or type(entries) is not list or not entries:
        raise BadInput(f"{path}: not a manifest of npkd's cases: lacks a version, or has no cases")
    return entries


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, if its names are different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has two values of one name")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def case_of(
    entry: dict[str, Any], folder: Path, stored: dict[str, np.ndarray], digests: dict[str, str]
) -> tuple[Case, Listed]:
    """A case of the manifest, with its arrays; and what its operations are listed to make."""
    name, tensors = _name("its", entry, "name"), _field("its", entry, "tensors", dict)
    if "/" in name:
        raise ValueError("this cannot name a case, having a / in it")
    inputs, listed, needed = {}, {}, set()
    for tensor in tensors:
        about, whose = _field("its tensor", tensors, tensor, dict), f"{tensor}'s"
        role, kind = _field(whose, about, "role", str), _kind(whose, about)
        if role == "input":
            inputs[tensor] = _array(f"{name}/{tensor}", about, kind, folder, stored, digests)
        elif role == "result":
            listed[tensor] = kind
            if _field(whose, about, "needed", bool):
                needed.add(tensor)
        else:
            raise ValueError(f"{whose} role is {shown(role)}, expected input or result")
    operations = [
        _operation(f"operation {number}'s", one)
        for number, one in enumerate(_field("its", entry, "operations", list), 1)
    ]
    subject, about = _name("its", entry, "subject"), _field("its", entry, "about", str)
    exact = _field("its", entry, "exact", bool)
    case = Case(name, subject, about, inputs, tuple(operations), exact, frozenset(needed))
    return case, listed


def _kind(whose: str, about: Any) -> tuple[str, tuple[int, ...]]:
    """A tensor's dtype and shape, as they are listed."""
    dtype, shape = _field(whose, about, "dtype", str), _field(whose, about, "shape", list)
    if dtype not in DTYPES:
        raise ValueError(f"{whose} dtype is {shown(dtype)}, expected one of {', '.join(DTYPES)}")
    if len(shape) > MOST_AXES or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(
            f"{whose} shape is {shown(shape)}, expected {MOST_AXES} whole numbers above 0 at most"
        )
    return dtype, tuple(shape)


def _operation(whose: str, entry: Any) -> Operation:
    inputs, outputs = (
        {name: _name(f"{whose} {side}", given, name) for name in given}
        for side, given in (
            (side, _field(whose, entry, side, dict)) for side in ("inputs", "outputs")
        )
    )
    options = {
        name: _with_tuples(value) if isinstance(value, dict) else value
        for name, value in _with_tuples(_field(whose, entry, "options", dict)).items()
    }
    op = _field(whose, entry, "op", str)
    return Operation(_name(whose, entry, "name"), op, inputs, outputs, as_called(op, options))


def _with_tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON has them, lists as tuples: pairs of sizes."""
    return {name: tuple(x) if isinstance(x, list) else x for name, x in options.items()}


def _name(whose: str, owner: Any, name: str) -> str:
    """A field that names something."""
    text = _field(whose, owner, name, str)
    if not 0 < len(text) <= LONGEST_NAME:
        raise ValueError(f"{whose} {name} has {len(text)} letters, expected 1 to {LONGEST_NAME}")
    return text


def _field(whose: str, owner: Any, name: str, kind: type) -> Any:
    """What an object of the manifest has under this name, if it is of this kind."""
    if not isinstance(owner, dict) or type(owner.get(name)) is not kind:
        found = shown(owner[name]) if isinstance(owner, dict) and name in owner else "missing"
        raise ValueError(f"{whose} {name} is {found}, expected {KINDS[kind]}")
    return owner[name]


def _array(
    tensor: str,
    about: Any,
    kind: tuple[str, tuple[int, ...]],
    folder: Path,
    stored: dict[str, np.ndarray],
    digests: dict[str, str],
) -> np.ndarray:
    """The array of an input, if it is what the manifest says."""
    key = _field(f"{tensor}'s", about, "key", str)
    sha256 = _field(f"{tensor}'s", about, "sha256", str)
    if key not in stored:
        raise BadInput(f"{folder / INPUTS}: lacks {key!r}, the array of {tensor}")
    found = stored[key].dtype.name, stored[key].shape
    if found != kind:
        raise BadInput(
            f"{folder / INPUTS}: {key!r} is {found[0]} {found[1]}, expected {kind[0]} {kind[1]} "
            f"for {tensor}"
        )
    if key not in digests:
        stored[key] = little_endian(stored[key])
        digests[key] = digest(stored[key])
    if digests[key] != sha256:
        raise Damaged(f"{folder / INPUTS}: {key!r} has been altered: another SHA-256 for {tensor}")
    return stored[key]


def read_results(path: str | Path, cases: Sequence[Case]) -> dict[str, dict[str, np.ndarray]]:
    """A framework's results, arrays by case and tensor, for some or all of these cases.

    Shapes and values are the judge's business. Raises BadInput if the file cannot be read, holds
    what is no number, or has a case or a tensor that there is not.
    """
    tensors = {case.name: set(case.tensors()) for case in cases}
    results: dict[str, dict[str, np.ndarray]] = {}
    for key, array in load_arrays(path).items():
        if key in (ABOUT, LEFT):
            continue
        case, slash, tensor = key.partition("/")
        if not slash:
            raise BadInput(f"{path}: {key!r} is no key of the form CASE/TENSOR")
        if case not in tensors:
            raise BadInput(f"{path}: no case is named {case!r}{nearest(case, tensors)}")
        if tensor not in tensors[case]:
            hint = nearest(tensor, tensors[case])
            raise BadInput(f"{path}: {case!r} has no result {tensor!r}{hint}")
        if array.dtype.kind not in "fiub":
            raise BadInput(f"{path}: {key!r} is of {array.dtype}, expected numbers")
        results.setdefault(case, {})[tensor] = array
    return results


def read_about(path: str | Path) -> dict[str, str]:
    """Who has answered, as a file of results says; nothing where it does not."""
    return _texts(path, ABOUT, "who has answered")


def read_left(path: str | Path) -> dict[str, str]:
    """What a framework does not have, by CASE/TENSOR, as a file of results says."""
    return _texts(path, LEFT, "what is left out")


def _texts(path: str | Path, key: str, what: str) -> dict[str, str]:
    stored = load_arrays(path).get(key)
    if stored is None:
        return {}
    try:
        if stored.dtype != np.uint8 or stored.ndim != 1 or stored.size > MOST_ABOUT:
            raise ValueError(f"{stored.dtype} {stored.shape}")
        found = json.loads(stored.tobytes(), object_pairs_hook=_object, parse_constant=_no_number)
        if not isinstance(found, dict) or not all(isinstance(x, str) for x in found.values()):
            raise ValueError("no object of texts")
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path}: {key!r} is not {what}: expected bytes of a JSON object of texts: {error}"
        ) from error
    return found

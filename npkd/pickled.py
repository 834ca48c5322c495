"""Reads pickles, and runs nothing.

A pickle is a program for a stack machine. It may name any function and have it called, and a few
bytes of it can take any time and memory: tuples in tuples that are hashed, one text copied over and
over, a place in the memo that has to be made room for. What a layout needs of it is little:
dictionaries, lists, numbers, text, and stand-ins in the place of the few functions that it names.
The machine here knows no operation that its layout does not take. A function or class that it does
not know it refuses, or, where a layout has room for other things, holds it to be one (`Ignored`):
none is ever looked up, let alone called.

Source: pickletools, Python's own description of the operations.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # Python 2's, which were bytes
# What no settings hold, and attacks do. None of it would be run either; but who is sent such a
# file should know.
HARMFUL = {"os", "posix", "nt", "subprocess", "pty", "shutil", "runpy", "importlib", "socket"}
HARMFUL |= {"io", "_io", "sys", "ctypes", "webbrowser", "pickle", "_pickle", "code"}
HARMFUL |= {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("eval", "exec", "execfile", "compile", "open", "getattr", "__import__")
}
MOST_ARGUMENTS = 16
MOST_OF_A_KEY = 1 << 60  # larger whole numbers may have one hash, many of them


@dataclass(frozen=True)
class Layout:
    """What the pickles of one layout hold, beside dictionaries, lists, tuples, numbers and text.

    stand_ins              what is called in the place of a function or class, by its module and
                           name; what it makes has a method `build` if a pickle alters it
    bytes_of_an_operation  at least, on average
    things                 what they are about: "images"
    persistent             makes what is outside of the pickle from its persistent id; then other
                           things may stand beside those, and are ignored
    """

    stand_ins: Mapping[tuple[str, str], Any]
    bytes_of_an_operation: int
    things: str
    persistent: Callable[[Any], Any] | None = None


class Ignored:
    """Stands for a function or class that a layout does not know, and for all that it makes."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def build(self, _: object) -> None:
        """What is put into it is left out: a state, entries, items."""

    update = append = extend = build


class Unfit(ValueError):
    """The pickle may be whole, but holds what its layout does not take."""


def latin1_bytes(string: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, with which Python 3 writes bytes at protocols up to 2."""
    if text(encoding) != "latin1":
        raise Unfit(f"it asks for the encoding {text(encoding)[:20]}")
    return string.encode("latin1")


def load(data: bytes, layout: Layout) -> Any:
    """What the pickle holds: dictionaries, lists, tuples, numbers, text, and what stand-ins make.

    Raises Unfit for what the layout does not take, or whatever comes of damaged bytes.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    ignoring = layout.persistent is not None
    encoded = 0

    def from_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def top_of(kind: type) -> Any:
        if not isinstance(stack[-1], kind | Ignored):
            raise Unfit(f"it treats a {type(stack[-1]).__name__} as a {kind.__name__}")
        return stack[-1]

    def set_items(items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=True))
        known = [pair for pair in pairs if _is_key(pair[0])]
        if len(known) < len(pairs) and not ignoring:
            raise Unfit("it has a dictionary whose keys are no text")
        top_of(dict).update(known)

    def stand_in(module: str, name: str) -> Any:
        if (module, name) in layout.stand_ins:
            return layout.stand_ins[module, name]
        full = f"{module[:40]}.{name[:40]}"
        if not ignoring:
            raise Unfit(f"it asks for {full}, which no array needs")
        if module.split(".")[0] in HARMFUL or full in HARMFUL:
            raise Unfit(f"it asks for {full}, with which a file does harm; nothing of it was run")
        return Ignored(full)

    for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if number > 900 + len(data) // layout.bytes_of_an_operation:
            raise Unfit(f"it has many more operations than {layout.things}")
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[operation.name])
            case name if name in NUMBERS | TEXTS | BYTES:
                stack.append(argument)
            case name if name in STRINGS:
                stack.append(str(argument).encode("latin1"))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "DICT":
                items = from_mark()
                stack.append({})
                set_items(items)
            case "LIST":
                stack.append(from_mark())
            case "TUPLE":
                stack.append(tuple(from_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                marks.append(len(stack) - int(operation.name[-1]))
                stack.append(tuple(from_mark()))
            case "SETITEM":
                marks.append(len(stack) - 2)
                set_items(from_mark())
            case "SETITEMS":
                set_items(from_mark())
            case "APPEND":
                item = stack.pop()
                top_of(list).append(item)
            case "APPENDS":
                items = from_mark()
                top_of(list).extend(items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(stand_in(*str(argument).split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = text(stack.pop()), text(stack.pop())
                stack.append(stand_in(module, name))
            case "REDUCE" | "NEWOBJ" if operation.name == "REDUCE" or ignoring:
                arguments, function = stack.pop(), stack.pop()
                if isinstance(function, Ignored):
                    stack.append(function)
                    continue
                if len(arguments) > MOST_ARGUMENTS:
                    raise Unfit(f"it calls something with {len(arguments)} arguments")
                if not any(function is known for known in layout.stand_ins.values()):
                    raise Unfit(f"it calls a {type(function).__name__}")
                stack.append(function(*arguments))
                if isinstance(stack[-1], bytes):
                    encoded += len(stack[-1])
                    if encoded > len(data):
                        raise Unfit("it makes more bytes than it has")
            case "BUILD":
                state = stack.pop()
                if not hasattr(type(stack[-1]), "build"):
                    raise Unfit(f"it alters a {type(stack[-1]).__name__}")
                stack[-1].build(state)
            case "BINPERSID" if layout.persistent is not None:
                stack.append(layout.persistent(stack.pop()))
            case "EMPTY_SET" if ignoring:
                stack.append(Ignored("set"))
            case "ADDITEMS" | "FROZENSET" if ignoring:
                from_mark()
                if operation.name == "FROZENSET":
                    stack.append(Ignored("frozenset"))
            case "NEWOBJ_EX" if ignoring:
                del stack[-2:]
            case "STOP":
                return stack.pop()
            case name:
                raise Unfit(f"it has the operation {name}, which no array needs")
    raise Unfit("it has no end")


def _is_key(key: Any) -> bool:
    """Whether a dictionary may have this key, as others may take long to hash."""
    return isinstance(key, str | bytes) or (type(key) is int and abs(key) < MOST_OF_A_KEY)


def text(value: Any) -> str:
    """Text, which Python 2 wrote as bytes."""
    if isinstance(value, bytes):
        value = value.decode("latin1")
    if not isinstance(value, str):
        raise Unfit(f"it has a {type(value).__name__} where text belongs")
    return value

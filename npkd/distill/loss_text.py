"""Losses as text, as the command and a study's file have them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from npkd.arguments import shown
from npkd.objectives import KINDS, Term

MOST_TERMS = 100  # of a text: each is tried on the nets


def term(name: str, pairs: Sequence[str]) -> Term:
    """The loss of this name with options KEY=VALUE, as the command and a study's file have them.

    A KEY is an argument of the loss, or weight, student, teacher or standardized.

    Raises ValueError for what is no such pair, or does not suit the loss.
    """
    Term(name)  # that there is one
    of_loss = KINDS[name].options
    fields: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals or key in options | fields:
            raise ValueError(f"loss-option is {pair!r}, expected KEY=VALUE, each KEY once")
        if key in ("student", "teacher"):
            fields[key] = tuple(text.split(","))
        elif key in ("weight", "standardized"):
            fields[key] = _value(text)
        elif key in of_loss:
            options[key] = _value(text)
        else:
            offered = ", ".join([*of_loss, "weight", "student", "teacher", "standardized"])
            raise ValueError(f"loss-option is {pair!r}, but {name} takes {offered}")
    return Term(name, **fields, options=options)


def _value(text: str) -> Any:
    """yes or no, a whole number, a number, or a name."""
    if text in ("yes", "no", "true", "false"):
        return text in ("yes", "true")
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def terms(text: str) -> tuple[Term, ...]:
    """Losses to be added, each a name with its options: "kl temperature=2 + attention weight=9".

    Raises ValueError for what is no such text.

    Example
        >>> from npkd.distill import loss_text
        >>> [str(one) for one in loss_text.terms("kl temperature=2 + attention weight=9")]
        ['kl(temperature=2)', '9·attention']
    """
    words = [part.split() for part in text.split(" + ")]
    if len(words) > MOST_TERMS:
        raise ValueError(f"loss has {len(words):,} terms, expected {MOST_TERMS} at most")
    if not all(words):
        raise ValueError(f"loss is {shown(text)}, expected NAME KEY=VALUE … + NAME …")
    return tuple(term(name, pairs) for name, *pairs in words)

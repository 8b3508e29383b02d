"""Tokens of a model call, whichever way a provider's or a framework's `usage` counts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentmon.contracts.values import whole

_INPUT = ("input_tokens", "prompt_tokens")
_OUTPUT = ("output_tokens", "completion_tokens")
_INPUT_DETAILS = ("input_token_details", "input_tokens_details", "prompt_tokens_details")
_OUTPUT_DETAILS = ("output_token_details", "output_tokens_details", "completion_tokens_details")
_READ = ("cache_read", "cached_tokens", "cache_read_input_tokens", "cache_read_tokens")
_WRITTEN = ("cache_creation", "cache_creation_tokens", "cache_creation_input_tokens", "cache_write_tokens")
_REASONING = ("reasoning", "reasoning_tokens")


def tokens(usage: Any) -> dict[str, Any]:
    """Fields of an action. input_tokens is everything that the model read: parts of it that were cached are in it.

    >>> tokens({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})
    {'input_tokens': 9, 'output_tokens': 2, 'cache_read_tokens': 4, 'cache_write_tokens': None, 'reasoning_tokens': None}
    """
    whole_of = _fields(usage)
    inputs = [_fields(whole_of.get(name)) for name in _INPUT_DETAILS]
    outputs = [_fields(whole_of.get(name)) for name in _OUTPUT_DETAILS]
    read, written = _count([*inputs, whole_of], _READ), _count([*inputs, whole_of], _WRITTEN)
    return {
        "input_tokens": with_cached(_count([whole_of], _INPUT), read, written),
        "output_tokens": _count([whole_of], _OUTPUT),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": _count([*outputs, whole_of], _REASONING),
    }


def with_cached(total: int | None, read: int | None, written: int | None) -> int | None:
    """All that the model read. Where the cached parts exceed the total, it left them out.

    >>> with_cached(16, 37040, 19050), with_cached(12000, 9000, None), with_cached(None, 5, None)
    (56106, 12000, None)
    """
    cached = (read or 0) + (written or 0)
    return total + cached if total is not None and cached > total else total


def count(value: Any) -> int | None:
    """A number of tokens: whole, and not negative."""
    number = whole(value)
    return None if number is None or number < 0 else number


def _count(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    found = (count(place.get(name)) for place in places for name in names)
    return next((number for number in found if number is not None), None)


def _fields(value: Any) -> Mapping[str, Any]:
    """A mapping as it is, an object's fields, and nothing of anything else."""
    return value if isinstance(value, Mapping) else getattr(value, "__dict__", {})

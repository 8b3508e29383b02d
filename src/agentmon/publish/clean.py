"""Any Python value as plain JSON: secrets out, long texts cut, and nothing that could make it fail."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from typing import Any

from agentmon.publish.redact import GONE, Redactor

MAX_DEPTH = 20
MAX_ITEMS = 1_000
#: Looked at beyond the cut, so that a secret across it is seen whole.
_BEYOND = 1_024
#: Fields of our own making: ids and times are no place for secrets, and are never cut.
PLAIN_FIELDS = frozenset({"type", "event_id", "timestamp", "span_id", "action_id", "thought_id", "metrics"})


class Cleaner:
    """Makes messages fit to leave the process; never raises, whatever a value does."""

    def __init__(self, max_text: int, redactor: Redactor | None) -> None:
        self._max_text = max_text
        self._redactor = redactor
        self._looks = False  # at every text; a message whose JSON shows no sign of a secret needs none of that
        self._closely: Cleaner | None = None
        if redactor is not None:
            self._closely = copy.copy(self)
            self._closely._looks = True

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A whole message; fields without a value are left out."""
        plain = self._fields(message)
        if self._redactor is not None and self._closely is not None and not self._looks:
            try:
                is_suspect = self._redactor.may_hold_one(json.dumps(plain, ensure_ascii=False))
            except Exception:  # noqa: BLE001 - a pattern of the user's; better to look twice
                is_suspect = True
            return self._closely._fields(message) if is_suspect else plain
        return plain

    def _fields(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {
            str(name): value if name in PLAIN_FIELDS and isinstance(value, (str, float)) else self._field(name, value)
            for name, value in message.items()
            if value is not None
        }

    def encoded(self, message: Mapping[str, Any], most_bytes: int) -> bytes:
        """The message as JSON of at most so many bytes: what is too long loses text first, then its contents."""
        data = encode(message)
        if len(data) <= most_bytes:
            return data
        small = Cleaner(1_000, None)
        data = encode({name: small.value(value) for name, value in message.items()})
        if len(data) <= most_bytes:
            return data
        room = max(100, most_bytes // (20 * max(1, min(len(message), 100))))
        kept = {str(n)[:100]: _short(v, room) for n, v in list(message.items())[:100]}
        return encode(kept)

    def value(self, value: Any, depth: int = 0) -> Any:
        """One value as JSON knows it."""
        if type(value) is str:
            return self._text(value)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**64 else str_of(value)[: self._max_text]
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else json.dumps(float(value))  # NaN, Infinity
        if isinstance(value, str):
            return self._text(str(value))
        if depth >= MAX_DEPTH:
            return self._text(f"… nested deeper than {MAX_DEPTH}")
        try:
            return self._container(value, depth)
        except Exception as error:  # noqa: BLE001 - somebody's object may raise anything when it is looked at
            return f"<{type(value).__name__}: {type(error).__name__} when read>"

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            pairs = _first(value.items())
            told = {key: self._field(key, v, depth + 1) for key, v in ((self._text(str_of(k)), v) for k, v in pairs)}
            if len(value) > MAX_ITEMS:
                told["…"] = f"{len(value) - MAX_ITEMS} more"
            return told
        if isinstance(value, (list, tuple, set, frozenset)):
            items = [self.value(v, depth + 1) for v in _first(value)]
            return [*items, f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else items
        if isinstance(value, (bytes, bytearray)):
            return self._text(bytes(value[: self._max_text + _BEYOND]).decode("utf-8", "replace"))
        for name in ("model_dump", "tolist", "isoformat"):  # pydantic, numpy, dates
            method = getattr(value, name, None)
            if callable(method) and not isinstance(value, type):
                return self.value(method(), depth + 1)
        return self._text(str_of(value))

    def _field(self, name: Any, value: Any, depth: int = 0) -> Any:
        if self._redactor is not None and self._redactor.is_secret(str(name), value):
            return GONE
        return self.value(value, depth)

    def _text(self, text: str) -> str:
        full, most = len(text), self._max_text
        if full <= most and not self._looks:
            return text
        if full > most:
            text = text[: most + _BEYOND]
        if self._redactor is not None and (self._looks or full > most):
            text = self._redactor.text(text)
        return f"{text[:most]}… [cut, {full} characters]" if full > most else text


def encode(message: Mapping[str, Any]) -> bytes:
    """Compact JSON; lone surrogates escaped, as UTF-8 can't hold them."""
    try:
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(message, separators=(",", ":")).encode()


def str_of(value: Any) -> str:
    """str(value), also where that raises or the number has too many digits for Python to write."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - __str__ is somebody else's code
        return f"<{type(value).__name__}>"


def _first(items: Any) -> Any:
    for number, item in enumerate(items):
        if number >= MAX_ITEMS:
            return
        yield item


def _short(value: Any, room: int) -> Any:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= room else f"{text[:room]}… [cut, {len(text)} characters]"

"""Secrets are taken out before they leave the process: by the name of a field, and by what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agentmon.publish.secrets import NAMES, PATTERNS, VALUE, Pattern

#: What stands in place of a secret.
GONE = "[redacted]"

#: Endings of field names, in lower case without separators.
_FIELDS = (
    "password", "passwd", "pwd", "passphrase", "secret", "secretkey", "clientsecret", "apikey", "accesskey",
    "privatekey", "authorization", "connectionstring", "credential", "credentials", "cookie", "setcookie",
)  # fmt: skip
#: A token is a secret only where it looks like one: models have tokens too, and so have pages.
_TOKEN = "token"  # noqa: S105 - the name of a field
_SHORTEST_TOKEN = 12
_WORDS = tuple(dict.fromkeys(word for pattern in PATTERNS for word in pattern.words))
_SEPARATORS = str.maketrans("", "", "-_ .")


class Redactor:
    """Finds secrets in texts and fields. `fields` and `patterns` add to the built-in ones.

    >>> Redactor().text("postgres://bob:hunter22@db/x"), Redactor(fields=["pin"]).is_secret("card_pin", "1234")
    ('postgres://bob:[redacted]@db/x', True)
    """

    def __init__(self, fields: Iterable[str] = (), patterns: Iterable[str | re.Pattern[str]] = ()) -> None:
        self._fields = (*_FIELDS, *(field.lower().translate(_SEPARATORS) for field in fields))
        self._own = tuple(Pattern("yours", (), re.compile(pattern)) for pattern in patterns)
        self._known: dict[str, str] = {}

    def is_secret(self, name: str, value: object) -> bool:
        """Whether a field's name says that its value is a secret. Numbers, true and false never are."""
        kind = self._known.get(name)
        if kind is None:
            plain = name.lower().translate(_SEPARATORS)
            kind = "secret" if plain.endswith(self._fields) else _TOKEN if plain.endswith(_TOKEN) else ""
            if len(self._known) < 10_000:
                self._known[name] = kind
        if not kind or not isinstance(value, (str, bytes)) or not value:
            return False
        return kind == "secret" or (len(value) >= _SHORTEST_TOKEN and " " not in str(value))

    def may_hold_one(self, text: str) -> bool:
        """Whether it is worth while to look at a message's texts one by one: a quick look at its JSON."""
        return bool(self._own) or any(word in text for word in _WORDS) or bool(_settings(text))

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if len(text) < 8:
            return text
        for pattern in PATTERNS:
            for word in pattern.words:
                if word in text:
                    text = _take_out(pattern, text)
                    break
        for pattern in self._own:
            text = _take_out(pattern, text)
        return _without(text, _settings(text)) if "=" in text or ":" in text else text


def _take_out(pattern: Pattern, text: str) -> str:
    def gone(found: re.Match[str]) -> str:
        start, end = found.span(pattern.group)
        whole, at = found[0], found.start()
        return whole[: start - at] + GONE + whole[end - at :]

    return pattern.regex.sub(gone, text)


def _settings(text: str) -> list[tuple[int, int]]:
    """Where the values of password=…, "api_key": "…" lie: names are searched for as words, which is quick."""
    low = text.lower()
    if len(low) != len(text):  # a few letters grow in lower case; then places differ
        low = "".join(c.lower() if c.isascii() else c for c in text)
    spans: list[tuple[int, int]] = []
    for name in NAMES:
        at = low.find(name)
        while at >= 0:
            end = at + len(name)
            found = VALUE.match(text, end)
            if found:
                span = found.span(found.lastgroup or 0)
                if not text.startswith(GONE, span[0]):
                    spans.append(span)
            at = low.find(name, end)
    return spans


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts, last = [], 0
    for start, end in sorted(spans):
        if start >= last:
            parts += [text[last:start], GONE]
            last = end
    return "".join((*parts, text[last:])) if parts else text

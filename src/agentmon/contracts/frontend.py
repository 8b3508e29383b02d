"""Messages of agent.monitor.frontend: {type, data, id} objects, as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as strict JSON in UTF-8. Raises ValueError for NaN and infinities.

    >>> encode({"id": "1", "text": "\\ud800"})
    b'{"id":"1","text":"\\\\ud800"}'
    """
    try:
        return orjson.dumps(message)
    except TypeError:  # half of a surrogate pair, or a number beyond 64 bits, in an event's own JSON
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()

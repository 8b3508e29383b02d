"""What stderr says of an error. Names and values in it come from agents: they are shown, never obeyed."""

from __future__ import annotations

import os
import traceback


def tell(error: Exception, text: str | None = None) -> None:
    """Write an error's message, or the text, to stderr; with AGENT_LOG_LEVEL=DEBUG also where it was raised."""
    from agentmon_cli.render import note

    where = traceback.format_exception(error) if os.environ.get("AGENT_LOG_LEVEL", "").upper() == "DEBUG" else []
    note(f"{''.join(where)}agentmon: {text or error}")

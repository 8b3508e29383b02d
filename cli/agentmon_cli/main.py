"""The entry point: one line for every error, and a short way to `status`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from agentmon.errors import INTERRUPTED, AgentmonError, Exit, interrupted
from agentmon_cli.told import tell

#: What people, and programs every few seconds, ask most needs no parser: typer and what it imports are 0.15 s.
_STATUS = {("status",): "table", ("status", "--json"): "json"}


def run() -> None:
    """What the console script calls: exits with the command's code."""
    # Where pandas is installed, DuckDB imports it to ask of a bound value whether it is one of its: half a second.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that can't show a letter is shown its code
            stream.reconfigure(errors="backslashreplace")
    code = main()
    if _status_form() is not None:
        # All has been said. Taking DuckDB and the interpreter apart is a tenth of what status takes.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        code = _invoke()
        sys.stdout.flush()
    except AgentmonError as error:
        tell(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _enough()
    except UnicodeEncodeError as error:
        tell(error, f"{error.encoding} has no letter for {error.object[error.start]!a}: set PYTHONIOENCODING=utf-8")
        return int(Exit.FAILED)
    except SystemExit as ended:
        # Typer makes an exit of 1 of a broken pipe.
        if isinstance(ended.__context__, BrokenPipeError):
            return _enough()
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: users get one line, not a stack trace
        if interrupted(error):
            return INTERRUPTED
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        tell(error, f"{reason} (AGENT_LOG_LEVEL=DEBUG shows where)")
        return int(Exit.FAILED)
    return code


def _invoke() -> int:
    form = _status_form()
    if form is not None:
        from agentmon_cli.status import show_status

        show_status(form)
        return int(Exit.FINE)
    from agentmon_cli.app import invoke

    return invoke()


def _status_form() -> str | None:
    """The form in which status is asked for, where nothing else is."""
    return _STATUS.get(tuple(sys.argv[1:]))


def _enough() -> int:
    """Whoever read us has enough (`agentmon actions | head`); Python's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(Exit.FINE)

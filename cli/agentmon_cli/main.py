"""The entry point: one Typer app from a file per command group, and one line for every error."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import TyperException

from agentmon.errors import AgentmonError, Exit, SettingError

#: Each has `register(app)`; in the order of the help.
GROUPS = (
    "agentmon_cli.stack",
    "agentmon_cli.watch",
    "agentmon_cli.read",
    "agentmon_cli.session",
    "agentmon_cli.sql",
    "agentmon_cli.account",
    "agentmon_cli.send",
    "agentmon_cli.doctor",
    "agentmon_cli.config",
)

#: Environment variables that a flag of this command has set.
flags: set[str] = set()


def build() -> typer.Typer:
    """The app with every group's commands. Heavy imports wait in the commands."""
    app = typer.Typer(
        name="agentmon",
        help="What your AI agents do, think and learn: live from Kafka, and for years in Delta tables.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_settings)
    for group in GROUPS:
        import_module(group).register(app)
    return app


def _settings(
    home: Annotated[
        str | None, typer.Option("--home", metavar="FOLDER", help="Short for --set AGENTMON_HOME=FOLDER.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, for this command only.")
    ] = None,
) -> None:
    told = [*([f"AGENTMON_HOME={home}"] if home else []), *(settings or [])]
    flags.clear()
    for entry in told:
        name, is_there, value = entry.partition("=")
        if not is_there:
            raise SettingError(f"--set {entry} can't be used: it takes NAME=VALUE; agentmon config has the names")
        _check_known(name)
        os.environ[name] = value
        flags.add(name)


def _check_known(name: str) -> None:
    from dataclasses import fields
    from difflib import get_close_matches

    from agentmon.settings import Settings

    known = [spec.metadata["env"] for spec in fields(Settings)]
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "agentmon config has the names"
        raise SettingError(f"--set {name}: there is no such setting; {hint}")


def run() -> None:
    """What the console script calls: exits with the command's code."""
    # DuckDB asks of a bound value whether it is one of pandas', and imports pandas for that: half a second of a command.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    sys.exit(main())


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        code = build()(standalone_mode=False)
        sys.stdout.flush()
    except AgentmonError as error:
        return _told(error, int(error.exit_code))
    except TyperException as error:
        # A usage error: shown with the command's usage or, without any arguments, as the help.
        show = getattr(error, "show", None)
        if show is None:
            return _told(error, error.exit_code)
        show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return _enough()
    except SystemExit as ended:
        # Typer makes an exit of 1 of a broken pipe.
        if isinstance(ended.__context__, BrokenPipeError):
            return _enough()
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: users get one line, not a stack trace
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        return _told(error, int(Exit.FAILED), f"{reason} (AGENT_LOG_LEVEL=DEBUG shows where)")
    return code if isinstance(code, int) else int(Exit.FINE)


def _enough() -> int:
    """Whoever read us has enough (`agentmon actions | head`); Python's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(Exit.FINE)


def _told(error: Exception, code: int, text: str | None = None) -> int:
    if os.environ.get("AGENT_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    sys.stderr.write(f"agentmon: {text or error}\n")
    return code

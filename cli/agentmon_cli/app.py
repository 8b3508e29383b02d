"""The Typer app: one from a file per command group."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer
from typer.exceptions import TyperException

from agentmon import __version__
from agentmon.errors import SettingError

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


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"agentmon {__version__}\n")
        raise typer.Exit


def _settings(
    home: Annotated[
        str | None, typer.Option("--home", metavar="FOLDER", help="Short for --set AGENTMON_HOME=FOLDER.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, for this command only.")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
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


def invoke() -> int:
    """Run the command line and return its exit code. A usage error is shown here; what a command raises is not caught."""
    try:
        code = build()(standalone_mode=False)
    except TyperException as error:
        # Shown with the command's usage or, without any arguments, as the help.
        show = getattr(error, "show", None)
        if show is None:
            sys.stderr.write(f"agentmon: {error}\n")
        else:
            show()
        return error.exit_code
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0

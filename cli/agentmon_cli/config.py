"""config: each setting, its value and where that comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from agentmon_cli.read import AsJson, Form, chosen_format


def register(app: typer.Typer) -> None:
    """Add config."""
    app.command(epilog="Examples: agentmon config; agentmon config kafka; agentmon --set AGENTMON_WINDOW=30 config")(
        config
    )


def config(
    name: Annotated[str | None, typer.Argument(help="Only settings whose name has this in it.")] = None,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """Each setting, its value and where it comes from: a flag, the environment, agentmon.toml or the default."""
    form = chosen_format(form, as_json)
    from agentmon.settings import config_file, sources
    from agentmon_cli.app import flags
    from agentmon_cli.render import note, write

    word = (name or "").upper()
    found = [
        (one.variable, one.value, "flag" if one.variable in flags and one.source == "environment" else one.source,
         one.takes, one.about)
        for one in sources()
        if word in one.variable
    ]  # fmt: skip
    columns = ["setting", "value", "from", "takes", "about"]
    if form == "table":
        write(form, ["setting", "value", "from", "about"], [(a, b, c, e) for a, b, c, _, e in found])
        note(f"agentmon.toml: {config_file()}{'' if config_file().exists() else ' (not there)'}")
    else:
        write(form, columns, found)

"""up, down, topics, load and the demo: the commands that run things."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the commands that run things."""
    app.command(epilog="Examples: agentmon up; agentmon up --accept-loss; agentmon up --docker")(up)
    app.command(epilog="Examples: agentmon down; agentmon down --docker")(down)
    app.command(epilog="Examples: agentmon topics; agentmon topics --json")(topics)
    app.command(epilog="Examples: agentmon load runs.jsonl.gz; agentmon load runs.jsonl --now --rate 100")(load)
    app.command(hidden=True)(demo)


def up(
    docker: Annotated[bool, typer.Option("--docker", help="Use docker-compose.yml instead.")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Let the job go on where Kafka dropped what was never read.")
    ] = False,
    accept_new_topics: Annotated[
        bool, typer.Option("--accept-new-topics", help="Let the job go on with topics that were deleted and made anew.")
    ] = False,
) -> None:
    """Start whatever is missing of broker, topics and job, in the background."""
    from agentmon.settings import Settings
    from agentmon.stack import up as stack

    if docker:
        stack.compose("up", "-d", "--wait")
        return
    flags = {"--accept-loss": accept_loss, "--accept-new-topics": accept_new_topics}
    stack.up(Settings.from_env(), _say, [flag for flag, wanted in flags.items() if wanted])


def down(docker: Annotated[bool, typer.Option("--docker", help="Use docker-compose.yml instead.")] = False) -> None:
    """Stop what up started; the batch in hand is committed first. Data stays."""
    from agentmon.settings import Settings
    from agentmon.stack import up as stack

    if docker:
        stack.compose("down")
        return
    stack.down(Settings.from_env(), _say)


def topics(
    form: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
) -> None:
    """Create the topics of conf/topics.json that are missing, and show all with where they differ."""
    from agentmon.errors import UsageError
    from agentmon.live.client import Connection
    from agentmon.live.topics import TopicReport, ensure, wanted_topics
    from agentmon.settings import Settings

    if form not in ("table", "json", "csv"):
        raise UsageError(f"--format {form} can't be used: it takes table, json or csv")
    with Connection(Settings.from_env()) as connection:
        reports = ensure(connection, wanted_topics())

    def row(report: TopicReport) -> dict[str, Any]:
        spec = report.spec
        return {
            "topic": spec.name,
            "partitions": spec.partitions,
            "replication_factor": spec.replication_factor,
            "retention_days": int(spec.configs.get("retention.ms", "-1")) / 86_400_000,
            "compression": spec.configs.get("compression.type", "producer"),
            "state": "created" if report.created else "; ".join(report.drift) or "as wanted",
        }

    _show([row(report) for report in reports], "json" if as_json else form)


def load(
    file: Annotated[Path, typer.Argument(help="A recording: .jsonl or .jsonl.gz.")],
    speed: Annotated[float | None, typer.Option(help="So many times the recorded pace.")] = None,
    rate: Annotated[float | None, typer.Option(help="So many messages a second.")] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Shift all times so that the last is now; with a pace, each to its sending."),
    ] = False,
) -> None:
    """Send a recording to Kafka, by itself flat out and with its own timestamps."""
    from agentmon.live.load import Pace
    from agentmon.live.load import load as send
    from agentmon.settings import Settings

    sent = send(Settings.from_env(), file, Pace(speed, rate, now), _progress if sys.stderr.isatty() else None)
    sys.stderr.write(f"{sent} messages sent, all acknowledged by Kafka\n")


def demo() -> None:
    """What make demo runs: play the recording into a broker of our own and show the status."""
    from agentmon_cli.demo import play

    play(_say)


def _say(line: str) -> None:
    # Out at once: what follows a line may take a while.
    typer.echo(line)
    sys.stdout.flush()


def _progress(sent: int, total: int) -> None:
    end = "\n" if sent == total else ""
    sys.stderr.write(f"\r{sent} of {total} messages{end}")
    sys.stderr.flush()


def _show(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        typer.echo(json.dumps(rows, indent=2))
    elif form == "csv":
        import csv

        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        text = [list(rows[0]), *([f"{v:g}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows)]
        widths = [max(map(len, column)) for column in zip(*text, strict=True)]
        for line in text:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

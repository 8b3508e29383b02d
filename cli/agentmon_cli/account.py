"""audit and lag: is every offset accounted for, and how far behind is the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agentmon.lake.audit import Account, InKafka, Key
    from agentmon.settings import Settings

Form = Annotated[str, typer.Option("--format", help="table, json or csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format json.")]

#: So many ranges of holes and of repeats are listed for a partition; the rest is counted.
_LISTED = 20
#: Reading in Kafka whether there is a record at offsets that the lake does not have.
_COMPARE_S = 60.0

_AUDIT = [
    "topic", "partition", "topic_id", "kafka_begin", "kafka_end", "in_kafka", "ledger_end", "stored", "pending",
    "holes", "repeats", "quarantined", "archived", "purged", "forgotten", "lost", "no_record",
    "hole_ranges", "repeat_ranges",
]  # fmt: skip
#: Left out of a table while there are none of them.
_RARE = {"quarantined", "archived", "purged", "forgotten", "lost", "no_record"}
_WIDE = {"kafka_begin", "kafka_end", "ledger_end", "hole_ranges", "repeat_ranges"}
_LAG = [
    "query", "lag_messages", "lag_s", "rising", "rows_per_s", "batch_ms", "batch_id", "last_trigger", "agents",
    "windows", "state_bytes", "watermark", "position",
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the accounting commands."""
    app.command(epilog="Examples: agentmon audit; agentmon audit --json")(audit)
    app.command(epilog="Examples: agentmon lag; agentmon lag --check")(lag)


def audit(form: Form = "table", as_json: AsJson = False) -> None:
    """Every offset accounted for: in Kafka, stored, pending, holes, repeats; exit 3 on a hole or a repeat."""
    form = _format(form, as_json)
    from agentmon.errors import Exit
    from agentmon.lake.audit import account, read_stored
    from agentmon.settings import Settings
    from agentmon_cli.render import note, write

    settings = Settings.from_env()
    stored = read_stored(settings.lake)
    kafka = _in_kafka(settings)  # after the lake: what it has by then can only be more
    accounts = account(stored, kafka, _comparing(settings))
    rows = [_audit_row(one) for one in accounts]
    columns = _AUDIT if form != "table" else _worth_showing(rows)
    write(form, columns, ([row[name] for name in columns] for row in rows))
    if form == "table":
        for one in accounts:
            _list_ranges(one)
        typer.echo(_totals(accounts, kafka is not None))
    else:
        note(_totals(accounts, kafka is not None))
    if any(one.holes or one.repeats for one in accounts):
        raise typer.Exit(int(Exit.CHECK_FAILED))


def lag(
    form: Form = "table",
    as_json: AsJson = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 3 if lag is rising or the job is down.")] = False,
) -> None:
    """How far behind each query of the job is, in messages and seconds."""
    form = _format(form, as_json)
    from dataclasses import asdict

    from agentmon.errors import Exit
    from agentmon.live.lag import lags
    from agentmon.live.records import sent_at
    from agentmon.settings import Settings
    from agentmon.stack.home import read_note
    from agentmon.stack.job import JobProcess
    from agentmon_cli.render import note, write

    settings = Settings.from_env()
    job = JobProcess(settings)
    is_running = job.driver() is not None
    offsets = _offsets(settings)
    progress = read_note(settings.run / "progress.json")
    found = lags(progress, offsets, lambda positions: sent_at(settings, positions))
    columns = [name for name in _LAG if form != "table" or name != "position"]
    if found or form != "table":
        write(form, columns, ([asdict(one)[name] for name in columns] for one in found))
    state = job.told().get("state")
    if not is_running:
        note("the job is not running: agentmon up starts it" + ("; this is where it stopped" if found else ""))
    elif state != "running":
        note(f"the job is {state}: {job.told().get('error') or 'no figures yet'}")
    rising = [one.query for one in found if one.rising]
    if rising and is_running:
        note(f"lag is rising: {', '.join(rising)}")
    if check and (rising or not is_running):
        raise typer.Exit(int(Exit.CHECK_FAILED))


def _offsets(settings: Settings) -> dict[tuple[str, int], tuple[int, int]] | None:
    from agentmon.errors import KafkaUnreachable
    from agentmon.live.client import Connection
    from agentmon.live.lag import readable_offsets
    from agentmon_cli.render import note

    try:
        with Connection(settings, timeout_s=5.0) as connection:
            return readable_offsets(connection)
    except KafkaUnreachable as error:
        note(f"{error}; shown is the lag at each query's last trigger")
        return None


def _in_kafka(settings: Settings) -> dict[Key, InKafka] | None:
    from agentmon.errors import KafkaUnreachable
    from agentmon.lake.audit import InKafka
    from agentmon.live.client import Connection
    from agentmon.live.lag import read_topics
    from agentmon_cli.render import note

    try:
        with Connection(settings, timeout_s=5.0) as connection:
            view, offsets = read_topics(connection)
    except KafkaUnreachable as error:
        note(f"{error}; only the lake's side is judged")
        return None
    places = [InKafka(topic, view.topics[topic].topic_id, number, *span) for (topic, number), span in offsets.items()]
    return {(place.topic_id, place.partition): place for place in places}


def _comparing(settings: Settings) -> Any:
    """Reads in Kafka, for a bounded time over all partitions."""
    import time

    from agentmon.live.records import Ranges, records_within

    end = time.monotonic() + _COMPARE_S

    def compare(topic: str, partition: int, ranges: Ranges) -> tuple[Ranges, Ranges]:
        return records_within(settings, (topic, partition), ranges, end - time.monotonic())

    return compare


def _audit_row(one: Account) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "topic_id": one.topic_id,
        "kafka_begin": one.kafka_begin,
        "kafka_end": one.kafka_end,
        "in_kafka": one.in_kafka,
        "ledger_end": one.ledger_end,
        "stored": one.rows,
        "pending": one.pending,
        "holes": one.hole_count,
        "repeats": one.repeat_count,
        "quarantined": one.quarantined,
        **one.gone,
        "no_record": one.empty,
        "hole_ranges": [{"first": a, "last": b - 1, "why": why or None} for a, b, why in one.holes[:_LISTED]],
        "repeat_ranges": [{"first": a, "last": b - 1} for a, b in one.repeats[:_LISTED]],
    }


def _worth_showing(rows: list[dict[str, Any]]) -> list[str]:
    """Columns of a table; which topic it was stands last, as a narrow terminal has no room for what does."""
    left_out = _WIDE | {"topic_id"} | {name for name in _RARE if not any(row[name] for row in rows)}
    return [*(name for name in _AUDIT if name not in left_out), "topic_id"]


def _list_ranges(one: Account) -> None:
    for what, ranges in (("hole", one.holes), ("repeat", [(a, b, "") for a, b in one.repeats])):
        for start, end, why in ranges[:_LISTED]:
            because = f", {why}" if why else ""
            typer.echo(f"{what}: {one.topic}[{one.partition}] {start}..{end - 1} ({end - start:,} offsets{because})")
        if len(ranges) > _LISTED:
            typer.echo(f"{what}: {one.topic}[{one.partition}] and {len(ranges) - _LISTED:,} more ranges")


def _totals(accounts: list[Account], has_kafka: bool) -> str:
    parts = [f"{sum(one.in_kafka or 0 for one in accounts):,} in Kafka"] if has_kafka else []
    parts += [
        f"{sum(one.rows for one in accounts):,} stored",
        f"{sum(one.hole_count for one in accounts):,} holes",
        f"{sum(one.repeat_count for one in accounts):,} repeats",
    ]
    others = {"pending": sum(one.pending for one in accounts)}
    for kind in ("archived", "purged", "forgotten", "lost"):
        others[kind] = sum(one.gone[kind] for one in accounts)
    return ", ".join([*parts, *(f"{count:,} {name}" for name, count in others.items() if count)])


def _format(form: str, as_json: bool) -> str:
    from agentmon.errors import UsageError
    from agentmon_cli.render import FORMATS

    if form not in FORMATS:
        raise UsageError(f"--format {form} can't be used: it takes table, json or csv")
    return "json" if as_json else form

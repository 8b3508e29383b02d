"""Every table of the lake, declared once: columns with types and comments, partitioning, properties.

DDL, Spark schemas, DuckDB views and the documentation are derived from here. Types are Spark SQL's.
Columns are added, never renamed or retyped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a message's field fills the column of its name. number: a double; amount: one that is not negative; count: a whole
#: number that is not negative; null where it holds none. text and json: a string's content, any other JSON as it came;
#: json says that it is mostly no string: a reader of many messages leaves it undecoded. reward: a double, of a number, true,
#: false, or the score of an object. error: as text, null where it says
#: that there was none (contracts/values.py).
Kind = Literal["text", "json", "error", "reward", "number", "amount", "count"]


@dataclass(frozen=True)
class Column:
    """One column of a table; `kind` is None where no field fills it, or contracts/message.py has a rule of its own."""

    name: str
    type: str
    comment: str
    kind: Kind | None = None


@dataclass(frozen=True)
class Table:
    """One Delta table; `columns` in the order in which they are written.

    found_by: columns that the log has each file's bounds and nulls of; the first ones (see _PROPERTIES) where empty. Of
    other columns a batch's figures have none to give (stream/tables.py).
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    partition: str = "event_date"
    example: str = ""
    found_by: tuple[str, ...] = ()

    @property
    def properties(self) -> dict[str, str]:
        """Delta's properties of the table."""
        own = {"delta.dataSkippingStatsColumns": ",".join(self.found_by)} if self.found_by else {}
        return {**_PROPERTIES, **own}

    @property
    def bounded(self) -> tuple[str, ...]:
        """Columns that the log has each file's bounds and nulls of."""
        return self.found_by or tuple(self.column_names[:_BOUNDED])

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def own_column_names(self) -> list[str]:
        """Columns that only this kind of message has: neither origin nor the value as it arrived."""
        return [name for name in self.column_names if name not in _ORIGIN_NAMES]

    def ddl(self, between: str = " ") -> str:
        """The columns as Spark DDL, without comments: usable as a schema (as fields of a struct with ": " between)."""
        return ", ".join(f"`{c.name}`{between}{c.type}" for c in self.columns)


# What every row that came from Kafka carries. The first ones are those that readers filter by, so that
# Delta's statistics (of the first columns only, see _PROPERTIES) cover them.
ORIGIN_FIRST = (
    Column("event_time", "timestamp", "When it happened, UTC: the message's own time where it has a usable one"),
    Column("agent_id", "string", "Who: the message's agent_id, else Kafka key, container, hostname, or 'unknown'"),
    Column("session_id", "string", "The run it belongs to; null where the producer names none"),
    Column("kafka_topic_id", "string", "Kafka's UUID of the topic: tells apart a topic that was deleted and made anew"),
    Column("kafka_partition", "int", "Partition in Kafka"),
    Column(
        "kafka_offset", "bigint", "Offset in Kafka; (kafka_topic_id, kafka_partition, kafka_offset) is the identity"
    ),
)
ORIGIN_LAST = (
    Column("event_id", "string", "Unique id that the producer gave, null where it gave none"),
    Column(
        "time_source",
        "string",
        "Where event_time comes from: message, kafka (no usable time given), clamped (given, but absurd)",
    ),
    Column("kafka_topic", "string", "Topic in Kafka"),
    Column("kafka_timestamp", "timestamp", "Kafka's timestamp of the message"),
    Column("kafka_key", "string", "Kafka's key as text (base64 where it isn't UTF-8)"),
    Column("kafka_headers", "string", "Kafka's headers as JSON: a list of {key, value}, value as text or base64"),
    Column("ingest_time", "timestamp", "When the job took the message up"),
    Column("event_date", "date", "UTC day of event_time: the partition; filter by it to read little"),
)
PAYLOAD = Column("payload", "string", "The message's value as it arrived")
RAW = Column("raw", "binary", "The message's value as it arrived, byte for byte")

_ORIGIN_NAMES = frozenset(c.name for c in (*ORIGIN_FIRST, *ORIGIN_LAST, PAYLOAD, RAW))

_BOUNDED = 6
# Files are found by event_date and offsets. The job commits every second, and every commit and reader lists the log: of a
# day's commits that takes a second, of an hour's some milliseconds. Older versions couldn't be read anyway, since their
# merged files are kept for as long (docs/decisions.md).
_PROPERTIES = {
    "delta.dataSkippingNumIndexedCols": str(_BOUNDED),
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 1 hours",
    "delta.deletedFileRetentionDuration": "interval 1 hours",
    "delta.setTransactionRetentionDuration": "interval 30 days",
    "delta.enableDeletionVectors": "false",
}
#: What older versions of ours set, of properties that have another value now.
FORMER_PROPERTIES = {"delta.logRetentionDuration": "interval 1 days"}


def _rows(name: str, comment: str, own: tuple[Column, ...], example: str, value: Column = PAYLOAD) -> Table:
    return Table(name, comment, (*ORIGIN_FIRST, *own, *ORIGIN_LAST[:-1], value, ORIGIN_LAST[-1]), example=example)


ACTIONS = _rows(
    "actions",
    "What agents did: one row per finished action (tool call)",
    (
        Column("tool", "string", "Name of the tool"),
        Column("action", "string", "What was done with it", "text"),
        Column("success", "boolean", "Outcome: what the message says, else reward > 0, else null (unknown)"),
        Column(
            "reward",
            "double",
            "Reward of this action: a number, 1 for true, 0 for false, or an object's score",
            "reward",
        ),
        Column(
            "duration_ms", "double", "How long it took, milliseconds; null where the message says less than 0", "amount"
        ),
        Column("result", "string", "What came out: text, or JSON as it came"),
        Column(
            "error",
            "string",
            "What went wrong: text, or JSON as it came; null where the message says blank, false, 0, {} or []",
            "error",
        ),
        Column("reasoning", "string", "Why the agent did it", "text"),
        Column("context", "string", "Arguments and circumstances: JSON as it came", "json"),
        Column("action_id", "string", "The producer's own count; restarts with its process and is no identity", "text"),
        Column("span_id", "string", "Ties the action to the action_started event that announced it", "text"),
        Column("input_tokens", "bigint", "Tokens read by the model, cached or not; null where below 0", "count"),
        Column("output_tokens", "bigint", "Tokens written by the model; null where below 0", "count"),
        Column("cache_read_tokens", "bigint", "Those of input_tokens that came from a cache", "count"),
        Column("cache_write_tokens", "bigint", "Those of input_tokens that were written into a cache", "count"),
        Column("reasoning_tokens", "bigint", "Those of output_tokens that were reasoning", "count"),
        Column("cost_usd", "double", "Cost, US dollars", "number"),
    ),
    "SELECT tool, count(*) AS n, avg(success::INT) AS success_rate FROM actions GROUP BY tool ORDER BY n DESC",
)
THOUGHTS = _rows(
    "thoughts",
    "What agents thought: one row per thought",
    (
        Column("thought", "string", "The thought", "text"),
        Column("confidence", "double", "The agent's own confidence, where it states one", "number"),
        Column("context", "string", "Circumstances: JSON as it came", "json"),
        Column(
            "thought_id", "string", "The producer's own count; restarts with its process and is no identity", "text"
        ),
    ),
    "SELECT event_time, agent_id, thought FROM thoughts WHERE thought ILIKE '%refund%' ORDER BY event_time DESC LIMIT 20",
)
LEARNING = _rows(
    "learning",
    "What agents learned: rewards and learning progress",
    (
        Column("tool", "string", "What was rewarded"),
        Column("reward", "double", "Reward of its own, read as in actions; null in a progress report", "reward"),
        Column("total_events", "bigint", "Progress report: events seen by the producer"),
        Column("success_rate", "double", "Progress report: fraction of successes, as the producer counts"),
        Column("avg_reward", "double", "Progress report: mean reward, as the producer counts"),
        Column("learning_trend", "string", "Progress report: trend, as the producer sees it"),
        Column("data", "string", "Progress report: all of it, JSON as it came", "json"),
    ),
    "SELECT agent_id, avg(reward) AS mean_reward, count(reward) AS rewards FROM learning GROUP BY agent_id",
)
METRICS = _rows(
    "metrics",
    "What agents measured about themselves",
    (
        Column("metrics", "map<string,double>", "Name → number; what isn't a number stays in payload"),
        Column("action_count", "bigint", "The producer's own count of actions", "count"),
        Column("thought_count", "bigint", "The producer's own count of thoughts", "count"),
    ),
    "SELECT event_time, agent_id, metrics['memory_bytes'] AS memory_bytes FROM metrics ORDER BY event_time DESC LIMIT 20",
)
EVENTS = _rows(
    "events",
    "Everything else on agent.*: action_started, agent.rl.vectorized, agent.tasks, and any later topic",
    (Column("type", "string", "The message's type, where it has one", "text"),),
    "SELECT kafka_topic, type, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC",
)
QUARANTINE = _rows(
    "quarantine",
    "Messages that could not be parsed, or came twice, with the reason: nothing is thrown away",
    (
        Column(
            "reason",
            "string",
            "empty, too_large, not_utf8, not_json (or with something after it, or nested too deep), not_object, or repeat: a second copy",
        ),
        Column("error", "string", "One sentence for a person"),
    ),
    "SELECT reason, kafka_topic, count(*) AS n FROM quarantine GROUP BY ALL ORDER BY n DESC",
    value=RAW,
)

_REWARDS = "array<struct<reward:double,event_time:timestamp,kafka_partition:int,kafka_offset:bigint>>"
_LAST = "struct<value:double,event_time:timestamp>"
# Additive rows name the batch that wrote them, so that a reader can leave out a batch that is not whole yet.
_BATCH = (
    Column("query_id", "string", "Run of the job that wrote the row; null once the nightly job has collapsed it"),
    Column("batch_id", "bigint", "Batch of that run; the ledger has it once all tables do"),
)

SUMMARIES = Table(
    "summaries",
    "Additive partial figures per window, agent and tool: add counts and sums, merge the rest",
    (
        Column("window_start", "timestamp", "Start of the window of event time, inclusive"),
        Column("window_end", "timestamp", "End of the window, exclusive"),
        Column("agent_id", "string", "Agent"),
        Column("tool", "string", "Tool; null for rows that name none"),
        Column("actions", "bigint", "Rows of the table actions"),
        Column("thoughts", "bigint", "Rows of the table thoughts"),
        Column("learning", "bigint", "Rows of the table learning"),
        Column("metrics", "bigint", "Rows of the table metrics"),
        Column("other", "bigint", "Rows of the table events"),
        Column("quarantined", "bigint", "Rows of the table quarantine"),
        Column("known", "bigint", "Actions with a known outcome"),
        Column("successes", "bigint", "Actions that succeeded"),
        Column("errors", "bigint", "Actions with an error"),
        Column("action_reward_count", "bigint", "Actions with a reward"),
        Column("action_reward_sum", "double", "Sum of their rewards"),
        Column("action_reward_min", "double", "Smallest of them"),
        Column("action_reward_max", "double", "Largest of them"),
        Column("learning_reward_count", "bigint", "Learning rows with a reward of their own"),
        Column("learning_reward_sum", "double", "Sum of their rewards"),
        Column("learning_reward_min", "double", "Smallest of them"),
        Column("learning_reward_max", "double", "Largest of them"),
        Column("duration_count", "bigint", "Actions with a duration"),
        Column("duration_sum_ms", "double", "Sum of their durations, milliseconds"),
        Column(
            "duration_buckets",
            "map<int,bigint>",
            "Histogram of durations: bucket i counts gamma^(i-1) < ms <= gamma^i, gamma = 1.01/0.99; -10000 counts ms <= 0",
        ),
        Column(
            "agent_duration_count",
            "bigint",
            "Durations in agent_duration_buckets; null in rows of versions that did not have it",
        ),
        Column(
            "agent_duration_buckets",
            "map<int,bigint>",
            "Histogram of the agent's durations with all tools, on one of its rows of a window and batch; empty on the others",
        ),
        Column("input_tokens", "bigint", "Sum over actions"),
        Column("output_tokens", "bigint", "Sum over actions"),
        Column("cost_usd", "double", "Sum over actions"),
        Column("first_event_time", "timestamp", "Earliest event"),
        Column("last_event_time", "timestamp", "Latest event"),
        Column("recent_action_rewards", _REWARDS, "The newest 20 rewards of actions, oldest first"),
        Column("recent_learning_rewards", _REWARDS, "The newest 20 rewards of learning, oldest first"),
        Column("last_memory_bytes", _LAST, "Newest memory_bytes that the agent published"),
        Column("last_cpu_percent", _LAST, "Newest cpu_percent that the agent published"),
        *_BATCH,
        Column("event_date", "date", "UTC day of window_start: the partition"),
    ),
    found_by=("window_start", "window_end", "agent_id", "tool", "agent_duration_count", "query_id", "batch_id"),
    example="SELECT agent_id, sum(actions) AS actions, sum(successes) / sum(known) AS success_rate FROM summaries GROUP BY agent_id",
)
SESSIONS = Table(
    "sessions",
    "Additive partial figures per session: add counts and sums, take the earliest and latest of times",
    (
        Column("agent_id", "string", "Agent"),
        Column(
            "session_id",
            "string",
            "Session; null for rows that name none (they form a session until 30 minutes of silence)",
        ),
        Column("first_event_time", "timestamp", "Earliest event"),
        Column("last_event_time", "timestamp", "Latest event"),
        Column("actions", "bigint", "Actions"),
        Column("thoughts", "bigint", "Thoughts"),
        Column("errors", "bigint", "Actions with an error"),
        Column("action_reward_sum", "double", "Sum of the actions' rewards"),
        Column("learning_reward_count", "bigint", "Learning rows with a reward of their own"),
        Column("learning_reward_sum", "double", "Sum of their rewards"),
        Column("ended_at", "timestamp", "When a reward of its own ended the session; null while it goes on"),
        *_BATCH,
        Column("event_date", "date", "UTC day of first_event_time: the partition"),
    ),
    found_by=("agent_id", "session_id", "first_event_time", "last_event_time", "query_id", "batch_id"),
    example="SELECT agent_id, count(DISTINCT session_id) AS sessions FROM sessions GROUP BY agent_id",
)
LEDGER = Table(
    "ledger",
    "Every offset accounted for: which range of which partition each batch stored, and what became of it",
    (
        Column("query_id", "string", "Run of the job that stored the range"),
        Column("batch_id", "bigint", "Batch of that run"),
        Column("kind", "string", "stored, lost (accepted gap), archived, purged or forgotten"),
        Column("kafka_topic", "string", "Topic in Kafka"),
        Column("kafka_topic_id", "string", "Kafka's UUID of the topic"),
        Column("kafka_partition", "int", "Partition"),
        Column("start_offset", "bigint", "First offset of the range"),
        Column("end_offset", "bigint", "One past the last offset of the range"),
        Column(
            "messages",
            "bigint",
            "Messages that Kafka had in a stored range: fewer than offsets where it had none (markers of transactions, compaction)",
        ),
        Column("cluster_id", "string", "Kafka's id of the cluster"),
        Column("committed_at", "timestamp", "When the range was entered"),
        Column("note", "string", "Who or what entered it, where that needs saying"),
        Column("event_date", "date", "UTC day of committed_at: the partition"),
    ),
    found_by=("query_id", "batch_id", "kind", "kafka_topic", "kafka_topic_id", "kafka_partition"),
    example="SELECT kafka_topic, kafka_partition, max(end_offset) AS next FROM ledger WHERE kind = 'stored' GROUP BY ALL ORDER BY ALL",
)

#: Tables that hold messages, one row each; quarantine and events included.
MESSAGE_TABLES = {t.name: t for t in (ACTIONS, THOUGHTS, LEARNING, METRICS, EVENTS, QUARANTINE)}
#: All tables, in the order in which a batch reaches them: the ledger last, as its seal.
TABLES = {**MESSAGE_TABLES, "summaries": SUMMARIES, "sessions": SESSIONS, "ledger": LEDGER}

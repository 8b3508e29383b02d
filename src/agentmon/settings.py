"""Every setting once: name, unit, default, environment variable. Also where things lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from agentmon.errors import SettingError

DEFAULT_BOOTSTRAP = "localhost:9092"
CODECS = ("auto", "zstd", "lz4", "gzip", "none")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_DAY_S = 86_400


class Secret(str):
    """Text that never shows in a repr, a log line or `agentmon config`."""

    def __repr__(self) -> str:
        return "'***'"


def project_root() -> Path:
    """The checkout that this package is installed from; the working folder where it is not a checkout."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").exists() else Path.cwd()


def _text(value: str) -> str:
    return value


def _positive(value: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _within_a_day(value: str) -> float:
    number = _positive(value)
    if number > _DAY_S:
        raise ValueError
    return number


def _count(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _several(value: str) -> int:
    number = int(value)
    if number < 2:
        raise ValueError
    return number


def _port(value: str) -> int:
    number = int(value)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _flag(value: str) -> bool:
    if value.strip().lower() in ("1", "true", "yes", "on"):
        return True
    if value.strip().lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError


def _choice(names: Sequence[str]) -> Callable[[str], str]:
    """One of the names, written in any case."""
    known = {name.lower(): name for name in names}

    def read(value: str) -> str:
        if value.lower() not in known:
            raise ValueError
        return known[value.lower()]

    return read


def _fraction(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _depth(value: str) -> int:
    number = int(value)
    # Above 500 Python's own JSON reader would stop at another depth than Spark's.
    if not 100 <= number <= 500:
        raise ValueError
    return number


def _setting(env: str, default: Any, read: Any, takes: str, about: str) -> Any:
    return field(default=default, metadata={"env": env, "read": read, "takes": takes, "about": about})


@dataclass(frozen=True)
class Settings:
    """All settings, read once from the environment by `Settings.from_env`."""

    home: Path = field(
        default_factory=lambda: project_root() / ".agentmon",
        metadata={
            "env": "AGENTMON_HOME",
            "read": lambda v: Path(v).expanduser().absolute(),
            "takes": "a folder",
            "about": "where all state lies",
        },
    )
    kafka_bootstrap_servers: str | None = _setting(
        "KAFKA_BOOTSTRAP_SERVERS", None, _text, "host:port,…", "Kafka's addresses"
    )
    kafka_group_id: str = _setting(
        "KAFKA_GROUP_ID", "agentmon", _text, "text", "group under which the job commits its offsets"
    )
    kafka_debug: bool = _setting("KAFKA_DEBUG", False, _flag, "true or false", "debug logs of the Kafka clients")
    kafka_security_protocol: str = _setting(
        "KAFKA_SECURITY_PROTOCOL",
        "PLAINTEXT",
        _choice(_PROTOCOLS),
        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        "how to talk to Kafka",
    )
    kafka_sasl_mechanism: str | None = _setting(
        "KAFKA_SASL_MECHANISM", None, _choice(_MECHANISMS), "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "how to log in"
    )
    kafka_sasl_username: str | None = _setting("KAFKA_SASL_USERNAME", None, _text, "text", "who logs in")
    kafka_sasl_password: Secret | None = _setting("KAFKA_SASL_PASSWORD", None, Secret, "text", "with which password")
    kafka_ssl_cafile: str | None = _setting("KAFKA_SSL_CAFILE", None, _text, "a PEM file", "certificate authority")
    kafka_ssl_certfile: str | None = _setting("KAFKA_SSL_CERTFILE", None, _text, "a PEM file", "our certificate")
    kafka_ssl_keyfile: str | None = _setting("KAFKA_SSL_KEYFILE", None, _text, "a PEM file", "our private key")
    monitor_interval_s: float = _setting(
        "AGENT_MONITOR_INTERVAL",
        1.0,
        _positive,
        "seconds > 0",
        "how often the job takes a micro-batch: rows and figures are published and committed",
    )
    metrics_interval_s: float = _setting(
        "AGENT_METRICS_INTERVAL", 30.0, _positive, "seconds > 0", "how often a publisher reports its process"
    )
    log_level: str = _setting(
        "AGENT_LOG_LEVEL",
        "INFO",
        _choice(_LEVELS),
        " or ".join(_LEVELS),
        "how much is logged; DEBUG shows stack traces",
    )
    frontend_ws_port: int = _setting("FRONTEND_WS_PORT", 8080, _port, "1..65535", "the gateway's WebSocket port")
    frontend_api_port: int = _setting("FRONTEND_API_PORT", 8080, _port, "1..65535", "the gateway's HTTP port")
    window_s: float = _setting(
        # Longer ones would lie in a partition that no reader of a later day looks into.
        "AGENTMON_WINDOW",
        60.0,
        _within_a_day,
        "seconds > 0, a day at the most",
        "length of a window of event time",
    )
    watermark_s: float = _setting(
        "AGENTMON_WATERMARK", 600.0, _positive, "seconds > 0", "how late a row may be and still count in live windows"
    )
    max_ahead_s: float = _setting(
        "AGENTMON_MAX_AHEAD", 300.0, _positive, "seconds > 0", "how far a message's time may be ahead of Kafka's"
    )
    max_batch_messages: int = _setting(
        "AGENTMON_MAX_BATCH", 400_000, _count, "a number > 0", "offsets in one micro-batch at the most"
    )
    compact_files: int = _setting(
        "AGENTMON_COMPACT_FILES",
        32,
        _several,
        "a number > 1",
        "small files of a table and day that are merged into one",
    )
    newest_rows: int = _setting(
        "AGENTMON_NEWEST_ROWS",
        20,
        _count,
        "a number > 0",
        "rows per agent and trigger on agent.monitor.frontend at the most; 500 of all agents, 100 in a backlog",
    )
    max_message_bytes: int = _setting(
        "AGENTMON_MAX_MESSAGE_BYTES", 16 * 1024 * 1024, _count, "bytes > 0", "longer messages go to quarantine"
    )
    max_depth: int = _setting("AGENTMON_MAX_DEPTH", 200, _depth, "100..500", "JSON nested deeper goes to quarantine")
    agent_silence_s: float = _setting(
        "AGENTMON_AGENT_SILENCE",
        86_400.0,
        _positive,
        "seconds > 0",
        "running figures of an agent silent for so long are dropped from memory, and read again when it comes back",
    )
    agent_id: str | None = _setting(
        "AGENTMON_AGENT_ID", None, _text, "text", "who a publisher speaks for, if not the project folder's name"
    )
    session_id: str | None = _setting(
        "AGENTMON_SESSION_ID", None, _text, "text", "the run a publisher's messages belong to, if not one a process"
    )
    linger_s: float = _setting(
        "AGENTMON_LINGER", 0.02, _positive, "seconds > 0", "how long a publisher gathers messages into one request"
    )
    batch_bytes: int = _setting(
        "AGENTMON_BATCH_BYTES", 128 * 1024, _count, "bytes > 0", "how much it sends to a partition in one piece"
    )
    codec: str = _setting(
        "AGENTMON_CODEC",
        "auto",
        _choice(CODECS),
        " or ".join(CODECS),
        "how messages are compressed; auto takes the best there",
    )
    spill_bytes: int = _setting(
        "AGENTMON_SPILL_BYTES",
        256 * 1024 * 1024,
        _count,
        "bytes > 0",
        "how much a publisher keeps on disk for Kafka to come back; what is newer is dropped and counted",
    )
    exit_wait_s: float = _setting(
        "AGENTMON_EXIT_WAIT",
        5.0,
        _positive,
        "seconds > 0",
        "how long a process waits at its end for a Kafka that answers",
    )
    thought_sample: float = _setting(
        "AGENTMON_THOUGHT_SAMPLE", 1.0, _fraction, "0..1", "the fraction of thoughts that is published"
    )
    max_text_chars: int = _setting(
        "AGENTMON_MAX_TEXT", 32_768, _count, "characters > 0", "longer texts are cut, with a mark that says so"
    )
    redact: bool = _setting(
        "AGENTMON_REDACT", True, _flag, "true or false", "whether secrets are taken out before they leave the process"
    )
    lake_uri: str | None = _setting(
        "AGENTMON_LAKE", None, _text, "a path or URI", "where the tables lie, if not in AGENTMON_HOME/lake"
    )
    checkpoint_uri: str | None = _setting(
        "AGENTMON_CHECKPOINTS",
        None,
        _text,
        "a path or URI",
        "where checkpoints lie, if not in AGENTMON_HOME/checkpoints",
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Settings from environment variables, else from agentmon.toml; an empty variable counts as not set.

        `env` stands for both. Raises SettingError, naming the variable and what it takes.
        """
        env = {**_from_file(), **_set(os.environ)} if env is None else _set(env)
        values: dict[str, Any] = {}
        for spec in fields(cls):
            text = env.get(spec.metadata["env"], "")
            if not text:
                continue
            try:
                values[spec.name] = spec.metadata["read"](text)
            except (ValueError, OverflowError) as error:
                shown = "***" if spec.metadata["read"] is Secret else repr(text)
                raise SettingError(
                    f"{spec.metadata['env']}={shown} can't be used: it takes {spec.metadata['takes']}"
                ) from error
        return cls(**values)

    @property
    def lake(self) -> str:
        """Where the tables lie: a path or URI, without a slash at the end."""
        return (self.lake_uri or str(self.home / "lake")).rstrip("/")

    @property
    def checkpoints(self) -> str:
        """Where the streaming job's checkpoints lie: a path or URI, without a slash at the end."""
        return (self.checkpoint_uri or str(self.home / "checkpoints")).rstrip("/")

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Pid files, addresses and status files of what `up` started."""
        return self.home / "run"

    @property
    def bootstrap(self) -> str:
        """The Kafka in use: as set, else the embedded broker that `up` noted, else localhost:9092."""
        if self.kafka_bootstrap_servers:
            return self.kafka_bootstrap_servers
        try:
            return str(json.loads((self.run / "broker.json").read_text())["bootstrap"])
        except (OSError, ValueError, KeyError):
            return DEFAULT_BOOTSTRAP


@dataclass(frozen=True)
class SettingOrigin:
    """A setting as it stands: source is environment, agentmon.toml or default."""

    variable: str
    value: Any
    source: str
    takes: str
    about: str


def config_file() -> Path:
    """Where agentmon.toml lies, if there is one: beside pyproject.toml, wherever a command is run from."""
    return project_root() / "agentmon.toml"


def sources() -> list[SettingOrigin]:
    """Every setting with its value, secrets hidden, and where it comes from. Raises SettingError."""
    settings, file = Settings.from_env(), _from_file()
    found = []
    for spec in fields(Settings):
        variable, value = spec.metadata["env"], getattr(settings, spec.name)
        source = "environment" if os.environ.get(variable) else "agentmon.toml" if variable in file else "default"
        hidden = "***" if isinstance(value, Secret) else str(value) if isinstance(value, Path) else value
        found.append(SettingOrigin(variable, hidden, source, spec.metadata["takes"], spec.metadata["about"]))
    return found


def _set(env: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in env.items() if text}


def _from_file() -> dict[str, str]:
    """What agentmon.toml says, by environment variable. Its keys are the variables, in any case."""
    path = config_file()
    if not path.exists():
        return {}
    import tomllib
    from difflib import get_close_matches

    known = {spec.metadata["env"] for spec in fields(Settings)}
    try:
        told = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    found = {}
    for key, value in told.items():
        if key.upper() not in known:
            near = get_close_matches(key.upper(), known, n=1)
            hint = f", did you mean {near[0]}?" if near else ": agentmon config lists the settings"
            raise SettingError(f"{path} has an unknown setting {key}{hint}")
        found[key.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    return found

"""One set of settings for kafka-python and Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmon.errors import SettingError
from agentmon.live.client import Connection, client_config, spark_options
from agentmon.settings import Secret, Settings


def test_plain_kafka_needs_its_address_alone() -> None:
    settings = Settings(kafka_bootstrap_servers="a:1, b:2")
    assert client_config(settings) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "agentmon",
        "security_protocol": "PLAINTEXT",
    }
    assert spark_options(settings) == {"kafka.bootstrap.servers": "a:1, b:2"}


def test_login_is_the_same_for_all(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("CA")
    settings = Settings(
        kafka_bootstrap_servers="a:1",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="me",
        kafka_sasl_password=Secret('p"a\\ss'),
        kafka_ssl_cafile=str(authority),
    )
    config = client_config(settings)
    assert (config["sasl_mechanism"], config["sasl_plain_username"]) == ("SCRAM-SHA-512", "me")
    assert config["sasl_plain_password"] == 'p"a\\ss'
    assert spark_options(settings) == {
        "kafka.bootstrap.servers": "a:1",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required"
        r' username="me" password="p\"a\\ss";',
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.location": str(authority),
    }


def test_own_certificate_goes_to_spark_as_text(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("CERT")
    (tmp_path / "k.pem").write_text("KEY")
    told = Settings(kafka_ssl_certfile=str(tmp_path / "c.pem"), kafka_ssl_keyfile=str(tmp_path / "k.pem"))
    options = spark_options(told)
    assert (options["kafka.ssl.keystore.certificate.chain"], options["kafka.ssl.keystore.key"]) == ("CERT", "KEY")
    with pytest.raises(SettingError, match="check KAFKA_SSL_CERTFILE"):
        spark_options(Settings(kafka_ssl_certfile="/none", kafka_ssl_keyfile="/none"))


@pytest.mark.parametrize(("typed", "meant"), [("ssl", "SSL"), ("sasl_plaintext", "SASL_PLAINTEXT"), ("SSL", "SSL")])
def test_a_protocol_is_taken_in_any_case(typed: str, meant: str) -> None:
    """kafka-python compares it with its own names alone: with any other it would send in plain text."""
    assert Settings.from_env({"KAFKA_SECURITY_PROTOCOL": typed}).kafka_security_protocol == meant


@pytest.mark.parametrize("setting", ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"])
@pytest.mark.parametrize("typed", ["TLS", "SSL ", "GSSAPI", "SCRAM"])
def test_an_unknown_protocol_or_login_is_refused(setting: str, typed: str) -> None:
    with pytest.raises(SettingError, match=f"{setting}='{typed}' can't be used: it takes PLAIN"):
        Settings.from_env({setting: typed})


LOGIN = {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "sesame"}


@pytest.mark.parametrize(
    ("told", "names"),
    [
        *(({"KAFKA_SECURITY_PROTOCOL": "SSL", f"KAFKA_SSL_{name}": "/none"}, f"KAFKA_SSL_{name}=/none can't be read")
          for name in ("CAFILE", "CERTFILE", "KEYFILE")),
        *(({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **LOGIN, name: ""}, f"needs {name}") for name in LOGIN),
    ],
)  # fmt: skip
def test_what_security_needs_is_asked_for_before_anything_is_tried(told: dict[str, str], names: str) -> None:
    settings = Settings.from_env({"KAFKA_BOOTSTRAP_SERVERS": "localhost:1", **told})
    for tried in (client_config, spark_options, lambda settings: Connection(settings).ask(lambda _: None)):
        with pytest.raises(SettingError, match=names):
            tried(settings)


def test_a_window_is_a_day_at_the_most() -> None:
    assert Settings.from_env({"AGENTMON_WINDOW": "86400"}).window_s == 86_400
    with pytest.raises(SettingError, match="AGENTMON_WINDOW='86401' can't be used: it takes seconds > 0, a day at the"):
        Settings.from_env({"AGENTMON_WINDOW": "86401"})

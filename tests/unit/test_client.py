"""One set of settings for kafka-python and Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmon.errors import SettingError
from agentmon.live.client import client_config, spark_options
from agentmon.settings import Secret, Settings


def test_plain_kafka_needs_its_address_alone() -> None:
    settings = Settings(kafka_bootstrap_servers="a:1, b:2")
    assert client_config(settings) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "agentmon",
        "security_protocol": "PLAINTEXT",
    }
    assert spark_options(settings) == {"kafka.bootstrap.servers": "a:1, b:2"}


def test_login_is_the_same_for_all() -> None:
    settings = Settings(
        kafka_bootstrap_servers="a:1",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="me",
        kafka_sasl_password=Secret('p"a\\ss'),
        kafka_ssl_cafile="/ca.pem",
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
        "kafka.ssl.truststore.location": "/ca.pem",
    }


def test_own_certificate_goes_to_spark_as_text(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("CERT")
    (tmp_path / "k.pem").write_text("KEY")
    told = Settings(kafka_ssl_certfile=str(tmp_path / "c.pem"), kafka_ssl_keyfile=str(tmp_path / "k.pem"))
    options = spark_options(told)
    assert (options["kafka.ssl.keystore.certificate.chain"], options["kafka.ssl.keystore.key"]) == ("CERT", "KEY")
    with pytest.raises(SettingError, match="check KAFKA_SSL_CERTFILE"):
        spark_options(Settings(kafka_ssl_certfile="/none", kafka_ssl_keyfile="/none"))

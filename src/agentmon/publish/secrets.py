"""What secrets look like. Each pattern is tried only on a text that holds one of its words.

Most patterns are those of detect-secrets 1.5.0 (Yelp, Apache-2.0; see NOTICE), a test holds them to it. The library
itself is no dependency: importing it takes half a second, in every agent.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Pattern(NamedTuple):
    """A secret's shape: what a text must contain to be looked at, and which group is taken out (0: all of it)."""

    name: str
    words: tuple[str, ...]
    regex: re.Pattern[str]
    group: int = 0


def _p(name: str, words: tuple[str, ...], regex: str, group: int = 0, flags: int = 0) -> Pattern:
    return Pattern(name, words, re.compile(regex, flags), group)


PATTERNS = (
    _p(
        "private key",
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        flags=re.DOTALL,
    ),
    _p("private key", ("PuTTY-User-Key-File",), r"PuTTY-User-Key-File-\d.*", flags=re.DOTALL),
    _p("password in a URL", ("@",), r"://[^:/?#\[\]@!$&'()*+,;=\s]{0,200}:([^/?#\[\]@\s]{1,300})@", 1),
    _p("AWS key", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T"), r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}"),
    _p(
        "AWS secret",
        ("aws", "AWS"),
        r"aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?['\"]([0-9a-zA-Z/+]{40})['\"]",
        1,
        re.IGNORECASE,
    ),
    _p("Azure storage key", ("AccountKey=",), r"AccountKey=([a-zA-Z0-9+/=]{88})", 1),
    _p("Azure signature", ("sig=",), r"[?&]sig=([A-Za-z0-9%+/=]{20,200})", 1),
    _p("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9_]{36}"),
    _p("GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,255}"),
    _p(
        "GitLab token",
        ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-"),
        r"(?:glpat|gldt|glft|glsoat|glrt)-[A-Za-z0-9_\-]{20,50}(?!\w)",
    ),
    _p("JSON web token", ("eyJ",), r"eyJ[A-Za-z0-9\-_=]{6,}\.[A-Za-z0-9\-_=]{6,}(?:\.[A-Za-z0-9\-_.+/=]*)?"),
    _p("Mailchimp key", ("-us",), r"[0-9a-z]{32}-us[0-9]{1,2}"),
    _p("npm token", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    _p("npm token", (":_authToken=",), r"//.{1,200}?/:_authToken=\s*(npm_\S{1,200}|[A-Fa-f0-9-]{36})", 1),
    _p("model provider's key", ("sk-",), r"(?<![A-Za-z0-9])sk-(?:[a-z0-9]{2,12}-){0,2}(?=[A-Za-z_\-]{0,40}\d)[A-Za-z0-9_\-]{20,200}"),
    _p("Hugging Face token", ("hf_",), r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,40}(?!\w)"),
    _p("Google key", ("AIza",), r"AIza[0-9A-Za-z_\-]{35}"),
    _p("Google token", ("ya29.",), r"ya29\.[0-9A-Za-z_\-]{20,300}"),
    _p("PyPI token", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9\-_]{70,}"),
    _p("SendGrid key", ("SG.",), r"SG\.[a-zA-Z0-9_-]{22}\.[a-zA-Z0-9_-]{43}"),
    _p("Slack token", ("xox",), r"xox(?:a|b|p|o|s|r)-(?:\d+-)+[a-z0-9]+", flags=re.IGNORECASE),
    _p("Slack hook", ("hooks.slack.com",), r"https://hooks\.slack\.com/services/(T[a-zA-Z0-9_]+/B[a-zA-Z0-9_]+/[a-zA-Z0-9_]+)", 1),
    _p("Square key", ("sq0csp-", "sq0atp-"), r"sq0(?:csp|atp)-[0-9A-Za-z\\\-_]{22,43}"),
    _p("Stripe key", ("k_live_", "k_test_"), r"(?:r|s)k_(?:live|test)_[0-9a-zA-Z]{24,}"),
    _p("Telegram token", (":AA",), r"(?<!\d)\d{8,10}:AA[0-9A-Za-z_\-]{33}(?![0-9A-Za-z_\-])"),
    _p("Twilio key", ("AC", "SK"), r"(?<![A-Za-z0-9])(?:AC|SK)[a-f0-9]{32}(?![A-Za-z0-9])"),
    _p("Discord token", ("MT", "Mz", "Nz", "Nj", "ND", "NT", "OD", "OT", "MD", "Mj"), r"(?<![\w.])[MNO][a-zA-Z\d_\-]{23,25}\.[a-zA-Z\d_\-]{6}\.[a-zA-Z\d_\-]{27,38}(?![\w.])"),
    _p("Artifactory key", ("AKC",), r"(?<![A-Za-z0-9])AKC[a-zA-Z0-9]{60,}"),
    _p("login", ("Bearer ", "bearer ", "Basic ", "basic "), r"\b[Bb](?:earer|asic) ((?=[A-Za-z._~+/\-]{0,60}[0-9=])[A-Za-z0-9._~+/\-]{16,2000}={0,2})", 1),
)  # fmt: skip

#: Words before a secret in a setting (password=…, "api_key": "…"), in lower case; longer ones before their beginnings.
NAMES = (
    "passphrase", "password", "passwd", "pwd", "client_secret", "secret_key", "secret-key", "secretkey", "secret",
    "access_token", "refresh_token", "auth_token", "token", "api_key", "api-key", "apikey", "access_key", "access-key",
    "accesskey", "private_key", "credential",
)  # fmt: skip

#: What follows such a word: the rest of its name, what sets it, and a value. With '=' or in quotes anything but
#: blanks; after a colon alone only what has a digit, as "password: required" is prose.
#: Quotes may be escaped, several times over in JSON within JSON.
_QUOTE = r"\\{0,7}[\"']"
VALUE = re.compile(
    rf"(?:_[a-z0-9_]{{1,20}})?(?:{_QUOTE})?\]?\s{{0,3}}(?:"
    rf"(?::=|=>|=)\s{{0,3}}(?:{_QUOTE}(?P<a>[^\"'\n\\]{{4,500}})\\*[\"']|(?P<b>[^\s\"',;&<>(){{}}\[\]\\]{{6,500}}))"
    rf"|:\s{{0,3}}(?:{_QUOTE}(?P<c>[^\"'\n\\]{{4,500}})\\*[\"']"
    rf"|(?P<d>(?=[^\s\"',;]{{0,60}}\d)[^\s\"',;&<>(){{}}\[\]\\]{{6,500}})))",
    re.IGNORECASE,
)

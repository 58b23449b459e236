"""What the settings say of the receivers, checked before anything is sent."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NamedTuple

from headrace.config import Fluentd
from headrace.errors import ConfigError


class Receiver(NamedTuple):
    """Where a receiver listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check(settings: Fluentd) -> None:
    """Refuse what contradicts itself.

    Raises:
        ConfigError: the message names the setting.
    """
    if settings.ack_timeout <= 0:
        raise ConfigError(f"setting 'fluentd.ack_timeout': {settings.ack_timeout:g} is no time to wait: give seconds")
    if settings.username and not settings.shared_key:
        raise ConfigError(
            "setting 'fluentd.username': Fluentd asks for names in <security> only, and that has a shared key too: "
            "set fluentd.shared_key"
        )
    if (settings.certificate is None) != (settings.key is None):
        missing = "key" if settings.key is None else "certificate"
        raise ConfigError(f"setting 'fluentd.{missing}': a certificate and its key go together: set both or neither")
    for name in ("ca", "certificate"):
        if getattr(settings, name) is not None and not settings.tls:
            raise ConfigError(f"setting 'fluentd.{name}': it says nothing without TLS: set fluentd.tls = true")


def receivers(settings: Fluentd) -> list[Receiver]:
    """The receivers, in the order they are preferred in.

    Raises:
        ConfigError: there are none, or one is not ``host:port``.
    """
    if not settings.receivers:
        raise ConfigError(
            "setting 'fluentd.receivers': none is named: set HEADRACE_FLUENTD__RECEIVERS='[\"host:24224\"]', "
            'or receivers = ["host:24224"] under [fluentd] in headrace.toml'
        )
    return [_receiver(text) for text in settings.receivers]


def tls_context(settings: Fluentd) -> ssl.SSLContext | None:
    """How TLS is spoken, with the receivers' names checked; None: it is not.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be.
    """
    if not settings.tls:
        return None
    _require_readable(settings.ca, "ca")
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except ssl.SSLError as e:
        raise ConfigError(f"setting 'fluentd.ca': {settings.ca} holds no certificates in PEM form ({e.reason})") from e
    if settings.certificate is not None and settings.key is not None:
        _require_readable(settings.certificate, "certificate")
        _require_readable(settings.key, "key")
        try:
            # A password, though an empty one: without any, OpenSSL would ask for it on the terminal.
            context.load_cert_chain(settings.certificate, settings.key, password="")
        except (ssl.SSLError, ValueError) as e:
            raise ConfigError(
                f"setting 'fluentd.key': {settings.certificate} and {settings.key} are not a certificate and its "
                f"private key, without a password, in PEM form ({e})"
            ) from e
    return context


def _receiver(text: str) -> Receiver:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/]+)):([0-9]{1,5})", text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ConfigError(
            f"setting 'fluentd.receivers': {text!r} is not host:port, as in fluentd.example.org:24224 or [::1]:24224"
        )
    return Receiver(found[1] or found[2], int(found[3]))


def _require_readable(file: Path | None, name: str) -> None:
    if file is None:
        return
    try:
        file.read_bytes()
    except OSError as e:
        raise ConfigError(f"setting 'fluentd.{name}': {file} cannot be read: {e.strerror}") from e

"""A Kafka that knows who speaks: TLS with an authority of its own, a name and password for each processor, and ACLs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headrace.config import ADMIN, CLIENTS
from headrace.embedded.ports import HOST
from headrace.embedded.state import StateFolder

BROKER = "broker"
VALID = timedelta(days=3650)
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_Key = ec.EllipticCurvePrivateKey


def prepare(state: StateFolder, principals: Sequence[str]) -> None:
    """Make the authority, the broker's certificate and everybody's credentials, where they are not there yet.

    The authority's own key is not kept: nothing else is ever signed with it.
    """
    folder = state.secure
    if (folder / "ready").exists():
        return _give_passwords(folder, principals)
    (folder / CLIENTS).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    authority, key = _certificate("headrace's own authority", None, None)
    broker, broker_key = _certificate(HOST, authority, key)
    _write(folder / "ca.pem", _pem(authority))
    _write(folder / "broker.pem", _private(broker_key) + _pem(broker) + _pem(authority))
    _give_passwords(folder, principals)
    (folder / "ready").touch()
    return None


def _give_passwords(folder: Path, principals: Sequence[str]) -> None:
    """Make the credentials of those who have none yet."""
    for principal in (BROKER, *principals):
        file = folder / CLIENTS / f"{principal}.json"
        if file.exists():
            continue
        properties = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": principal,
            "sasl.password": secrets.token_urlsafe(24),
            "ssl.ca.location": str(folder / "ca.pem"),
        }
        _write(file, json.dumps(properties).encode())


def credentials(state: StateFolder, principal: str) -> dict[str, str]:
    """The librdkafka properties with which a principal speaks to Kafka."""
    found: dict[str, str] = json.loads((state.secure / CLIENTS / f"{principal}.json").read_text())
    return found


def broker_settings(state: StateFolder, principals: Sequence[str]) -> dict[str, str]:
    """Kafka's own settings for all this. Every listener is closed to those without a password, the controller's too."""
    passwords = {p: credentials(state, p)["sasl.password"] for p in (BROKER, *principals)}
    known = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
    itself = f'username="{BROKER}" password="{passwords[BROKER]}"'
    return {
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SASL_SSL",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{_PLAIN} required {itself} {known};",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": f"{_PLAIN} required {itself} "
        f'user_{BROKER}="{passwords[BROKER]}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(state.secure / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(state.secure / "ca.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{BROKER};User:{ADMIN}",
    }


def _certificate(name: str, issuer: x509.Certificate | None, issuer_key: _Key | None) -> tuple[x509.Certificate, _Key]:
    """A certificate and its key; without an issuer, one that may issue others."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.IPAddress(ip_address(HOST)), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _private(key: _Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(file: Path, data: bytes) -> None:
    """Write a file that nobody else may read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(data)

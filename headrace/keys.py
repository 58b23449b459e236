"""Keys that models are signed with: elliptic curve (P-256), as PEM files, a private one and its public one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from headrace.errors import ConfigError


def new_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key pair; gives the files of the private and the public key.

    Raises:
        ConfigError: a key of that name is there already.
    """
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    for file in (private, public):
        if file.exists():
            raise ConfigError(f"{file} is there already: give the key another name, or move that one away")
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def fingerprint(public: str) -> str:
    """Sixteen hex digits of the sha-256 of a public key (PEM text), whatever the white space around it.

    Raises:
        ConfigError: it is no public key.
    """
    try:
        der = load_pem_public_key(public.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            "this is no public key in PEM form: give the .pub file that `headrace keys new` made"
        ) from None
    return hashlib.sha256(der).hexdigest()[:16]

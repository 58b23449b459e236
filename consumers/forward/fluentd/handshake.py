"""Who we are and who they are: the handshake of the Fluentd Forward Protocol Specification v1, without a socket."""

from __future__ import annotations

import hmac
import secrets
import socket
from dataclasses import dataclass, field
from hashlib import sha512
from typing import NamedTuple

from headrace.config import Fluentd
from headrace.errors import Unavailable


@dataclass(frozen=True)
class Identity:
    """What proves to a receiver who we are.

    Attributes:
        name: our own, as its log shows it. No receiver has it: one of our own name could send our proof back as its.
    """

    shared_key: str
    username: str
    password: str
    name: str = field(default_factory=lambda: f"headrace@{socket.gethostname()}")

    @classmethod
    def of(cls, settings: Fluentd) -> Identity | None:
        """As the settings say; None: the receivers do not ask."""
        if not settings.shared_key:
            return None
        return cls(settings.shared_key, settings.username, settings.password)


class Hello(NamedTuple):
    """What a receiver's HELO says."""

    nonce: bytes
    salt: bytes
    """Of the digest of a password; empty: it asks for no user."""
    keepalive: bool
    """Whether it takes more than one message over a connection."""


def read_hello(answer: object) -> Hello:
    """A receiver's HELO.

    Raises:
        Unavailable: it is none.
    """
    match answer:
        case ["HELO", {**options}]:
            keepalive = options.get("keepalive", True) is not False
            return Hello(_bytes(options.get("nonce")), _bytes(options.get("auth")), keepalive)
    raise Unavailable("it began with what is no HELO: is this the port of a Fluentd with <security>?")


def ping(identity: Identity, hello: Hello, salt: str) -> list[str]:
    """The PING that answers a HELO; ``salt`` is ours, new for every connection.

    Raises:
        Unavailable: the receiver asks for a user and none was given.
    """
    user = ["", ""]
    if hello.salt:
        if not identity.username:
            raise Unavailable("it asks for a user: set fluentd.username and fluentd.password to one of its <user>")
        digest = _digest(hello.salt, identity.username.encode(), identity.password.encode())
        user = [identity.username, digest]
    return ["PING", identity.name, salt, _proof(identity, hello, salt, identity.name), *user]


def check_pong(answer: object, identity: Identity, hello: Hello, salt: str) -> None:
    """Read the receiver's PONG, and see that it knows the shared key too.

    Raises:
        Unavailable: it refuses us, or does not know the key.
    """
    match answer:
        case ["PONG", True, _, str(name), str(proof)]:
            theirs = _proof(identity, hello, salt, name)
            known = hmac.compare_digest(theirs.encode(), proof.encode(errors="surrogateescape"))
            if name == identity.name or not known:
                raise Unavailable(
                    "it does not know the shared key itself: is fluentd.shared_key that of its <security>?"
                )
        case ["PONG", False, reason, *_]:
            raise Unavailable(
                f"it refused us, saying {reason!r}: check fluentd.shared_key, fluentd.username and fluentd.password "
                "against its <security>"
            )
        case _:
            raise Unavailable("it answered our PING with what is no PONG")


def new_salt() -> str:
    """16 random bytes in hexadecimal, as Fluentd's own sender has them."""
    return secrets.token_hex(16)


def _proof(identity: Identity, hello: Hello, salt: str, name: str) -> str:
    encoded = name.encode(errors="surrogateescape")
    return _digest(salt.encode(), encoded, hello.nonce, identity.shared_key.encode())


def _digest(*parts: bytes) -> str:
    return sha512(b"".join(parts)).hexdigest()


def _bytes(value: object) -> bytes:
    """Random bytes come as MessagePack's binary, or, from older senders, as a string that is no text."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    return value if isinstance(value, bytes) else b""

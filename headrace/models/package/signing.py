"""Signatures on models: OpenSSF model-signing, by key, over the ONNX bytes and the manifest together.

What is signed is a folder of two files, ``model.onnx`` and ``manifest.json``, which any holder of the public key can
check with the ``model_signing`` command alone. The signature itself travels in the manifest.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headrace.config import Settings
from headrace.errors import ConfigError, ModelRejected
from headrace.keys import fingerprint
from headrace.models.package.package import Package

MODEL, ONNX, MANIFEST, SIGNATURE = "model", "model.onnx", "manifest.json", "model.sig"


@dataclass(frozen=True)
class Trust:
    """Whose models are used.

    Attributes:
        keys: public keys (PEM text) whose signatures count.
        revoked: public keys whose signatures count no longer.
        unsigned: whether a model without a signature is used too.
        operators: that models may use beside the usual ones, as ``models_allow`` names them.
    """

    keys: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    unsigned: bool = False
    operators: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Trust:
        """What the settings say.

        Raises:
            ConfigError: a key file is missing or is no public key.
        """
        keys, revoked = (tuple(map(_public, files)) for files in (settings.trusted_keys, settings.revoked_keys))
        return cls(keys, revoked, settings.unsigned_models == "accept", tuple(settings.models_allow))


def lay_out(package: Package, folder: Path) -> Path:
    """Write the files that are signed, and the signature beside them; gives the folder that is signed."""
    signed = folder / MODEL
    signed.mkdir(parents=True)
    (signed / ONNX).write_bytes(package.onnx)
    (signed / MANIFEST).write_text(_stated(package))
    if package.manifest.signature is not None:
        (folder / SIGNATURE).write_bytes(package.manifest.signature)
    return signed


def sign(package: Package, private_key: Path) -> Package:
    """The same package, signed.

    Raises:
        ConfigError: there is no such key.
    """
    from model_signing.signing import Config

    if not private_key.is_file():
        raise ConfigError(f"there is no signing key {private_key}: make one with `headrace keys new`")
    with tempfile.TemporaryDirectory(prefix="headrace-sign-") as name:
        folder = Path(name)
        signed = lay_out(package, folder)
        try:
            signer = Config()  # type: ignore[no-untyped-call]
            signer.use_elliptic_key_signer(private_key=private_key).sign(signed, folder / SIGNATURE)
        except (ValueError, TypeError) as e:
            raise ConfigError(f"{private_key} cannot sign: {e}") from None
        signature = (folder / SIGNATURE).read_bytes()
    return Package(package.manifest.model_copy(update={"signature": signature}), package.onnx)


def check(package: Package, trust: Trust) -> str:
    """Check a package's signature; gives the fingerprint of the key it is by, or nothing where it needs none.

    Raises:
        ModelRejected: it is unsigned, or by a key that is not trusted or is revoked, or it is of other bytes.
    """
    short = package.manifest.model_id[:12]
    if package.manifest.signature is None:
        if trust.unsigned:
            return ""
        raise ModelRejected(
            f"model {short}: it is not signed. Sign models (HEADRACE_SIGNING_KEY for retrain), or accept unsigned ones "
            "with HEADRACE_UNSIGNED_MODELS=accept"
        )
    with tempfile.TemporaryDirectory(prefix="headrace-check-") as name:
        folder = Path(name)
        signed = lay_out(package, folder)
        for key in trust.revoked:
            if _is_by(key, signed, folder):
                raise ModelRejected(f"model {short}: it is signed by key {fingerprint(key)}, which is revoked")
        for key in trust.keys:
            if _is_by(key, signed, folder):
                return fingerprint(key)
    known = ", ".join(map(fingerprint, trust.keys)) or "none is"
    raise ModelRejected(f"model {short}: its signature is by no key that is trusted ({known}), or it is of other bytes")


def _is_by(public_key: str, signed: Path, folder: Path) -> bool:
    from model_signing.verifying import Config

    key = folder / "key.pub"
    key.write_text(public_key)
    try:
        verifier = Config()  # type: ignore[no-untyped-call]
        verifier.use_elliptic_key_verifier(public_key=key).verify(signed, folder / SIGNATURE)
    except Exception:  # noqa: BLE001 - a signature of any bytes whatever: it raises what it meets in them
        return False
    return True


def _stated(package: Package) -> str:
    """The manifest as it is signed: JSON with sorted keys, without the signature, where the chunks are (known after
    signing; their digests are signed) and what stands at its default, so that a field added later changes nothing."""
    stated = package.manifest.model_dump(mode="json", exclude={"signature", "chunks_from"}, exclude_defaults=True)
    return json.dumps(stated, sort_keys=True, indent=1)


def _public(file: Path) -> str:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"key {file} cannot be read: {e}") from None
    try:
        fingerprint(text)
    except ConfigError as e:
        raise ConfigError(f"{file}: {e}") from None
    return text

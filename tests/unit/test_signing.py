"""Signatures: whose models are used, and that a stranger can check them with model-signing's own command."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.errors import ConfigError, ModelRejected
from headrace.keys import fingerprint, new_key
from headrace.models.package.package import Package
from headrace.models.package.signing import MODEL, SIGNATURE, Trust, check, lay_out, sign
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy


@pytest.fixture
def package() -> Package:
    return model_package(toy("signed"), 3)


def public(private: Path) -> str:
    return private.with_suffix(".pub").read_text()


def test_a_signed_model_is_by_its_key_and_no_other(package: Package, tmp_path: Path) -> None:
    mine, other = new_key(tmp_path, "mine")[0], new_key(tmp_path, "other")[0]
    signed = sign(package, mine)
    assert check(signed, Trust((public(other), public(mine)))) == fingerprint(public(mine))
    with pytest.raises(ModelRejected, match=f"no key that is trusted .{fingerprint(public(other))}."):
        check(signed, Trust((public(other),)))
    with pytest.raises(ModelRejected, match=f"key {fingerprint(public(mine))}, which is revoked"):
        check(signed, Trust((public(mine),), revoked=(public(mine),)))


def test_an_unsigned_model_is_used_only_where_the_settings_say_so(package: Package) -> None:
    with pytest.raises(ModelRejected, match="it is not signed"):
        check(package, Trust())
    assert check(package, Trust(unsigned=True)) == ""


def test_what_is_signed_cannot_be_changed_afterwards(package: Package, tmp_path: Path) -> None:
    key = new_key(tmp_path, "key")[0]
    signed, trust = sign(package, key), Trust((public(key),))
    changes = (
        {"metrics": {"auc": 1.0}},
        {"features": ["seen_10m", "price"]},
        {"sort_by": "price"},
        {"batching": "any"},
    )
    for change in changes:
        with pytest.raises(ModelRejected, match="or it is of other bytes"):
            check(Package(signed.manifest.model_copy(update=change), signed.onnx), trust)
    with pytest.raises(ModelRejected, match="or it is of other bytes"):
        check(Package(signed.manifest, signed.onnx + b"\x00"), trust)


def test_a_field_added_to_manifests_later_breaks_no_signature(package: Package, tmp_path: Path) -> None:
    key = new_key(tmp_path, "key")[0]
    lay_out(package, tmp_path / "out")
    stated = json.loads((tmp_path / "out" / MODEL / "manifest.json").read_text())
    assert "sort_by" not in stated  # it stands at its default, as a field does that this manifest never heard of
    assert check(sign(package, key), Trust((public(key),)))


@pytest.mark.slow
def test_a_stranger_can_check_a_model_with_the_model_signing_command(package: Package, tmp_path: Path) -> None:
    key = new_key(tmp_path, "key")[0]
    folder = lay_out(sign(package, key), tmp_path / "out")
    args = ["verify", "key", str(folder), "--signature", str(tmp_path / "out" / SIGNATURE)]
    cmd = [str(Path(sys.executable).parent / "model_signing"), *args, "--public_key", str(key.with_suffix(".pub"))]
    assert subprocess.run(cmd, capture_output=True, timeout=60, check=False).returncode == 0
    (folder / "model.onnx").write_bytes(package.onnx[:-1])
    assert subprocess.run(cmd, capture_output=True, timeout=60, check=False).returncode != 0


def test_private_keys_are_for_nobody_else_and_never_overwritten(tmp_path: Path) -> None:
    private, _ = new_key(tmp_path / "keys", "key")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="is there already"):
        new_key(tmp_path / "keys", "key")


def test_settings_name_keys_by_their_files(tmp_path: Path) -> None:
    _, known = new_key(tmp_path, "known")
    assert Trust.of(Settings(trusted_keys=[known])) == Trust((known.read_text(),))
    (tmp_path / "none.pub").write_text("nothing")
    with pytest.raises(ConfigError, match=r"none\.pub: this is no public key in PEM form"):
        Trust.of(Settings(trusted_keys=[tmp_path / "none.pub"]))
    with pytest.raises(ConfigError, match=r"gone\.pub cannot be read"):
        Trust.of(Settings(revoked_keys=[tmp_path / "gone.pub"]))
    with pytest.raises(ConfigError, match="there is no signing key"):
        sign(model_package(toy("signed"), 3), tmp_path / "gone.pem")

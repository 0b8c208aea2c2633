"""Seal: what is kept is readable with the keys of the settings alone, and keys stay unseen."""

import base64

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from tierflow.errors import ConfigError
from tierflow.sealing import Seal, WrongSealError, open_seal
from tierflow.settings import CacheSettings

OLD, NEW = (base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2))


def test_keys_are_rotated_by_putting_the_new_one_first() -> None:
    before, during, after = Seal([OLD]), Seal([NEW, OLD]), Seal([NEW])
    assert during.open(before.seal("text")) == "text"
    assert after.open(during.seal("text")) == "text"
    with pytest.raises(WrongSealError):
        after.open(before.seal("text"))


@pytest.mark.parametrize("text", ["", "no token", "ü", "gAAAA", "\ud800"])
def test_what_was_never_sealed_is_not_opened(text: str) -> None:
    with pytest.raises(WrongSealError) as caught:
        Seal([NEW]).open(text)
    assert not text or text not in str(caught.value)


def test_the_settings_name_the_keys_newest_first() -> None:
    assert open_seal(CacheSettings()) is None
    seal = open_seal(CacheSettings(encryption_keys=SecretStr(f" {NEW},{OLD} ")))
    assert seal is not None
    assert Fernet(NEW).decrypt(seal.seal("text")) == b"text"
    assert seal.open(Seal([OLD]).seal("text")) == "text"


@pytest.mark.parametrize("keys", ["", "wrong-key", f"{NEW},wrong-key", f"{NEW},", NEW[:-4], "ü"])
def test_a_wrong_key_is_refused_with_the_remedy_and_never_shown(keys: str) -> None:
    with pytest.raises(ConfigError, match=r"Fernet\.generate_key\(\)\.decode\(\)") as caught:
        open_seal(CacheSettings(encryption_keys=SecretStr(keys)))
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert NEW[:8] not in shown
    assert "wrong-key" not in shown

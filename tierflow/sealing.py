"""Ground: what is kept is encrypted, with keys of the settings. Holds no file and no store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import ConfigError
from .settings import CacheSettings

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_NEW_KEY = (
    'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)


class WrongSealError(ValueError):
    """A text was not sealed with any of the keys, or was changed since."""


class Seal:
    """Encrypts with the newest key and opens with any: AES-128-CBC with HMAC-SHA256 (Fernet).

    `keys`: Fernet keys, the newest first. Raises ConfigError for one that is none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.fernet import MultiFernet  # noqa: PLC0415  # an extra, and 30 ms

        self._fernet = MultiFernet([_fernet(key, number) for number, key in enumerate(keys, 1)])

    def seal(self, text: str) -> str:
        """Return the text encrypted, as ASCII of about 4/3 the length."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def open(self, text: str) -> str:
        """Return what was sealed. Raises WrongSealError."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  # an extra, and 30 ms

        try:
            return self._fernet.decrypt(text.encode()).decode()
        except (InvalidToken, ValueError):
            # The cause may quote the text.
            raise WrongSealError("sealed with a key that is not in force, or changed") from None


def open_seal(settings: CacheSettings) -> Seal | None:
    """Return the seal of the settings, None where nothing is encrypted.

    Raises ConfigError for a wrong key, and ImportError without the extra `encryption`.
    """
    if settings.encryption_keys is None:
        return None
    keys = [key.strip() for key in settings.encryption_keys.get_secret_value().split(",")]
    try:
        return Seal(keys)
    except ModuleNotFoundError as exc:
        raise ImportError(
            'cache.encryption_keys needs cryptography: pip install "tierflow[encryption]"'
        ) from exc


def _fernet(key: str, number: int) -> "Fernet":
    from cryptography.fernet import Fernet  # noqa: PLC0415  # an extra, and 30 ms

    try:
        return Fernet(key)
    except ValueError:
        # Neither the key nor the cause, which may quote it, may be seen.
        raise ConfigError(
            f"Key {number} of cache.encryption_keys is no Fernet key. Make one with {_NEW_KEY} and "
            "put it first; the keys before it stay behind it, with commas between."
        ) from None

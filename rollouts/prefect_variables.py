"""Prefect variables: created once, read and deleted, never changed. Knows no rollout.

A server keeps a name once, so of two who create it one is told that it was there before. It has no
other compare-and-set: an update goes over whatever was written meanwhile.
"""

import json
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

from ..errors import StoreError

MOST_BYTES = 4900
"""Of a value. The server takes 5,000 and may write numbers longer than we do."""

_TIMEOUT_S = 10.0
_RETRIES = 2
"""Prefect itself would go on for minutes, while the steps of a flow wait to be told their arm."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A name and its value. `created`: when, by the server's clock."""

    name: str
    value: Any
    created: datetime


@dataclass(frozen=True, slots=True)
class _Opened:
    """A client of this process: its connections cannot be shared with a child."""

    client: SyncPrefectClient
    settings: SettingsContext
    process: int


class Variables:
    """The Variables of the Prefect server in force; opened on first use. Raises StoreError."""

    def __init__(self) -> None:
        self._opened: _Opened | None = None
        self._opening = threading.Lock()

    def create(self, name: str, value: dict[str, Any]) -> bool:
        """Keep a value. Return False where the name is taken, be it by a try of ours."""
        with self._client() as client:
            try:
                client.create_variable(VariableCreate(name=name, value=value))
            except ObjectAlreadyExists:
                return False
            return True

    def read(self, name: str) -> Any | None:
        """Return the value of a name, None without one."""
        with self._client() as client:
            found = client.read_variable_by_name(name)
        return None if found is None else found.value

    def find(self, prefix: str, *, newest: bool, skip: int = 0) -> Iterator[Variable]:
        """Go through the names with a prefix, without the first `skip`, in order.

        `newest`: the last ones come first. One that is created meanwhile may make another come
        twice.
        """
        many = None
        while True:
            page = self._page(prefix, newest=newest, skip=skip, many=many)
            # The server looks for the prefix anywhere in a name.
            yield from (each for each in page if each.name.startswith(prefix))
            if not page:
                return
            skip += len(page)

    def last(self, prefix: str) -> Variable | None:
        """Return the last name with a prefix, None without one."""
        page, skip = self._page(prefix, newest=True, skip=0, many=1), 0
        while page and not page[0].name.startswith(prefix):
            skip += 1
            page = self._page(prefix, newest=True, skip=skip, many=1)
        return page[0] if page else None

    def delete(self, name: str) -> None:
        """Delete a name, if it is there."""
        with self._client() as client:
            try:
                client.delete_variable_by_name(name)
            except ObjectNotFound:
                return

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.client.__exit__(None, None, None)

    def _page(self, prefix: str, *, newest: bool, skip: int, many: int | None) -> list[Variable]:
        wanted = {
            "variables": {"name": {"like_": prefix}},
            "sort": "NAME_DESC" if newest else "NAME_ASC",
            "offset": skip,
            # Without it, as many as the server likes to give at once.
            **({} if many is None else {"limit": many}),
        }
        with self._client() as client:
            found = client.request("POST", "/variables/filter", json=wanted).json()
            return [
                Variable(each["name"], each["value"], datetime.fromisoformat(each["created"]))
                for each in found
            ]

    @contextmanager
    def _client(self) -> Generator[SyncPrefectClient]:
        try:
            opened = self._open()
            with opened.settings.model_copy():
                yield opened.client
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            PrefectException,
            OSError,
            # Of a server that does not start, and of a reply that is none of Prefect's.
            RuntimeError,
            ValueError,
            KeyError,
        ) as exc:
            # Their own words quote the URL, which may hold a password, and what was sent.
            raise StoreError(
                f"The rollout store, Prefect's Variables, cannot be used: {_reason_of(exc)}. Start "
                "the Prefect server, or correct PREFECT_API_URL and the key; the next call tries "
                "again."
            ) from None

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            with self._opening:
                opened = self._opened
                if opened is None or opened.process != os.getpid():
                    opened = self._opened = _open()
        return opened


def size_of(value: object) -> int:
    """Return how many bytes the server counts for a value."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _open() -> _Opened:
    # With a timeout of its own it is not the flow run's client, which is closed at its end.
    client = get_client(httpx_settings={"timeout": _TIMEOUT_S}, sync_client=True)
    outer = get_settings_context()
    # Made once: it takes 35 ms.
    inner = outer.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: _RETRIES})
    settings = outer.model_copy(update={"settings": inner})
    return _Opened(client.__enter__(), settings, os.getpid())


def _reason_of(exc: BaseException) -> str:
    if isinstance(exc, httpx.HTTPStatusError):
        return f"it answered with HTTP {exc.response.status_code}"
    return type(exc).__name__

"""Pins: what root flow runs were told of rollouts, kept in their labels in Prefect.

Retries, subflows and other machines find it there. Where Prefect cannot be asked, this process
keeps to what it said itself.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from ..errors import StoreError
from .enrolment import Pin

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

LABEL = "tierflow.rollout."
"""Before a rollout's name: the label of a flow run that has its pin."""

_MOST_RUNS = 10_000
_LOG = logging.getLogger("tierflow")


class Labels(Protocol):
    """Flow runs as pins need them. All methods raise StoreError."""

    def root_of(self, flow_run_id: str) -> str:
        """Return the flow run that all others above this one were called from."""
        ...

    def get(self, flow_run_id: str) -> Mapping[str, object]:
        """Return the labels of a flow run."""
        ...

    def put(self, flow_run_id: str, name: str, value: str) -> None:
        """Write one label of a flow run."""
        ...


class Pins:
    """Pins by flow run, with a memory. Thread-safe."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._roots: OrderedDict[str, str] = OrderedDict()
        self._pins: OrderedDict[tuple[str, str], Pin] = OrderedDict()
        self._lock = threading.Lock()

    def pin(self, rollout: str, now: Pin, flow_run_id: str) -> tuple[str, Pin]:
        """Return the root of a flow run and its pin; `now` becomes it if there is none yet."""
        with self._lock:
            root = self._roots.get(flow_run_id)
            pin = self._pins.get((root, rollout)) if root is not None else None
            if root is not None and pin is not None:
                return root, pin
            # Within the lock: of the calls of one fan-out, one asks and the others have its answer.
            root, pin = self._settled(rollout, now, root, flow_run_id)
            _keep(self._roots, flow_run_id, root)
            _keep(self._pins, (root, rollout), pin)
            return root, pin

    def _settled(
        self, rollout: str, now: Pin, root: str | None, flow_run_id: str
    ) -> tuple[str, Pin]:
        name = LABEL + rollout
        try:
            root = root or self._labels.root_of(flow_run_id)
            told = Pin.read(str(self._labels.get(root).get(name, "")))
            if told is None:
                self._labels.put(root, name, str(now))
                told = now
        except StoreError as error:
            # An answer does not wait for a server to be up.
            _LOG.warning("%s Its arm in %r is pinned in this process alone.", error, rollout)
            return root or flow_run_id, now
        return root, told


class PrefectLabels:
    """Labels in Prefect's API."""

    def root_of(self, flow_run_id: str) -> str:
        """See Labels."""
        with _asking_of(flow_run_id) as (client, run_id):
            run = client.read_flow_run(run_id)
            while run.parent_task_run_id is not None:
                above = client.read_task_run(run.parent_task_run_id).flow_run_id
                if above is None:
                    break
                run = client.read_flow_run(above)
            return str(run.id)

    def get(self, flow_run_id: str) -> Mapping[str, object]:
        """See Labels."""
        with _asking_of(flow_run_id) as (client, run_id):
            return client.read_flow_run(run_id).labels

    def put(self, flow_run_id: str, name: str, value: str) -> None:
        """See Labels."""
        with _asking_of(flow_run_id) as (client, run_id):
            client.update_flow_run_labels(run_id, {name: value})


@contextmanager
def _asking_of(flow_run_id: str) -> Generator[tuple["SyncPrefectClient", UUID]]:
    from httpx import HTTPError  # noqa: PLC0415  # prefect costs a second to import
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.exceptions import PrefectException  # noqa: PLC0415

    try:
        run_id = UUID(flow_run_id)
        with get_client(sync_client=True) as client:
            yield client, run_id
    # A server that cannot be reached is a RuntimeError, an id that is none a ValueError.
    except (HTTPError, PrefectException, RuntimeError, ValueError) as exc:
        raise StoreError(
            f"Prefect's API cannot be asked for flow run {flow_run_id} ({type(exc).__name__}). "
            "Look at PREFECT_API_URL, and whether the server is up."
        ) from exc


def _keep(held: OrderedDict[Any, Any], key: object, value: object) -> None:
    held[key] = value
    while len(held) > _MOST_RUNS:
        held.popitem(last=False)

"""Batch progress: how far a long batch is, as an artifact in the Prefect UI that moves."""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException
from slugify import slugify

_LOG = logging.getLogger("tierflow")
_EVERY_S = 2.0
"""A batch that is shorter than this shows no progress."""


@contextmanager
def progress(
    step: str, total: int, at_once: Callable[[], int | None] = lambda: None
) -> Generator[Callable[[bool], None]]:
    """Show a batch's progress while the block runs.

    `at_once`: returns how many calls may be under way now, None where that is not known. Yields a
    function to call at each item's end, with whether it has a result. Outside of a task run, or
    where Prefect's API cannot be reached, nothing is shown.
    """
    context = TaskRunContext.get()
    if context is None:
        yield lambda _: None
        return
    bar = _Bar(step, total, at_once, context.task_run.flow_run_id, context.task_run.id)
    watching = threading.Thread(target=bar.watch, name="tierflow-progress", daemon=True)
    watching.start()
    try:
        yield bar.one_more
    finally:
        bar.over.set()
        watching.join()


class _Bar:
    """The artifact of one batch. Only the thread that watches speaks with the server."""

    def __init__(
        self,
        step: str,
        total: int,
        at_once: Callable[[], int | None],
        flow_run_id: UUID | None,
        task_run_id: UUID | None,
    ) -> None:
        self._at_once = at_once
        self._step, self._total, self._done, self._failed = step, total, 0, 0
        self._flow_run_id, self._task_run_id = flow_run_id, task_run_id
        self._artifact: UUID | None = None
        self._lock = threading.Lock()
        self.over = threading.Event()

    def one_more(self, is_well: bool) -> None:
        with self._lock:
            self._done += 1
            self._failed += not is_well

    def watch(self) -> None:
        """Show the progress every now and then until it is over."""
        if self.over.wait(_EVERY_S):
            return
        try:
            with get_client(sync_client=True) as client:
                is_over = False
                while not is_over:
                    self._show(client)
                    is_over = self.over.wait(_EVERY_S)
                self._show(client)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            _LOG.warning("The progress of %s cannot be shown: %s", self._step, error)

    def _show(self, client: SyncPrefectClient) -> None:
        share = round(100 * self._done / max(1, self._total), 1)
        failed = f", {self._failed:,} of them failed" if self._failed else ""
        places = self._at_once() if self._done < self._total else None
        at_once = f"; {places:,} calls at once" if places else ""
        said: dict[str, Any] = {
            "data": share,
            "description": f"{self._step}: {self._done:,} of {self._total:,} items{failed}"
            + at_once,
        }
        if self._artifact is None:
            created = client.create_artifact(
                ArtifactCreate(
                    key=f"tierflow-{slugify(self._step)}-batch",
                    type="progress",
                    flow_run_id=self._flow_run_id,
                    task_run_id=self._task_run_id,
                    **said,
                )
            )
            self._artifact = created.id
        else:
            client.update_artifact(self._artifact, ArtifactUpdate(**said))

"""Opening: a validation as the settings have it: pools, recorded requests, and endpoints."""

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...cassette import RecordedRequest, read_cassette
from ...errors import ConfigError
from ...settings import CONFIG_NAME, Settings
from ..load import LoadClient
from .decision import Decision
from .policy import Policy
from .replaying import Replaying
from .validating import Question, decisions, policy_of

VALID_DAYS = 30.0
"""So long a policy is obeyed: by then engines, models and the workload may be others."""


@dataclass
class Validation:
    """One question to the pools of these settings. Raises ConfigError for what is not there.

    `requests`: the file of recorded requests, None for `[cassette] path`.
    """

    settings: Settings
    question: Question
    against: tuple[str, ...]
    requests: Path | None = None
    setup: str = ""

    def __post_init__(self) -> None:
        if not self.against or self.question.pool in self.against:
            raise ConfigError(
                f"{self.question.pool} is to be compared with other pools. Name one or more that "
                "serve the same model another way."
            )
        for pool in (self.question.pool, *self.against):
            if self.settings.pool(pool).affinity == "gateway":
                raise ConfigError(
                    f"{pool} is behind a gateway, which decides who serves. Name pools of replicas."
                )
        if unknown := self.question.lossy - frozenset(self.against):
            raise ConfigError(f"{', '.join(sorted(unknown))} is not compared, so it is not lossy.")

    @cached_property
    def recorded(self) -> Sequence[RecordedRequest]:
        """The requests to replay, read once."""
        path = self.requests or self.settings.cassette.path
        if path is None:
            raise ConfigError(
                f"No requests are recorded. Set [cassette] path in {CONFIG_NAME}, run the steps "
                "that are to be replayed, and try again."
            )
        return list(read_cassette(path))

    @property
    def blocks(self) -> int:
        """How many blocks are served at least."""
        return self.question.blocks(self.recorded, len(self.against))

    async def run(
        self,
        served: Callable[[], None] = lambda: None,
        decided: Callable[[Decision], None] = lambda _: None,
    ) -> list[Decision]:
        """Replay and decide. `decided` is told of each slice, so that nothing is lost midway.

        Raises ConfigError, or EngineUnreadableError where an endpoint fails.
        """
        rows, found = self.recorded, list[Decision]()
        # A wrong question fails before any engine is asked.
        self.question.slices(rows)
        async with self._endpoints() as (plain, *others):
            named = dict(zip(self.against, others, strict=True))
            self.setup = "; ".join(
                f"{pool}: {each.client.setup}"
                for pool, each in zip(
                    (self.question.pool, *self.against), (plain, *others), strict=True
                )
            )
            async for decision in decisions(self.question, rows, plain, named, served):
                found.append(decision)
                decided(decision)
        return found

    def policy(
        self, found: Sequence[Decision], *, now: float, valid_days: float = VALID_DAYS
    ) -> Policy:
        """Return the policy that comes of what was decided. `now`: Unix seconds."""
        return policy_of(self.question, found, now=now, valid_days=valid_days, setup=self.setup)

    @asynccontextmanager
    async def _endpoints(self) -> AsyncGenerator[list[Replaying]]:
        async with AsyncExitStack() as stack:
            found: list[Replaying] = []
            # A step's requests name the plain pool's model, whoever serves them.
            asked = self.settings.deployment_of(self.question.pool)
            model = asked.model.partition("/")[2] if asked else None
            key = os.environ.get(asked.api_key_env) if asked and asked.api_key_env else None
            for pool in (self.question.pool, *self.against):
                base = self.settings.pools[pool].address
                connecting = LoadClient.connected(base, model=model, api_key=key)
                client = await stack.enter_async_context(connecting)
                found.append(Replaying(client, asked.params if asked else {}))
            yield found

"""Ground: the one tree of errors. Vendor errors are mapped into it once (routing/vendor.py).

TierflowError
├── ConfigError                  tierflow.toml or TIERFLOW_* is wrong; raised before any call
│   ├── ConfigNotFoundError      TIERFLOW_CONFIG names a file that does not exist
│   ├── UnknownTierError         a step or a cascade names a tier the catalogue lacks
│   ├── MissingKeyError          no deployment of a tier has its API key
│   └── PolicyError              [policy] does not allow a tier, or none of its deployments
├── PromptError                  the prompt function returned, or a file holds, what is no prompt
│   └── UnknownPromptError       no prompt of that name, or no such version or alias of it
├── AttemptError                 one call to one deployment failed
│   ├── AttemptTimeoutError      no answer (or no next chunk) within timeout_s
│   ├── RateLimitedError         HTTP 429
│   ├── ProviderDownError        HTTP 5xx, connection refused or broken
│   ├── DeniedError              HTTP 401, 403, 404: key or model name is not accepted
│   ├── ContextLengthError       the request is longer than the model's window
│   └── RejectedError            any other 4xx: the request itself is wrong everywhere
├── AllDeploymentsFailedError    every deployment of every tier in the chain failed
│   └── DeadlineExceededError    deadline_s left no time to ask (again)
├── BudgetExhaustedError         the next call would break a budget, so it is not made
├── UnparseableReplyError        no tier's reply fits the step's result type
├── EngineStartError             a self-hosted engine does not start, or ends before it answers
├── MeasuringError               an engine under a load did not do what measuring needs
├── EngineUnreadableError        what a self-hosted engine tells of itself cannot be read
├── SimulationError              a trace, cost model or profile that cannot be simulated
├── RecordingNotFoundError       replay/… has no recorded answer for this request
├── BatchError                   some items of a batch have no answer
├── ReviewError                  what a person reviews is gone, or somebody was faster
├── EvaluationError              an evaluation is of no known answer, or says nothing that is kept
├── RolloutError                 a rollout cannot be changed that way
└── StoreError                   the cache or the ledger cannot be used
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any


class TierflowError(Exception):
    """Root of every error that tierflow raises on purpose."""


class ConfigError(TierflowError):
    """The configuration is wrong; the message names file, field and remedy."""


class ConfigNotFoundError(ConfigError):
    """`TIERFLOW_CONFIG` names a file that does not exist."""


class UnknownTierError(ConfigError):
    """A tier name is not in the catalogue."""


class MissingKeyError(ConfigError):
    """No deployment of a tier has its API key in the environment."""


class PolicyError(ConfigError):
    """`[policy]` does not allow a tier for a step, or none of the tier's deployments."""


class PromptError(TierflowError):
    """A prompt function returned what is no prompt, or a registered prompt cannot be used."""


class UnknownPromptError(PromptError):
    """There is no prompt of that name, or no such version or alias of it."""


class AttemptError(TierflowError):
    """One call to one deployment failed.

    `deployment`: its model name. `retry_after_s`: seconds the provider asked us to wait, or None.
    `elsewhere`: whether another deployment may succeed where this one failed.
    `counts_against_deployment`: whether the deployment, not the request, is at fault. `began_at`:
    when it was asked, Unix seconds, 0 where that is not known; `latency_ms`: how long it took.
    `may_be_billed`: whether it was left unanswered after the provider had the request.
    `is_overload`: whether the provider has too much to do (HTTP 503, 529). `was_crowded`: whether
    it had no room for this call among others of ours that it answers.
    """

    elsewhere = True
    counts_against_deployment = True

    def __init__(
        self, message: str, *, deployment: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.deployment = deployment
        self.retry_after_s = retry_after_s
        self.began_at = 0.0
        self.latency_ms = 0.0
        self.may_be_billed = False
        self.is_overload = False
        self.was_crowded = False


class AttemptTimeoutError(AttemptError):
    """No answer, or no next chunk, within `timeout_s`."""


class RateLimitedError(AttemptError):
    """HTTP 429."""


class ProviderDownError(AttemptError):
    """HTTP 5xx, or the connection was refused or broken."""


class DeniedError(AttemptError):
    """HTTP 401, 403 or 404: the key or the model name is not accepted."""


class ContextLengthError(AttemptError):
    """The request is longer than the model's context window."""

    counts_against_deployment = False


class RejectedError(AttemptError):
    """Any other 4xx: the request is wrong, and would be elsewhere too."""

    elsewhere = False
    counts_against_deployment = False


class AllDeploymentsFailedError(TierflowError):
    """Every deployment that could answer failed. `attempts`: one error each, in order."""

    # With defaults for all but the message it survives pickling, to and from workers.

    def __init__(self, message: str, attempts: Sequence[AttemptError] = ()) -> None:
        super().__init__(message)
        self.attempts = tuple(attempts)


class DeadlineExceededError(AllDeploymentsFailedError):
    """A step's `deadline_s` left no time to ask, or to ask again. `attempts`: what it was used for.

    A cascade takes it for a tier that is down, and the next tier has no time either.
    """


class BudgetExhaustedError(TierflowError):
    """The next call would break a budget, so it was not made. Asking again would not help.

    `budget`: which. In USD: `spent_usd` of `limit_usd` is gone, `held_usd` set aside for calls
    under way, and the call would likely cost `needed_usd`.
    """

    # With defaults for all but the message, as above.

    def __init__(
        self,
        message: str,
        *,
        budget: str = "",
        limit_usd: float = 0.0,
        spent_usd: float = 0.0,
        held_usd: float = 0.0,
        needed_usd: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.budget = budget
        self.limit_usd, self.spent_usd = limit_usd, spent_usd
        self.held_usd, self.needed_usd = held_usd, needed_usd


class UnparseableReplyError(TierflowError):
    """A reply does not fit the step's result type, after one repair attempt.

    `text`: the last reply. It stays out of the message, which may be logged.
    """

    def __init__(self, message: str, *, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class EngineStartError(TierflowError):
    """A self-hosted engine does not start, or ends before it answers."""


class MeasuringError(TierflowError):
    """An engine under a load did not do what measuring needs."""


class EngineUnreadableError(TierflowError):
    """An engine's page cannot be reached, or does not tell what it should."""


class SimulationError(TierflowError):
    """A trace, a cost model or a profile cannot be simulated; the message says what would do."""


class RecordingNotFoundError(TierflowError):
    """A `replay/…` deployment has no recorded answer for this request."""


class BatchError(TierflowError):
    """Some items of a batch have no answer.

    `values`: all results in order, None where there is none. `errors`: by the item's place.
    """

    # With defaults for all but the message, as above.

    def __init__(
        self,
        message: str,
        values: Sequence[Any] = (),
        errors: Mapping[int, Exception] | None = None,
    ) -> None:
        super().__init__(message)
        self.values, self.errors = tuple(values), dict(errors or {})

    @classmethod
    def of(cls, values: Sequence[Any], errors: Mapping[int, Exception]) -> "BatchError":
        """Return the error that names the first of these errors, and how many there are."""
        at, first = min(errors.items(), key=itemgetter(0))
        said = f"{type(first).__name__}: {first}".rstrip(".")
        message = (
            f"{len(errors):,} of {len(values):,} items have no answer. The first is item {at}: "
            f"{said}."
        )
        if len(errors) < len(values):
            message += (
                " The other items' results are in `values` of this error and, unless the step "
                "keeps none, in the cache: the next run asks for the rest only."
            )
        return cls(message, values, errors)


class ReviewError(TierflowError):
    """An answer that a person reviews is not there any more, or somebody has marked it before."""


class EvaluationError(TierflowError):
    """An evaluation is of an answer that the ledger does not know, or says nothing that is kept."""


class RolloutError(TierflowError):
    """A rollout cannot be changed that way from where it stands, or somebody else was faster."""


class StoreError(TierflowError):
    """A file or server of the cache or the ledger cannot be used; the message names it."""

"""Vendor: litellm, imported on first use, and its exceptions mapped into our tree, once."""

import os
import re
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from ..errors import (
    AttemptError,
    AttemptTimeoutError,
    ContextLengthError,
    DeniedError,
    ProviderDownError,
    RateLimitedError,
    RejectedError,
    TierflowError,
)
from ..pools import KEEPALIVE_S
from .echoes import Unsaid

_CONTEXT = re.compile(
    r"ContextWindowExceeded|context_length_exceeded|context (length|window)|maximum context"
    r"|prompt is too long"
    r"|input token count .* exceeds|too many tokens",
    re.IGNORECASE,
)
_SHOWN_CHARACTERS = 300
_OVERLOAD = {503, 529}
"""529 is Anthropic's."""
_NOTHING = Unsaid()

_LOADING = threading.Lock()


def litellm() -> Any:
    """Import litellm without its network calls, and register `local/`, `replay/` and `record/`.

    The first call costs seconds of CPU, so nothing imports litellm before a model is asked.
    """
    with _LOADING:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Any:
    # Otherwise the import fetches a price map from the network and reads .env files, and the
    # first call to Anthropic fetches a list of headers.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    os.environ.setdefault("AIOHTTP_KEEPALIVE_TIMEOUT", str(KEEPALIVE_S))
    import litellm as module  # noqa: PLC0415  # seconds of CPU

    from ..models.local import LocalModels  # noqa: PLC0415  # subclasses a class of litellm's
    from ..models.replay import Recordings  # noqa: PLC0415  # likewise
    from .record import Recorder  # noqa: PLC0415  # likewise

    # It makes a coroutine in a thread; a call that is cancelled meanwhile leaves it behind.
    warnings.filterwarnings(
        "ignore", "coroutine '.*completion' was never awaited", category=RuntimeWarning
    )
    module.suppress_debug_info = True
    # It counts what a stream did not tell, and would fetch a Llama's tokenizer from the network.
    module.disable_hf_tokenizer_download = True
    module.custom_provider_map = [
        *module.custom_provider_map,
        {"provider": "local", "custom_handler": LocalModels()},
        {"provider": "replay", "custom_handler": Recordings()},
        {"provider": "record", "custom_handler": Recorder()},
    ]
    module.utils.custom_llm_setup()
    return module


@contextmanager
def vendor_errors(deployment: str, unsaid: Unsaid = _NOTHING) -> Generator[None]:
    """Raise the error of our tree for what litellm raises.

    An error of our own, raised inside a custom provider, comes out as itself. `unsaid`: the API key
    and the prompt; a provider that repeats them in an error is not quoted with that.
    """
    # A step may be asked while its caller handles another error, which Python then makes the
    # context of every error in here. It is not this attempt's.
    handled = sys.exception()
    try:
        yield
    except Exception as exc:
        error = _attempt_error(exc, tuple(_causes(exc, handled)), deployment, unsaid)
        if unsaid.is_in(f"{exc} {exc!r}"):
            # A traceback would show the cause's words as they are.
            raise error from None
        raise error from exc


def returned(response: Any, deployment: str) -> Any:
    """Return what litellm returned. Raises RejectedError for its None."""
    if response is None:
        # With drop_params litellm tries a second time after HTTP 422, then swallows the error.
        raise RejectedError(
            f"{deployment}: RejectedError (422): the provider cannot process the request",
            deployment=deployment,
        )
    return response


def _attempt_error(
    exc: Exception, causes: tuple[BaseException, ...], deployment: str, unsaid: Unsaid
) -> TierflowError:
    for cause in causes:
        if isinstance(cause, TierflowError):
            return cause
    status = int(getattr(exc, "status_code", None) or 500)
    said = str(getattr(exc, "message", None) or exc)
    kind = _kind(exc, status, said)
    # litellm calls a stream that falls silent a lost connection.
    if kind is ProviderDownError and any(isinstance(cause, TimeoutError) for cause in causes):
        kind = AttemptTimeoutError
    error = kind(
        f"{deployment}: {kind.__name__} ({status}): {unsaid.left_of(said)[:_SHOWN_CHARACTERS]}",
        deployment=deployment,
        retry_after_s=_retry_after_s(exc),
    )
    error.is_overload = status in _OVERLOAD
    # httpx's, for a provider that was reached and then left; aiohttp's errors are mapped to them.
    error.may_be_billed = any(type(cause).__name__ == "ReadTimeout" for cause in causes)
    return error


def _causes(exc: BaseException | None, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, up to the one that its caller was handling."""
    while exc is not None and exc is not handled:
        yield exc
        exc = exc.__cause__ or exc.__context__


def _kind(exc: Exception, status: int, said: str) -> type[AttemptError]:
    # litellm recognises only some wordings of a full context window, and we only some others.
    code = str(getattr(exc, "code", "") or "")
    told = f"{type(exc).__name__} {code} {said} {getattr(exc, 'body', '')}"
    if status in {400, 413} and _CONTEXT.search(told):
        return ContextLengthError
    match status:
        case 408 | 504:
            return AttemptTimeoutError
        case 429:
            return RateLimitedError
        case 401 | 402 | 403 | 404:
            return DeniedError
        case _ if 400 <= status < 500:
            return RejectedError
        case _:
            return ProviderDownError


def _retry_after_s(exc: Exception) -> float | None:
    response = getattr(exc, "response", None)
    for headers in (
        getattr(exc, "litellm_response_headers", None),
        getattr(response, "headers", None),
        getattr(exc, "headers", None),
    ):
        if isinstance(headers, Mapping) and "retry-after" in headers:
            try:
                return max(0.0, float(cast("Mapping[str, str]", headers)["retry-after"]))
            except ValueError:
                return None  # a date: rare, and clocks differ
    return None

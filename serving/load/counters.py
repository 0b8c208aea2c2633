"""Counters: what an engine counts on its metrics page. Differences of two are of what lay between.

Names as of vLLM 0.10-0.32 and SGLang 0.5; an engine that counts something else counts None.
"""

from dataclasses import dataclass

from ..signals import samples_in

_NAMES = {
    "drafted_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
    "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
    "prefix_queries": ("vllm:prefix_cache_queries_total",),
    "prefix_hits": ("vllm:prefix_cache_hits_total",),
    "preemptions": ("vllm:num_preemptions_total", "sglang:num_retracted_reqs"),
}


@dataclass(frozen=True, slots=True)
class Counters:
    """Tokens drafted and accepted, prompt tokens looked up and found, requests set back."""

    drafted_tokens: float | None = None
    accepted_tokens: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    preemptions: float | None = None

    def since(self, earlier: "Counters") -> "Counters":
        """Return what was counted since."""
        return Counters(
            **{
                name: None if (now := getattr(self, name)) is None else now - (then or 0.0)
                for name, then in ((name, getattr(earlier, name)) for name in _NAMES)
            }
        )

    @property
    def acceptance(self) -> float | None:
        """Accepted of drafted tokens, 0-1; None where nothing was drafted."""
        return _share(self.accepted_tokens, self.drafted_tokens)

    @property
    def prefix_hit_rate(self) -> float | None:
        """Prompt tokens that were held already, 0-1; None where none were looked up."""
        return _share(self.prefix_hits, self.prefix_queries)


def _share(part: float | None, whole: float | None) -> float | None:
    # One that was started anew has counted less than before.
    return part / whole if part is not None and whole is not None and whole > 0 else None


def counters_in(page: str, url: str) -> Counters:
    """Return the counters of a Prometheus page. Several engines' are summed.

    Raises EngineUnreadableError for what is no such page.
    """
    values = samples_in(page, url)
    return Counters(
        **{
            counter: next((sum(values[name]) for name in names if name in values), None)
            for counter, names in _NAMES.items()
        }
    )

"""Profile: how an engine is set up, as far as its schedule shows it."""

from pydantic import BaseModel, ConfigDict, Field


class Draft(BaseModel):
    """Speculative decoding. `k`: tokens drafted at a time; `acceptance`: of each, 0 to 1.

    `cost`: one pass of the draft over one of the target's, both over the same tokens.
    Source: Leviathan et al. (arXiv 2211.17192).
    """

    model_config = ConfigDict(frozen=True)

    k: int = Field(default=4, ge=1)
    acceptance: float = Field(ge=0, le=1)
    cost: float = Field(default=0.1, ge=0)


class Profile(BaseModel):
    """An engine's settings, by vLLM's names.

    `max_num_batched_tokens`: of one iteration. `chunked`: whether a prompt may be read in parts.
    `kv_blocks`: of `block_tokens` tokens each. `draft`: None without speculation.
    """

    model_config = ConfigDict(frozen=True)

    max_num_batched_tokens: int = Field(default=2048, ge=1)
    max_num_seqs: int = Field(default=256, ge=1)
    chunked: bool = True
    kv_blocks: int = Field(default=26_000, ge=1)
    block_tokens: int = Field(default=16, ge=1)
    draft: Draft | None = None

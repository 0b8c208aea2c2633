"""Ground: settings of evaluations: which take an answer back, and where else they are sent."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_STRICT = ConfigDict(frozen=True, extra="forbid")

Share = Annotated[float, Field(ge=0, le=1)]


class SinkSettings(BaseModel):
    """Another program that evaluations are sent to, in the background."""

    model_config = _STRICT

    kind: Literal["langfuse", "phoenix", "mlflow"]
    url: str = Field(pattern=r"^https?://", description="of the server, without a path of its API")
    user_env: str | None = Field(
        default=None,
        description="variable that holds the user (Langfuse: public key) of HTTP Basic",
    )
    key_env: str | None = Field(
        default=None,
        description="variable that holds the password (Langfuse: secret key), or without a user "
        "the bearer token",
    )
    explanations: bool = Field(
        default=False, description="send explanations, too, which may quote answers"
    )
    timeout_s: float = Field(default=10.0, gt=0, description="of one request")

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, url: str) -> str:
        parts = urlsplit(url)
        # To read the port checks it.
        if not parts.hostname or parts.port == 0 or parts.username:
            raise ValueError("no host, or a user in it. Write http://host:port, keys by variables")
        return url

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Self:
        if self.user_env is not None and self.key_env is None:
            raise ValueError("user_env needs key_env, the variable that holds the password")
        if self.kind == "langfuse" and self.user_env is None:
            raise ValueError(
                'kind = "langfuse" needs user_env and key_env, the variables that hold the public '
                "and the secret key"
            )
        return self


class EvaluationsSettings(BaseModel):
    """What becomes of evaluations, beside a row in the ledger."""

    model_config = _STRICT

    reject_below: Mapping[str, Share] = Field(
        default_factory=dict,
        description="by the evaluation's name: a lower score takes the answer out of the caches",
    )
    sinks: Mapping[str, SinkSettings] = Field(default_factory=dict)

"""Ground: `[telemetry]` of tierflow.toml: what is told to OpenTelemetry, and where to."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

ContentCapture: TypeAlias = Literal["no_content", "span_only", "event_only", "span_and_event"]
"""Where prompts and replies are written, in OpenTelemetry's words."""

Dialect = Literal["langfuse", "mlflow", "phoenix"]
"""Backends that read more than the conventions name."""


class TelemetrySettings(BaseModel):
    """What is told to OpenTelemetry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["v1.41.1", "latest"] = Field(
        default="v1.41.1", description="whose GenAI names; backends know v1.41.1"
    )
    dialects: frozenset[Dialect] = Field(
        default=frozenset(), description="backends that get costs, sessions and kinds as they read"
    )
    capture_content: ContentCapture | None = Field(
        default=None,
        description="prompts and replies, too; None: by "
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT, and that is off by default",
    )
    redact: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:[\w.]+$",
        description="package.module:function, given each text before it is captured; returns what "
        "may be written. A text for which it raises is left out",
    )
    max_content_bytes: int = Field(
        default=32_768, ge=0, description="of captured text, in one attribute; the newest is kept"
    )
    tenant_label: bool = Field(
        default=False, description="tell tenants apart in metrics, where they are few"
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="OTLP/HTTP collector, as OTEL_EXPORTER_OTLP_ENDPOINT, for processes without an "
        "SDK of their own",
    )
    export: bool = Field(
        default=True, description="False: set up no SDK, whatever the endpoint or OTEL_* say"
    )

    @field_validator("capture_content", mode="before")
    @classmethod
    def _read_capture(cls, value: object) -> object:
        said = str(value).lower()
        if said in {"true", "false"}:
            return "span_only" if said == "true" else "no_content"
        return said if isinstance(value, str) else value

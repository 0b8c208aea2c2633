"""Ground: `[[budgets]]` of tierflow.toml: how much may be spent, by whom, in what time."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Per: TypeAlias = Literal["run", "day", "month"]
Dimension: TypeAlias = Literal["flow", "step", "tenant", "deployment"]

_Name = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$")]
_EVERY = {"run": "a run", "day": "a day (UTC)", "month": "a month (UTC)"}


class Budget(BaseModel):
    """So many dollars a run, day or month, for all that its filters let through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float = Field(gt=0, allow_inf_nan=False, description="what may be spent in one window")
    per: Per = Field(
        description="the window: a flow run (outside of flows: one call of a step), or a day or "
        "month in UTC"
    )
    flow: _Name | None = Field(default=None, description="only steps of the flow of that name")
    step: _Name | None = Field(default=None, description="only the step of that name")
    tenant: _Name | None = Field(default=None, description="only prompts with that tenant")
    deployment: _Name | None = Field(
        default=None, description="only calls of that model, as tierflow.toml or `tiers` names it"
    )
    each: Dimension | None = Field(
        default=None, description="one such budget for each flow, step, tenant or deployment"
    )

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if self.each is not None and getattr(self, self.each) is not None:
            raise ValueError(
                f'each = "{self.each}" with {self.each} = "{getattr(self, self.each)}" is one '
                f"budget. Drop one of the two"
            )
        return self

    @property
    def scope(self) -> str:
        """All of it but the sum: what was spent stays spent when the sum is changed."""
        filters = (self.per, self.flow, self.step, self.tenant, self.deployment, self.each)
        return " ".join("-" if each is None else repr(each) for each in filters)

    @property
    def label(self) -> str:
        """Names it to people."""
        named = (
            f"{name} {value!r}"
            for name in ("flow", "step", "tenant", "deployment")
            if (value := getattr(self, name)) is not None
        )
        each = f"each {self.each}" if self.each else ""
        return ", ".join(filter(None, (f"${self.usd:g} {_EVERY[self.per]}", *named, each)))

    def label_of(self, value: str) -> str:
        """Name one of its accounts: `value` is whose, where there is one for each."""
        return f"{self.label} ({value or 'none'})" if self.each else self.label

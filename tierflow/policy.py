"""Ground: `[policy]` of tierflow.toml: which tiers, providers and regions a step may use.

Decides only. What a policy does not allow is never asked: a deployment is left out of its tier, and
a tier above the limit, or with nothing left, is a PolicyError before any call. A policy guards
against mistakes, not against people: TIERFLOW_* variables go over it, as over everything else.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from .errors import PolicyError

Rank: TypeAlias = Literal["fast", "standard", "frontier"]
"""How premium a tier is. A specialist has none of its own."""

RANKS: tuple[Rank, ...] = get_args(Rank)
PREMIUM: Rank = RANKS[-1]

_SPECIALIST = "specialist."
_Name = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$")]
_Provider = Annotated[str, StringConstraints(pattern=r"^[^\s/]+$")]


class Placed(Protocol):
    """What a policy reads of a deployment."""

    @property
    def name(self) -> str:
        """As messages name it."""
        ...

    @property
    def provider(self) -> str:
        """The first part of the model's name."""
        ...

    @property
    def region(self) -> str | None:
        """Where it computes, as tierflow.toml says; None where that is not said."""
        ...


D = TypeVar("D", bound=Placed)


class Limits(BaseModel):
    """Allow-lists. None allows all; a deployment must pass every list that applies to a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    providers: tuple[_Provider, ...] | None = Field(
        default=None, min_length=1, description="first parts of model names: anthropic, local"
    )
    regions: tuple[_Name, ...] | None = Field(
        default=None, min_length=1, description="a deployment without a region is not allowed then"
    )

    @field_validator("providers", "regions", mode="before")
    @classmethod
    def _is_a_list(cls, value: object) -> object:
        # pydantic-settings leaves what lies below a mapping (the tags) as the raw text.
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"{value!r} is no list. Write [{value!r}]") from None

    def fault(self, deployment: Placed) -> str | None:
        """Say what forbids a deployment, None if nothing does."""
        if self.providers is not None and deployment.provider not in self.providers:
            return f"provider {deployment.provider!r} is not among {_listed(self.providers)}"
        if self.regions is not None and deployment.region not in self.regions:
            place = "it has no region" if deployment.region is None else repr(deployment.region)
            return f"{place}, and allowed are the regions {_listed(self.regions)}"
        return None


class Policy(Limits):
    """What a team allows. Empty, it allows everything. Tags are the Prefect tags of a step."""

    max_tier: Mapping[_Name, Rank] = Field(
        default_factory=dict, description="the highest tier by tag; the lowest limit holds"
    )
    default_max_tier: Rank | None = Field(
        default=None, description="the highest tier of steps with no tag that max_tier names"
    )
    counts_as: Mapping[_Name, Rank] = Field(
        default_factory=dict, description="a specialist's rank by domain; without one: frontier"
    )
    tagged: Mapping[_Name, Limits] = Field(
        default_factory=dict, description="further allow-lists by tag"
    )
    simple_values: int = Field(
        default=10, ge=0, description="`tierflow lint`: so few possible results make a step simple"
    )

    def rank(self, tier: str) -> Rank:
        """Return how premium a tier is. One that is not known counts as the most premium."""
        for rank in RANKS:
            if rank == tier:
                return rank
        return self.counts_as.get(tier.removeprefix(_SPECIALIST), PREMIUM)

    def rules(self, tags: Iterable[str]) -> "Rules":
        """Return what holds for a step with these tags."""
        carried = sorted(set(tags))
        caps = [
            Cap(self.max_tier[tag], f"[policy.max_tier] allows for the tag {tag!r}")
            for tag in carried
            if tag in self.max_tier
        ]
        if not caps and self.default_max_tier is not None:
            where = "default_max_tier of [policy] allows for a step without a tag of max_tier"
            caps = [Cap(self.default_max_tier, where)]
        cap = min(caps, key=lambda each: RANKS.index(each.rank), default=None)
        named = {tag: self.tagged[tag] for tag in carried if tag in self.tagged}
        lists = (("[policy]", self), *((f"[policy.tagged.{tag}]", named[tag]) for tag in named))
        return Rules(self, cap, tuple(each for each in lists if _restricts(each[1])))

    @property
    def tags(self) -> frozenset[str]:
        """The tags that it says something of."""
        return frozenset((*self.max_tier, *self.tagged))


@dataclass(frozen=True, slots=True)
class Cap:
    """The highest tier, and by what word of the policy."""

    rank: Rank
    where: str


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy as it holds for one step."""

    policy: Policy
    cap: Cap | None = None
    lists: Sequence[tuple[str, Limits]] = ()

    def __bool__(self) -> bool:
        return self.cap is not None or bool(self.lists)

    def allowed(self, tier: str, deployments: Sequence[D]) -> tuple[D, ...]:
        """Return those of a tier's deployments that may be asked. Raises PolicyError for none."""
        if self.cap is not None:
            rank = self.policy.rank(tier)
            if RANKS.index(rank) > RANKS.index(self.cap.rank):
                counted = "" if rank == tier else f", which counts as {rank},"
                raise PolicyError(
                    f"Tier {tier!r}{counted} is above {self.cap.rank!r}, the most that "
                    f"{self.cap.where}. Use a lower tier, or change [policy] in tierflow.toml."
                )
        if not self.lists:
            return tuple(deployments)
        faults = [next(self._faults(each), None) for each in deployments]
        kept = tuple(each for each, fault in zip(deployments, faults, strict=True) if not fault)
        if not kept:
            named = "; ".join(
                f"{each.name}: {fault}" for each, fault in zip(deployments, faults, strict=True)
            )
            raise PolicyError(
                f"No deployment of tier {tier!r} is allowed. {named}. Add one that is (with its "
                "`region` where regions are named), or change [policy] in tierflow.toml."
            )
        return kept

    def _faults(self, deployment: Placed) -> Iterator[str]:
        for where, limits in self.lists:
            if fault := limits.fault(deployment):
                yield f"{fault} ({where})"


ANYTHING = Rules(Policy())
"""The rules where there is no policy."""


def _restricts(limits: Limits) -> bool:
    return limits.providers is not None or limits.regions is not None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)

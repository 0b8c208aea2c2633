"""Planning: how many replicas, set up how, keep a promise at a trace's load. Asks nobody."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ...errors import SimulationError
from .cost import CostModel
from .profile import Profile
from .routers import Lanes, LeastWork, Router
from .running import Layout, simulate
from .tally import Limits, Tally
from .traces import Trace


@dataclass(frozen=True, slots=True)
class Slo:
    """What is promised: this share of first tokens within `ttft_s`, of gaps within `gap_ms`."""

    ttft_s: float
    gap_ms: float
    share: float = 0.99


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to set engines up. `apart`: prompts are read by replicas of their own."""

    name: str
    profile: Profile
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What a number of replicas does with a trace. `ttft_s`, `gap_ms`: at the promised share.

    `gap_max_ms`: the longest gap, which a share of all gaps hides: reading a prompt in one go is
    one gap among thousands. `busy`: share of the time until the last token that replicas computed.
    """

    replicas: int
    prefill: int
    ttft_s: float
    ttft_mean_s: float
    gap_ms: float
    gap_max_ms: float
    hit_rate: float
    busy: float
    preemptions: int


@dataclass(frozen=True, slots=True)
class Offer:
    """The least replicas with which a candidate keeps the promise; None: not with `tried`.

    `broken`: what the most replicas tried broke, "ttft" or "gap".
    """

    candidate: Candidate
    figures: Figures | None
    tried: int
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A trace, a cost and a promise. `on_look` hears of each simulation before it starts."""

    trace: Trace
    cost: CostModel
    slo: Slo
    most: int = 256
    transfer_ms_per_ktoken: float = 3.0
    seed: int = 0
    on_look: Callable[[str, int], None] = lambda _name, _replicas: None

    def least(self, candidate: Candidate) -> Offer:
        """Return the least replicas that keep the promise, by doubling and bisection.

        That more replicas keep what fewer kept is assumed; ties in the trace can break it by one.
        """
        broken_at, broken = 1 if candidate.apart else 0, ""
        count = broken_at + 1
        while True:
            found = self._kept(candidate, count)
            if isinstance(found, Figures):
                break
            broken_at, broken = count, found
            if count >= self.most:
                return Offer(candidate, None, count, broken)
            count = min(self.most, count * 2)
        while found.replicas - broken_at > 1:
            middle = self._kept(candidate, (found.replicas + broken_at) // 2)
            if isinstance(middle, Figures):
                found = middle
            else:
                broken_at = (found.replicas + broken_at) // 2
        return Offer(candidate, found, found.replicas)

    def lanes(self, candidate: Candidate, replicas: int) -> Iterator[tuple[str, Figures]]:
        """Yield `(name, figures)` of one lane, and of several ways to have two, on equal replicas.

        A lane for long prompts has more than a threshold of uncached tokens: the half, the longest
        quarter and the longest tenth of the prompts, with replicas by its share of the tokens.
        """
        self.on_look("one lane", replicas)
        yield "one lane", self._simulated(Layout(candidate.profile, replicas), LeastWork())
        lengths = sorted(each.input_tokens for each in self.trace.jobs)
        for share in (0.5, 0.75, 0.9):
            threshold = lengths[int(share * (len(lengths) - 1))]
            part = sum(each for each in lengths if each > threshold) / sum(lengths)
            for heavy in sorted({int(part * replicas), ceil(part * replicas)}):
                if not 0 < heavy < replicas:
                    continue
                name = f"{heavy} for over {threshold:,} tokens"
                self.on_look(name, replicas)
                layout = Layout(candidate.profile, replicas)
                yield name, self._simulated(layout, Lanes(threshold, heavy))

    def strain(self, figures: Figures) -> float:
        """Return the larger part of a promise that is used up: 1 is just kept."""
        return max(figures.ttft_s / self.slo.ttft_s, figures.gap_ms / self.slo.gap_ms)

    def _kept(self, candidate: Candidate, replicas: int) -> Figures | str:
        """Return the figures of replicas that keep the promise, or what they break."""
        if not candidate.apart:
            return self._tried(Layout(candidate.profile, replicas), candidate.name)
        # More readers make first tokens sooner, and leave fewer to write.
        fewest, most, found = 1, replicas - 1, "ttft"
        while fewest <= most:
            prefill = (fewest + most) // 2
            layout = Layout(candidate.profile, replicas, prefill, self.transfer_ms_per_ktoken)
            tried = self._tried(layout, candidate.name)
            if isinstance(tried, Figures):
                return tried
            found = tried
            if found == "ttft":
                fewest = prefill + 1
            else:
                most = prefill - 1
        return found

    def _tried(self, layout: Layout, name: str) -> Figures | str:
        self.on_look(name, layout.replicas)
        jobs = self.trace.jobs
        late = 1 - self.slo.share
        limits = Limits(
            self.slo.ttft_s * 1000,
            self.slo.gap_ms,
            int(late * len(jobs)),
            int(late * sum(each.output_tokens - 1 for each in jobs)),
        )
        seen = self._seen(layout, LeastWork(), limits)
        if seen.stopped:
            return seen.broken
        figures = self._figures(seen, layout)
        # With drafts there are fewer gaps than tokens, so that the limit was a wide one.
        if figures.gap_ms > self.slo.gap_ms:
            return "gap"
        return figures

    def _simulated(self, layout: Layout, router: Router) -> Figures:
        return self._figures(self._seen(layout, router, None), layout)

    def _seen(self, layout: Layout, router: Router, limits: Limits | None) -> Tally:
        return simulate(
            self.trace.jobs, layout, self.cost, router=router, seed=self.seed, limits=limits
        )

    def _figures(self, seen: Tally, layout: Layout) -> Figures:
        span = max(each.end_ms for each in seen.ended)
        return Figures(
            layout.replicas,
            layout.prefill,
            seen.ttft_quantile(self.slo.share) / 1000,
            seen.ttft_mean_ms / 1000,
            seen.gap_quantile(self.slo.share),
            seen.gap_max_ms,
            seen.hit_rate,
            seen.busy_ms / (span * layout.replicas),
            seen.preemptions,
        )


def candidate_of(word: str, base: Profile, trace: Trace) -> Candidate:
    """Return what a word of `--profiles` stands for. Raises SimulationError.

    A number is a chunk size, `whole` reads prompts in one go; `+draft` speculates as `base` does,
    `+apart` has prompts read by replicas of their own.
    """
    size, *extras = word.split("+")
    is_known = (size == "whole" or (size.isdigit() and int(size))) and set(extras) <= {
        "draft",
        "apart",
    }
    if not is_known:
        raise SimulationError(
            f"No profile {word!r}. Write a chunk size or `whole`, with +draft or +apart after it: "
            "512, 2048+draft, whole+apart."
        )
    if "draft" in extras and base.draft is None:
        raise SimulationError(
            f"Profile {word!r} needs the draft's acceptance rate. Give it with --acceptance; "
            "`tierflow serving validate` measures it."
        )
    longest = max(each.tokens for each in trace.jobs)
    profile = base.model_copy(
        update={
            "max_num_batched_tokens": longest if size == "whole" else int(size),
            "chunked": size != "whole",
            "draft": base.draft if "draft" in extras else None,
        }
    )
    return Candidate(word, profile, apart="apart" in extras)


def best_of(offers: Sequence[Offer], strain: Callable[[Figures], float]) -> Offer | None:
    """Return the offer with the fewest replicas; among equals the one with the most to spare."""
    kept = [(each.figures, each) for each in offers if each.figures is not None]
    if not kept:
        return None
    return min(kept, key=lambda pair: (pair[0].replicas, strain(pair[0])))[1]

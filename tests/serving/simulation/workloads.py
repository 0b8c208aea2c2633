"""Jobs and layouts for the simulator's tests. Times are in milliseconds."""

from hypothesis import strategies as st

from tierflow.serving.simulation import CostModel, Draft, Job, Profile
from tierflow.serving.simulation.routers import LeastLoaded, LeastWork, RoundRobin, Router
from tierflow.serving.simulation.running import Layout, simulate
from tierflow.serving.simulation.tally import Limits, Tally

BLOCK = 16
UNIT = CostModel(iteration_ms=8, token_ms=1)
"""Sums of whole numbers are exact, so that equal runs are equal to the last bit."""

EXACT = CostModel(iteration_ms=8, token_ms=0.5, pair_ms=2**-10, decode_ms=0.25, context_ms=2**-9)


def run(
    jobs: list[Job],
    profile: Profile | None = None,
    cost: CostModel = UNIT,
    *,
    replicas: int = 1,
    prefill: int = 0,
    transfer: float = 3.0,
    router: Router | None = None,
    limits: Limits | None = None,
    seed: int = 0,
    ahead: bool = True,
) -> Tally:
    """Simulate jobs on engines with blocks of 16 tokens."""
    layout = Layout(profile or a_profile(), replicas, prefill, transfer)
    router = router or LeastLoaded()
    return simulate(jobs, layout, cost, router=router, limits=limits, seed=seed, ahead=ahead)


def a_profile(
    budget: int = 64,
    *,
    seats: int = 8,
    blocks: int = 1000,
    chunked: bool = True,
    draft: Draft | None = None,
) -> Profile:
    """An engine's settings, small enough to follow by hand."""
    return Profile(
        max_num_batched_tokens=budget,
        max_num_seqs=seats,
        kv_blocks=blocks,
        block_tokens=BLOCK,
        chunked=chunked,
        draft=draft,
    )


def job(at: float, tokens: int, written: int, name: int = 0, *, family: int = 0) -> Job:
    """A request; those of one `family` have the same prefix, 0 is alone."""
    names = tuple(range(family * 1000, family * 1000 + tokens // BLOCK)) if family else ()
    return Job(name, at, tokens, written, names)


@st.composite
def traffic(draw: st.DrawFn) -> list[Job]:
    """Up to 30 jobs, some of which share a prefix, some of which come at once."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 600), st.integers(1, 150), st.integers(1, 40), st.integers(0, 2)
            ),
            min_size=1,
            max_size=30,
        )
    )
    return [
        job(float(at), tokens, written, name, family=family)
        for name, (at, tokens, written, family) in enumerate(rows)
    ]


profiles = st.builds(
    a_profile,
    st.sampled_from([8, 32, 64, 256]),
    seats=st.integers(1, 8),
    blocks=st.sampled_from([12, 16, 30, 1000]),
    draft=st.none() | st.builds(Draft, k=st.integers(1, 5), acceptance=st.floats(0, 1)),
)
routers = st.sampled_from([RoundRobin, LeastLoaded, LeastWork])

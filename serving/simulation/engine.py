"""Engine: who computes what in the next iteration. Decides only: the caller owns the clock.

vLLM V1's scheduler as its default policy has it: decodes first, then the prompt under way, then
whoever waits, while tokens, seats and blocks last. Source: Sarathi-Serve (arXiv 2403.02310).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from random import Random

from ...errors import SimulationError
from .blocks import Blocks
from .cost import CostModel, Work, pairs_of
from .jobs import Ended, Job
from .profile import Profile
from .stream import Batch, Stream
from .tally import Tally


class Engine:
    """One replica. `plan()` starts what `finish()` ends; nothing happens in between."""

    def __init__(
        self,
        profile: Profile,
        cost: CostModel,
        random: Random,
        tally: Tally,
        *,
        number: int = 0,
        on_first: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.profile, self.cost, self.number = profile, cost, number
        self.blocks = Blocks(profile.kv_blocks)
        self.waiting: deque[Stream] = deque()
        self.prefilling: list[Stream] = []
        self.decoding: list[Stream] = []
        self.backlog_tokens = 0  # that are still to be read, of all who wait or are read
        self._random, self._tally, self._on_first = random, tally, on_first

    @property
    def requests(self) -> int:
        """How many are here, waiting or not."""
        return len(self.waiting) + self.running

    @property
    def running(self) -> int:
        """How many have a seat."""
        return len(self.prefilling) + len(self.decoding)

    def cached_tokens(self, job: Job) -> int:
        """Return how much of a job's prompt need not be read here."""
        return self._found(job, job.input_tokens) * self.profile.block_tokens

    def check(self, job: Job) -> None:
        """Raise SimulationError for a job that could never run here."""
        room = self.profile.kv_blocks * self.profile.block_tokens
        if job.tokens > room:
            raise SimulationError(
                f"Request {job.name} grows to {job.tokens:,} tokens; an engine's KV cache holds "
                f"{room:,}. Give it more (--kv-tokens), or leave such requests out of the trace."
            )
        if not self.profile.chunked and job.tokens > self.profile.max_num_batched_tokens:
            raise SimulationError(
                f"Request {job.name} grows to {job.tokens:,} tokens, and without chunked prefill "
                f"one iteration takes {self.profile.max_num_batched_tokens:,}. Raise "
                "max_num_batched_tokens, or chunk."
            )

    def submit(self, stream: Stream) -> bool:
        """Have a stream wait; True if it could be let in by the next iteration."""
        is_next = not self.waiting and self.running < self.profile.max_num_seqs
        job = stream.job
        stream.expected = stream.known - (stream.arrived_with or self.cached_tokens(job))
        self.backlog_tokens += stream.expected
        self.waiting.append(stream)
        return is_next

    def plan(self, *, ahead: bool = True) -> Batch | None:
        """Return what to compute next, its blocks taken; None where there is nothing to do.

        `ahead`: count iterations in one go where only an arrival could make them differ.
        """
        before = self._tally.preemptions
        decodes: list[tuple[Stream, int]] = []
        chunks: list[tuple[Stream, int]] = []
        budget = self._decode(decodes, self.profile.max_num_batched_tokens)
        budget = self._go_on(chunks, budget)
        is_calm = self._tally.preemptions == before
        if is_calm:
            self._let_in(chunks, decodes, budget)
        if not chunks and not decodes:
            return None
        first_ms = self._ms(chunks, decodes)
        is_same = ahead and is_calm and not chunks and len(decodes) == len(self.decoding)
        if not is_same or self.profile.draft is not None:
            return Batch(chunks, decodes, first_ms)
        growth = (self.cost.pair_ms + self.cost.context_ms) * len(decodes)
        return Batch(chunks, decodes, first_ms, growth, *self._unchanged_for())

    def catch_up(self, batch: Batch, count: int) -> None:
        """Take the blocks that a batch holds once this many iterations have begun.

        Others' blocks go for them, and whoever looks for a prefix must not find these any more.
        """
        if self.blocks.kept + batch.takes > self.blocks.total:
            for stream, _ in batch.decodes:
                self._hold(stream, stream.computed + count)

    def work(self, batch: Batch) -> Work:
        """Return what the first iteration of a batch computes, before it has ended."""
        return _work(batch.chunks) + _work(batch.decodes, are_decodes=True)

    def finish(self, batch: Batch, began_ms: float, count: int = 1) -> list[Stream]:
        """End the first `count` iterations of a batch; return the streams that have ended."""
        tally = self._tally
        took_ms = batch.ms(count)
        now, first_end = began_ms + took_ms, began_ms + batch.first_ms
        tally.iterations += count
        tally.busy_ms += took_ms
        has_ended = False
        for stream, tokens in batch.decodes:
            written = count if count > 1 else self._accepted(tokens)
            tally.gap(first_end - stream.last_ms)
            stream.computed += written
            stream.known += written
            stream.written += written
            stream.last_ms = now
            has_ended = has_ended or not stream.unwritten
            if count > 1:
                self._hold(stream, stream.computed)
        if count > 1:
            growth = batch.growth_ms
            tally.stride(batch.first_ms + growth, growth, count - 1, len(batch.decodes))
        for stream, tokens in batch.chunks:
            stream.computed += tokens
            self.backlog_tokens -= tokens
            if stream.unread:
                continue
            stream.known += 1
            stream.written += 1
            if stream.written == 1:
                stream.first_ms = now
                tally.first(now - stream.job.at_ms)
                self._on_first(stream.job)
            else:
                tally.gap(now - stream.last_ms)
            stream.last_ms = now
            has_ended = has_ended or not stream.unwritten
            self.prefilling.remove(stream)
            self.decoding.append(stream)
        return self._ended() if has_ended else []

    def outcome(self, stream: Stream) -> Ended:
        """Return what became of a stream's job."""
        return Ended(
            stream.job,
            stream.first_ms,
            stream.last_ms,
            stream.cached or 0,
            stream.preemptions,
            self.number,
        )

    def _decode(self, decodes: list[tuple[Stream, int]], budget: int) -> int:
        at = 0
        most = 1 + (self.profile.draft.k if self.profile.draft else 0)
        while at < len(self.decoding) and budget:
            stream = self.decoding[at]
            tokens = min(most, stream.unwritten, budget)
            if self._make_room(stream, tokens):
                decodes.append((stream, tokens))
                budget -= tokens
            at += 1
        return budget

    def _go_on(self, chunks: list[tuple[Stream, int]], budget: int) -> int:
        for stream in tuple(self.prefilling):
            tokens = min(stream.unread, budget)
            # One before it may have taken its blocks.
            if tokens and stream in self.prefilling and self._make_room(stream, tokens):
                chunks.append((stream, tokens))
                budget -= tokens
        return budget

    def _let_in(
        self, chunks: list[tuple[Stream, int]], decodes: list[tuple[Stream, int]], budget: int
    ) -> None:
        most = 1 + (self.profile.draft.k if self.profile.draft else 0)
        while budget and self.waiting and self.running < self.profile.max_num_seqs:
            stream = self.waiting[0]
            hits = 0 if stream.arrived_with else self._found(stream.job, stream.known)
            shared = stream.job.blocks[:hits]
            start = stream.arrived_with or hits * self.profile.block_tokens
            unread = stream.known - start
            if unread > budget and not self.profile.chunked:
                return
            tokens = min(most, stream.unwritten, budget) if stream.arrived_with else unread
            tokens = min(tokens, budget)
            needed = self._blocks_of(start + tokens) - hits
            if needed + self.blocks.left_of(shared) > self.blocks.available:
                return
            self.waiting.popleft()
            self.blocks.share(shared)
            stream.named, stream.told, stream.computed = list(shared), hits, start
            self.backlog_tokens += unread - stream.expected
            if stream.cached is None:
                stream.cached = hits * self.profile.block_tokens
                self._tally.cached_tokens += stream.cached
                self._tally.prompt_tokens += stream.job.input_tokens
            self._hold(stream, start + tokens)
            budget -= tokens
            if stream.arrived_with:
                self.backlog_tokens -= unread
                self.decoding.append(stream)
                decodes.append((stream, tokens))
            else:
                self.prefilling.append(stream)
                chunks.append((stream, tokens))

    def _make_room(self, stream: Stream, tokens: int) -> bool:
        """Take the blocks for a stream's next tokens, from the newest ones if need be."""
        target = stream.computed + tokens
        while self._missing(stream, target) > self.blocks.available:
            newest = (self.prefilling or self.decoding)[-1]
            self._preempt(newest)
            if newest is stream:
                return False
        self._hold(stream, target)
        return True

    def _preempt(self, stream: Stream) -> None:
        """Send a stream back to wait, first in line; what it had is computed again."""
        if stream in self.prefilling:
            self.prefilling.remove(stream)
            self.backlog_tokens -= stream.unread
        else:
            self.decoding.remove(stream)
        self.blocks.release(stream.named, stream.private)
        stream.named, stream.private, stream.told = [], 0, 0
        stream.computed = stream.arrived_with = 0
        stream.preemptions += 1
        self._tally.preemptions += 1
        stream.expected = stream.known
        self.backlog_tokens += stream.expected
        self.waiting.appendleft(stream)

    def _hold(self, stream: Stream, target: int) -> None:
        """Take the blocks that a stream lacks for this many tokens, and name its prompt's."""
        if (missing := self._missing(stream, target)) > 0:
            self.blocks.take(missing)
            stream.private += missing
        names = stream.job.blocks
        if stream.told < len(names) and not stream.arrived_with:
            full = min(len(names), target // self.profile.block_tokens)
            for name in names[stream.told : full]:
                if self.blocks.name(name):
                    stream.named.append(name)
                    stream.private -= 1
            stream.told = max(stream.told, full)

    def _ended(self) -> list[Stream]:
        ended = [stream for stream in self.decoding if not stream.unwritten]
        self.decoding = [stream for stream in self.decoding if stream.unwritten]
        for stream in ended:
            self.blocks.release(stream.named, stream.private)
        return ended

    def _unchanged_for(self) -> tuple[int, int]:
        """Return for how many iterations all go on, and how many blocks that takes.

        Nobody ends before, and blocks suffice.
        """
        most = min(stream.unwritten for stream in self.decoding)
        available = self.blocks.available

        def missing(count: int) -> int:
            return sum(max(0, self._missing(each, each.computed + count)) for each in self.decoding)

        if (takes := missing(most)) <= available:
            return most, takes
        most = max(1, bisect_right(range(1, most + 1), available, key=missing))
        return most, missing(most)

    def _accepted(self, tokens: int) -> int:
        draft = self.profile.draft
        written = 1
        while draft and written < tokens and self._random.random() < draft.acceptance:
            written += 1
        return written

    def _ms(self, chunks: list[tuple[Stream, int]], decodes: list[tuple[Stream, int]]) -> float:
        read, written = _work(chunks), _work(decodes, are_decodes=True)
        ms = self.cost.ms(read + written)
        if self.profile.draft is None:
            return ms
        # The draft reads every prompt, too, and then writes a token for each stream in each pass.
        passes = max((tokens for _, tokens in decodes), default=1) - 1
        count, before = written.decodes, written.context
        one = Work(count, before + count, count, before)
        return ms + self.profile.draft.cost * (
            passes * self.cost.ms(one) + self.cost.growth_ms(read)
        )

    def _found(self, job: Job, known: int) -> int:
        # The last token is computed in any case: its logits are wanted.
        most = (known - 1) // self.profile.block_tokens
        return self.blocks.found(job.blocks[:most])

    def _blocks_of(self, tokens: int) -> int:
        return -(-tokens // self.profile.block_tokens)

    def _missing(self, stream: Stream, target: int) -> int:
        return self._blocks_of(target) - len(stream.named) - stream.private


def _work(parts: list[tuple[Stream, int]], *, are_decodes: bool = False) -> Work:
    new = before = pairs = 0
    for stream, tokens in parts:
        new += tokens
        before += stream.computed
        pairs += pairs_of(tokens, stream.computed)
    return Work(new, pairs, len(parts), before) if are_decodes else Work(new, pairs)

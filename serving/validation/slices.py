"""Slices: parts of the workload that are decided apart. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ...cassette import RecordedRequest

Dimension: TypeAlias = Literal["step", "kind", "length", "concurrency"]
"""What slices may differ in; `kind` is the prompt's template or stratum, `length` both lengths."""

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

BANDS = (256, 1024, 4096, 16_384, 65_536)
"""Where one band of lengths ends and the next begins, in tokens."""


def band_of(tokens: int) -> str:
    """Return the band that a length is in, such as `256-1024`, or `65536-` for the last."""
    low = max((edge for edge in BANDS if edge <= tokens), default=0)
    high = min((edge for edge in BANDS if edge > tokens), default=None)
    return f"{low}-{'' if high is None else high}"


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """A part of the workload. What is empty is not told apart. Bands are of tokens."""

    step: str = ""
    kind: str = ""
    input_band: str = ""
    output_band: str = ""

    @property
    def label(self) -> str:
        """Names it to people."""
        bands = f"in {self.input_band}, out {self.output_band}" if self.input_band else ""
        return " · ".join(filter(None, (self.step, self.kind, bands))) or "all"

    def holds(self, step: str, kind: str, input_tokens: int, output_tokens: int) -> bool:
        """Tell whether a request is in this slice."""
        return (
            self.step in ("", step)
            and self.kind in ("", kind)
            and self.input_band in ("", band_of(input_tokens))
            and self.output_band in ("", band_of(output_tokens))
        )


def slice_of(request: RecordedRequest, by: Iterable[Dimension]) -> Slice:
    """Return the slice that a recorded request is in."""
    by = frozenset(by)
    has_length = "length" in by
    return Slice(
        step=request.step if "step" in by else "",
        kind=request.kind if "kind" in by else "",
        input_band=band_of(request.input_tokens) if has_length else "",
        output_band=band_of(request.output_tokens) if has_length else "",
    )


def sliced(
    requests: Iterable[RecordedRequest], by: Iterable[Dimension]
) -> Mapping[Slice, Sequence[RecordedRequest]]:
    """Return the requests by slice, the largest slice first."""
    by = frozenset(by)
    found: dict[Slice, list[RecordedRequest]] = {}
    for request in requests:
        found.setdefault(slice_of(request, by), []).append(request)
    return dict(sorted(found.items(), key=lambda each: (-len(each[1]), each[0])))

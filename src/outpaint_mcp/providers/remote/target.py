"""What of a source a model extends, and how much new music it takes to make the file as long as is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.providers.remote.plan import check_durations

if TYPE_CHECKING:
    from outpaint_mcp.audio.surroundings import FullMusic
    from outpaint_mcp.models import SubmitRequest
    from outpaint_mcp.providers.remote.model import Limits

_ONLY_OURS = {
    "loop": "make a file that repeats seamlessly",
    "breakdown": "take its music away layer by layer",
    "build": "build its music up layer by layer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The music that is extended, and the new music on either side of it.

    Attributes:
        music_seconds: length of that music.
        before_seconds: how much new music comes before it; 0 for none.
        after_seconds: how much after it.
        cut_before_frames: how many frames of the source before it are left out, as new music takes their place.
        cut_after_frames: how many behind it.
    """

    music_seconds: float
    before_seconds: float
    after_seconds: float
    cut_before_frames: int = 0
    cut_after_frames: int = 0


def find_target(
    limits: Limits, request: SubmitRequest, source_seconds: float, music: FullMusic | None
) -> Target:
    """Work out what is extended, and by how much.

    Args:
        limits: what the model can do.
        request: what is asked.
        source_seconds: the length of what is to be longer: the source, or the part of it that is to be extended.
        music: where its full music begins and ends; None where the new music goes outside of everything.

    Raises:
        InvalidRequest: it is as long as the whole is to be already.
    """
    wishes = request.wishes
    wishes.check_total(source_seconds)
    after_seconds = wishes.after_seconds
    if wishes.total_seconds:
        after_seconds = wishes.total_seconds - wishes.before_seconds - source_seconds
    cut_before = cut_after = 0
    rate = 1
    if music is not None:
        rate = music.sample_rate
        cut_before = music.start if wishes.before_seconds else 0
        cut_after = music.frames - music.stop if after_seconds else 0
    if wishes.total_seconds:
        # A total leaves what it leaves; what is too much is cut off again.
        after_seconds = max(after_seconds + cut_after / rate, limits.shortest_seconds) - cut_after / rate
    return Target(
        music_seconds=source_seconds - (cut_before + cut_after) / rate,
        before_seconds=wishes.before_seconds + cut_before / rate,
        after_seconds=after_seconds + cut_after / rate,
        cut_before_frames=cut_before,
        cut_after_frames=cut_after,
    )


def check_request(title: str, limits: Limits, request: SubmitRequest) -> None:
    """See that a model that adds music before and after a recording can do what is asked.

    Args:
        title: the service's name.
        limits: what the model can do.
        request: what is asked.

    Raises:
        InvalidRequest: it cannot.
    """
    if request.placement == "inside":
        raise InvalidRequest(
            f"{title}'s model adds music before or after a recording; it cannot put any inside. The local provider"
            " can.",
            field="placement",
        )
    for field, wish in (("beginning", request.beginning), ("ending", request.ending)):
        if wish in _ONLY_OURS:
            raise InvalidRequest(
                f"{title}'s model cannot {_ONLY_OURS[wish]}; the local provider can. Use natural, fade or cut, or that"
                " provider.",
                field=field,
            )
    wishes = request.wishes
    check_durations(limits, before_seconds=wishes.before_seconds, after_seconds=wishes.after_seconds)

# SPDX-License-Identifier: MIT
"""Stretches follow each other for ever, and lie where the rules, sample by sample, put them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.errors import FrameError
from recorder.placement.timeline import Leg, LegStats, Loss, Stretch, Timeline
from tests.timeline_model import LEGS, Model, Name

MAX_SKEW, HOLD, PIECE = 50, 20, 30
LONGEST = 130  # of a frame
SEEDED = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)
Frame = list[Name]


@dataclass
class Laid:
    """A timeline whose audio is lists of names, and what its stretches amount to."""

    max_skew: int = MAX_SKEW
    hold: int = HOLD
    piece: int = PIECE
    is_live: bool = False
    legs: dict[Leg, list[Name | None]] = field(default_factory=lambda: {"speak": [], "listen": []})
    delivered: dict[Leg, int] = field(default_factory=lambda: {"speak": 0, "listen": 0})
    where: dict[Name, int] = field(default_factory=dict)
    taken: dict[Leg, int] = field(default_factory=lambda: {"speak": 0, "listen": 0})
    lost: dict[Leg, int] = field(default_factory=lambda: {"speak": 0, "listen": 0})
    stretches: list[Stretch[Frame]] = field(default_factory=list)
    frames: int = 0

    def __post_init__(self) -> None:
        self.timeline: Timeline[Frame] = Timeline(
            max_skew=self.max_skew,
            hold=self.hold,
            piece=self.piece,
            most_gap=10_000,
            is_live=self.is_live,
            on_loss=self.note_loss,
        )

    def note_loss(self, leg: Leg, why: Loss, n: int) -> None:
        assert n > 0
        self.lost[leg] += n

    def frame(self, n: int) -> Frame:
        self.frames += 1
        return [(self.frames, i) for i in range(n)]

    def place(self, leg: Leg, names: Frame, at: int | None = None) -> None:
        self.delivered[leg] += len(names)
        self.lay(self.timeline.place(leg, len(names), names, at))

    def place_both(self, speak: Frame, listen: Frame, at: int | None = None) -> None:
        self.delivered["speak"] += len(speak)
        self.delivered["listen"] += len(listen)
        self.lay(self.timeline.place_both(len(speak), speak, listen, at))

    def lay(self, stretches: Iterable[Stretch[Frame]]) -> None:
        """Lay out stretches and hold all that is true after every operation against them."""
        for stretch in stretches:
            assert 0 < stretch.n <= self.piece
            leg = self.legs[stretch.leg]
            assert stretch.position == len(leg)
            if stretch.payload is None:
                assert stretch.offset == 0
                leg += [None] * stretch.n
            else:
                assert 0 <= stretch.offset <= len(stretch.payload) - stretch.n
                names = stretch.payload[stretch.offset : stretch.offset + stretch.n]
                leg += names
                self.where.update(zip(names, range(stretch.position, len(leg)), strict=True))
                self.taken[stretch.leg] += stretch.n
            self.stretches.append(stretch)
        timeline = self.timeline
        assert (timeline.speak, timeline.listen) == tuple(map(len, self.legs.values()))
        for leg_name in LEGS:
            stats = self.stats(leg_name)
            assert stats.taken == self.taken[leg_name]
            assert stats.filled == len(self.legs[leg_name]) - self.taken[leg_name]
            assert dropped(stats) == self.lost[leg_name]
            assert stats.taken + dropped(stats) + stats.held == self.delivered[leg_name]

    def stats(self, leg: Leg) -> LegStats:
        stats = self.timeline.stats
        return stats.speak if leg == "speak" else stats.listen

    def places(self, names: Sequence[Name]) -> list[int | None]:
        """Where a frame's samples are; None for those that are not."""
        return [self.where.get(name) for name in names]


def dropped(stats: LegStats) -> int:
    return stats.late + stats.duplicate + stats.overlap


# -- against the model -----------------------------------------------------------------------

Kind = Literal["alone", "both", "advance", "release"]
# What is done, on which leg, how long, and the position, as a distance from the call's.
Operation = tuple[Kind, Leg, int, int | None]


def operations(
    kinds: Sequence[Kind], ats: st.SearchStrategy[int | None], longest: int = LONGEST
) -> st.SearchStrategy[list[Operation]]:
    lengths = st.one_of(st.just(8), st.integers(0, 10), st.integers(0, longest))
    one = st.tuples(st.sampled_from(kinds), st.sampled_from(LEGS), lengths, ats)
    # The same one or two over and over: legs that take turns, legs that stay away.
    turns = st.tuples(st.lists(one, min_size=1, max_size=2), st.integers(1, 12))
    return st.lists(turns, min_size=1, max_size=12).map(
        lambda drawn: [operation for some, times in drawn for operation in some * times]
    )


NO_POSITION = st.none()
POSITION = st.one_of(st.integers(-60, 20), st.integers(-200, 200))
ANY_POSITION = st.one_of(st.none(), st.none(), POSITION)
ALL: tuple[Kind, ...] = ("alone", "alone", "alone", "both", "advance", "release")
# Where most is in doubt: legs fed alone, by and large.
DOUBTFUL: tuple[Kind, ...] = (*("alone",) * 12, "both", "advance", "release")


def perform(laid: Laid, operation: Operation, model: Model | None = None) -> None:
    kind, leg, n, distance = operation
    at = None if distance is None else max(0, laid.timeline.now + distance)
    if kind == "alone":
        names = laid.frame(n)
        laid.place(leg, names, at)
        if model:
            model.place(leg, names, at)
    elif kind == "both":
        speak, listen = laid.frame(n), laid.frame(n)
        laid.place_both(speak, listen, at)
        if model:
            model.place_both(speak, listen, at)
    elif kind == "advance":
        to = laid.timeline.now + (distance or 0)
        laid.lay(laid.timeline.advance(to))
        if model:
            model.advance(to)
    else:
        before = {leg: dropped(laid.stats(leg)) for leg in LEGS}
        laid.lay(laid.timeline.release())
        assert {leg: dropped(laid.stats(leg)) for leg in LEGS} == before
        assert all(laid.stats(leg).held == 0 for leg in LEGS)
        if model:
            model.release()


@SEEDED
@given(
    st.one_of(operations(ALL, ANY_POSITION), operations(DOUBTFUL, NO_POSITION, longest=90)),
    st.sampled_from([(50, 20), (20, 20), (21, 20), (90, 1), (10, 0)]),
    st.sampled_from([1, 7, 30, 1000]),
)
def test_it_lies_where_the_rules_put_it(
    all: list[Operation], limits: tuple[int, int], piece: int
) -> None:
    laid, model = Laid(*limits, piece), Model(*limits)
    for operation in all:
        perform(laid, operation, model)
        assert laid.legs == model.laid
        for leg in LEGS:
            assert dropped(laid.stats(leg)) == len(model.dropped[leg])
            assert laid.stats(leg).held == sum(map(len, model.held[leg]))


@SEEDED
@given(
    st.one_of(operations(ALL, ANY_POSITION), operations(DOUBTFUL, NO_POSITION)),
    st.integers(0, 30),
    st.integers(0, 60),
)
def test_whatever_the_limits_nothing_is_miscounted(
    all: list[Operation], max_skew: int, hold: int
) -> None:
    laid = Laid(max_skew, hold, piece=9)
    for operation in all:
        perform(laid, operation)
    laid.lay(laid.timeline.release())


@SEEDED
@given(operations(("alone", "both"), POSITION), st.booleans())
def test_by_position_first_come_is_first_served(all: list[Operation], together: bool) -> None:
    """Losses, doubles, reordered frames: on an absolute clock, each has its place or none."""
    laid = Laid(max_skew=10_000)
    clock: dict[Leg, dict[int, Name]] = {"speak": {}, "listen": {}}
    for kind, leg, n, distance in all:
        assert distance is not None
        at = max(0, laid.timeline.now + distance)
        if kind == "both" or together:
            frames = {"speak": laid.frame(n), "listen": laid.frame(n)}
            reached = {"speak": laid.timeline.speak, "listen": laid.timeline.listen}
            laid.place_both(frames["speak"], frames["listen"], at)
        else:
            frames = {leg: laid.frame(n)}
            reached = {leg: getattr(laid.timeline, leg)}
            laid.place(leg, frames[leg], at)
        for each, names in frames.items():
            free = [(p, name) for p, name in enumerate(names, at) if p >= reached[each]]
            clock[each].update(free)  # type: ignore[index]
    for each in LEGS:
        assert {p: name for p, name in enumerate(laid.legs[each]) if name} == clock[each]


@SEEDED
@given(operations(("alone", "both", "advance"), POSITION), st.integers(0, 2**32))
def test_frames_with_positions_may_be_cut_anywhere(all: list[Operation], seed: int) -> None:
    check_cuts(all, seed)


@SEEDED
@given(operations(("both", "advance"), ANY_POSITION), st.integers(0, 2**32))
def test_frames_fed_together_may_be_cut_anywhere(all: list[Operation], seed: int) -> None:
    check_cuts(all, seed)


def check_cuts(all: list[Operation], seed: int) -> None:
    whole, cut, random = Laid(), Laid(), Random(seed)
    for kind, leg, n, distance in all:
        at = None if distance is None else max(0, whole.timeline.now + distance)
        if kind == "advance":
            whole.lay(whole.timeline.advance(at or 0))
            cut.lay(cut.timeline.advance(at or 0))
            continue
        speak, listen = whole.frame(n), whole.frame(n)
        edges = [0, *sorted(random.randrange(n + 1) for _ in range(3)), n]
        parts = [(slice(a, b), None if at is None else at + a) for a, b in pairwise(edges)]
        if kind == "alone":
            whole.place(leg, speak, at)
            for part, position in parts:
                cut.place(leg, speak[part], position)
        else:
            whole.place_both(speak, listen, at)
            for part, position in parts:
                cut.place_both(speak[part], listen[part], position)
        assert cut.legs == whole.legs


@SEEDED
@given(operations(("alone",), NO_POSITION, longest=40))
def test_nothing_is_lost_while_no_leg_was_filled(all: list[Operation]) -> None:
    laid = Laid(max_skew=100_000)
    for operation in all:
        perform(laid, operation)
    for leg in LEGS:
        assert laid.stats(leg).taken == laid.delivered[leg]


@SEEDED
@given(operations(("alone", "alone", "alone", "both"), NO_POSITION), st.integers(1, 40))
def test_the_legs_alternate(all: list[Operation], piece: int) -> None:
    """Stretch by stretch, no leg is further ahead than a piece and what the rules allow."""
    laid = Laid(piece=piece)
    for operation in all:
        perform(laid, operation)
    reached: dict[Leg, int] = {"speak": 0, "listen": 0}
    for stretch in laid.stretches:
        reached[stretch.leg] += stretch.n
        assert abs(reached["speak"] - reached["listen"]) <= LONGEST + HOLD + piece


# -- a break, and what comes after it --------------------------------------------------------


def cuts(random: Random, n: int, longest: int) -> list[int]:
    """`n` in random parts."""
    parts = []
    while n > 0:
        parts.append(min(n, random.randint(1, longest)))
        n -= parts[-1]
    return parts


@SEEDED
@given(
    leg=st.sampled_from(LEGS),
    stalls=st.lists(st.integers(MAX_SKEW + 1, 400), min_size=1, max_size=2),
    frame=st.integers(1, 12),
    burst=st.one_of(st.integers(1, 12), st.integers(1, 500)),
    max_skew=st.sampled_from([HOLD, MAX_SKEW]),
    seed=st.integers(0, 2**32),
)
def test_a_stall_and_its_burst_count_once(
    leg: Leg, stalls: list[int], frame: int, burst: int, max_skew: int, seed: int
) -> None:
    laid, random = Laid(max_skew), Random(seed)
    other: Leg = "listen" if leg == "speak" else "speak"
    placed: list[tuple[Frame, int]] = []  # frames of the leg, and where they belong
    true = 0

    def both_go_on() -> None:
        nonlocal true
        for _ in range(15):
            names = laid.frame(frame)
            placed.append((names, true))
            laid.place(leg, names)
            laid.place(other, laid.frame(frame))
            true += frame

    both_go_on()
    for stall in stalls:
        for n in cuts(random, stall, 2 * frame):
            laid.place(other, laid.frame(n))
        overtaken = len(laid.legs[leg])
        for n in cuts(random, stall, burst):
            names = laid.frame(n)
            laid.place(leg, names)
            places = laid.places(names)
            placed.append((names, true))
            assert set(places) <= {None, *range(max(true, overtaken), true + n)}
            true += n
        both_go_on()
    for names, position in placed:
        for expected, place in enumerate(laid.places(names), position):
            # Where it belongs; only what the filling had overtaken is missing.
            assert place == expected or (place is None and laid.legs[leg][expected] is None)
    assert laid.timeline.speak == laid.timeline.listen == true
    assert dropped(laid.stats(leg)) == sum(stall - max_skew for stall in stalls)
    assert dropped(laid.stats(other)) == laid.stats(other).filled == 0


@SEEDED
@given(
    leg=st.sampled_from(LEGS),
    quiet=st.lists(st.integers(MAX_SKEW + 16, 300), min_size=1, max_size=3),
    frame=st.integers(1, 5),
    first=st.booleans(),
    spoke=st.booleans(),
    jitter=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_a_quiet_leg_resumes_at_the_present(
    leg: Leg, quiet: list[int], frame: int, first: bool, spoke: bool, jitter: int, seed: int
) -> None:
    """Whichever leg's frame of a moment comes first, and though both may be late by a frame or two.

    A leg that never spoke is the same, but nothing of it is held.
    """
    laid, random = Laid(), Random(seed)
    other: Leg = "listen" if leg == "speak" else "speak"
    said: list[tuple[Frame, int]] = []
    true = 0

    def go_on(speaking: bool) -> None:
        nonlocal true
        waiting: list[tuple[Leg, Frame]] = []
        # Only after a while, so that the first frame tells where the leg is, and in order.
        for tick in range(30):
            names = laid.frame(frame)
            if speaking:
                said.append((names, true))
            pair: list[tuple[Leg, Frame]] = [(other, laid.frame(frame))]
            if speaking:
                pair.insert(0 if first else 1, (leg, names))
            true += frame
            waiting += pair
            if tick == 29 or random.randint(0, jitter) == 0 or len(waiting) > 2 * jitter:
                for one in LEGS if first else reversed(LEGS):
                    for each, frames in waiting:
                        if each == one:
                            laid.place(each, frames)
                waiting.clear()

    if spoke:
        go_on(True)
    for silence in quiet:
        for n in cuts(random, silence, frame):
            laid.place(other, laid.frame(n))
            true += n
        go_on(True)
    allowed = frame * (1 + jitter)
    for names, position in said:
        for expected, place in enumerate(laid.places(names), position):
            assert place is not None
            assert abs(place - expected) <= allowed
    assert abs(len(laid.legs[leg]) - true) <= allowed
    assert len(laid.legs[other]) == true
    assert all(dropped(laid.stats(each)) == 0 for each in LEGS)


def speaking_then_quiet() -> Laid:
    """Both legs up to 40, then only `speak` up to 540: `listen` was filled up to 490."""
    laid = Laid()
    laid.place_both(laid.frame(40), laid.frame(40))
    for _ in range(50):
        laid.place("speak", laid.frame(10))
    assert len(laid.legs["listen"]) == 490
    return laid


def test_held_audio_ends_where_the_other_leg_was_when_it_came() -> None:
    laid = speaking_then_quiet()
    word = laid.frame(10)
    laid.place("listen", word)
    assert laid.stats("listen").held == 10
    laid.place("speak", laid.frame(300))  # one frame, however long, is not all of the lead
    assert laid.places(word) == list(range(530, 540))
    assert (laid.timeline.speak, laid.timeline.listen) == (840, 540)


def test_part_of_a_burst_and_then_the_present() -> None:
    """What the burst lacks is lost; what comes later is not taken for it."""
    laid = speaking_then_quiet()
    for _ in range(30):
        laid.place("listen", laid.frame(10))
    assert dropped(laid.stats("listen")) == 300
    live = []
    for _ in range(40):
        laid.place("speak", laid.frame(5))
        live.append(laid.frame(5))
        laid.place("listen", live[-1])
    true = 540
    for names in live:
        assert laid.places(names) == list(range(true, true + 5))
        true += 5


@pytest.mark.parametrize("settle", ["at", "both", "advance", "release"])
def test_what_is_held_is_of_now_when_something_else_tells(settle: str) -> None:
    laid = speaking_then_quiet()
    word = laid.frame(15)
    laid.place("listen", word)
    by: dict[str, Callable[[], None]] = {
        "at": lambda: laid.place("listen", laid.frame(5), at=560),
        "both": lambda: laid.place_both(laid.frame(5), laid.frame(5)),
        "advance": lambda: laid.lay(laid.timeline.advance(600)),
        "release": lambda: laid.lay(laid.timeline.release()),
    }
    by[settle]()
    assert laid.places(word) == list(range(525, 540))
    continued = laid.frame(5)
    end = laid.timeline.listen
    laid.place("listen", continued)
    assert laid.places(continued) == list(range(end, end + 5))


def test_a_position_of_the_other_leg_decides_nothing() -> None:
    laid = speaking_then_quiet()
    laid.place("listen", laid.frame(15))
    laid.place("speak", laid.frame(5), at=540)
    assert laid.stats("listen").held == 15


def test_release_with_nothing_held_leaves_a_stall_a_stall() -> None:
    laid = speaking_then_quiet()
    laid.lay(laid.timeline.release())
    burst = [laid.frame(10) for _ in range(50)]
    for names in burst:
        laid.place("listen", names)
    places = [place for names in burst for place in laid.places(names)]
    assert places == [None] * 450 + list(range(490, 540))


def test_the_first_frame_of_a_leg_is_of_now() -> None:
    laid = Laid()
    for _ in range(40):
        laid.place("speak", laid.frame(10))
    hello = laid.frame(10)
    laid.place("listen", hello)
    laid.place("speak", laid.frame(HOLD))
    assert laid.places(hello) == list(range(390, 400))


def test_a_leg_that_never_comes_is_silence() -> None:
    laid = Laid()
    for _ in range(20):
        laid.place("speak", laid.frame(8))
    laid.lay(laid.timeline.advance(160))
    assert laid.legs["listen"] == [None] * 160
    assert laid.stats("listen") == LegStats(
        taken=0, filled=160, late=0, duplicate=0, overlap=0, held=0
    )


def test_advance_never_goes_back() -> None:
    laid = Laid()
    laid.place_both(laid.frame(40), laid.frame(40))
    assert not laid.timeline.advance(40)
    assert not laid.timeline.advance(-1)
    laid.place("listen", laid.frame(20))
    laid.lay(laid.timeline.advance(50))
    assert (laid.timeline.speak, laid.timeline.listen) == (50, 60)


def test_long_audio_comes_in_pieces() -> None:
    laid = Laid()
    laid.place_both(laid.frame(65), laid.frame(65))
    assert [
        (stretch.leg, stretch.position, stretch.n, stretch.offset) for stretch in laid.stretches
    ] == [
        ("speak", 0, 30, 0),
        ("listen", 0, 30, 0),
        ("speak", 30, 30, 30),
        ("listen", 30, 30, 30),
        ("speak", 60, 5, 60),
        ("listen", 60, 5, 60),
    ]


def test_nothing_is_nothing() -> None:
    laid = speaking_then_quiet()
    for at in (None, 0, 600):
        assert not laid.timeline.place("speak", 0, [], at)
        assert not laid.timeline.place("listen", 0, [], at)
        assert not laid.timeline.place_both(0, [], [], at)
    assert (laid.timeline.speak, laid.timeline.listen) == (540, 490)


def test_where_each_leg_is() -> None:
    laid = speaking_then_quiet()
    assert laid.timeline.now == laid.timeline.position("speak") == 540
    assert laid.timeline.position("listen") == 490


@pytest.mark.parametrize("at", [-1, 10_541, 1.0, "0", None, True, np.float64(3), float("nan")])
def test_a_position_that_is_refused(at: object) -> None:
    laid = speaking_then_quiet()
    with pytest.raises(FrameError, match=r"^at: expected .* from 0 to 10540 .*, got"):
        laid.timeline.check_at(at)


def test_a_position_that_is_not() -> None:
    laid = speaking_then_quiet()
    for at in (0, 10_540, np.int64(540)):
        checked = laid.timeline.check_at(at)
        assert checked == at
        assert type(checked) is int


# -- the common frame, which is taken elsewhere ------------------------------------------------


def take_common(
    laid: Laid, speak: Frame | None, listen: Frame | None, at: int | None, taken: list[int]
) -> bool:
    """What csrc/line.c does with a frame where the timeline's modes let it; else False."""
    timeline = laid.timeline
    modes = {leg: timeline.mode(leg) for leg in LEGS}
    frames: dict[Leg, Frame | None] = {"speak": speak, "listen": listen}
    position = {leg: timeline.position(leg) for leg in LEGS}
    alone = {leg: timeline.alone(leg) for leg in LEGS}
    if any(frame is not None and not frame for frame in frames.values()):
        return False
    if speak is not None and listen is not None:
        in_step = position["speak"] == position["listen"]
        if set(modes.values()) != {"continues"} or not in_step:
            return False
        if at is not None and at != position["speak"]:
            return False
        ends = {leg: position[leg] + len(speak) for leg in LEGS}
        alone = {"speak": 0, "listen": 0}
    else:
        leg: Leg = "speak" if listen is None else "listen"
        other: Leg = "listen" if listen is None else "speak"
        n = len(frames[leg] or [])
        if modes[leg] != "continues" or at not in (None, position[leg]):
            return False
        end = position[leg] + n
        lead = laid.max_skew if at is not None else max(laid.max_skew, n)
        behind = max(0, end - lead - position[other])
        if behind and modes[other] != "quiet":
            return False
        ends = {leg: end, other: position[other] + behind}
        alone = {leg: alone[leg] + n, other: 0}
    for each in LEGS:
        names = frames[each]
        laid.delivered[each] += len(names or [])
        grown = ends[each] - position[each]
        if names is not None:
            laid.where.update(zip(names, range(position[each], ends[each]), strict=True))
            laid.taken[each] += grown
        laid.legs[each] += names if names is not None else [None] * grown
        timeline.took(each, ends[each], alone[each])
    taken.append(1)
    laid.lay([])
    return True


@SEEDED
@given(
    st.one_of(operations(ALL, ANY_POSITION, longest=40), operations(DOUBTFUL, NO_POSITION, 40)),
    st.sampled_from([(50, 20), (20, 20), (90, 1), (10, 0)]),
)
def test_the_common_frame_may_pass_it_by(all: list[Operation], limits: tuple[int, int]) -> None:
    """Whether it was placed here or taken elsewhere, everything after it is the same."""
    plain, fast = Laid(*limits, piece=1000), Laid(*limits, piece=1000)
    taken: list[int] = []
    for operation in all:
        kind, leg, n, distance = operation
        at = None if distance is None else max(0, plain.timeline.now + distance)
        perform(plain, operation)
        fast.frames = plain.frames - (2 if kind == "both" else kind == "alone")
        if kind == "alone":
            names = fast.frame(n)
            speak, listen = (names, None) if leg == "speak" else (None, names)
            if not take_common(fast, speak, listen, at, taken):
                fast.place(leg, names, at)
        elif kind == "both":
            both = fast.frame(n), fast.frame(n)
            if not take_common(fast, *both, at, taken):
                fast.place_both(*both, at)
        else:
            perform(fast, operation)
        assert fast.legs == plain.legs
        assert fast.timeline.stats == plain.timeline.stats
        for each in LEGS:
            assert fast.timeline.alone(each) == plain.timeline.alone(each)
            assert fast.timeline.mode(each) == plain.timeline.mode(each)


# -- whatever the length of frames ---------------------------------------------------------------

TICK = 160  # 20 ms at 8 kHz


def conversation(
    bot_frame: int, talking: Sequence[tuple[int, int]], ticks: int
) -> tuple[Laid, list[tuple[Frame, int]]]:
    """The party in 20 ms frames; the bot alone while it talks, each frame when it is over."""
    laid = Laid(4000, 1600, 8000)
    said: list[tuple[Frame, int]] = []
    fed = {start: start for start, _ in talking}
    for tick in range(1, ticks + 1):
        now = tick * TICK
        laid.place("speak", laid.frame(TICK))
        for start, end in talking:
            while fed[start] + bot_frame <= min(now, end):
                names = laid.frame(bot_frame)
                said.append((names, fed[start]))
                laid.place("listen", names)
                fed[start] += bot_frame
    laid.lay(laid.timeline.release())
    return laid, said


@pytest.mark.parametrize("frame_ms", [20, 60, 180, 240, 500, 1000, 2000, 4000])
def test_the_length_of_a_frame_says_nothing_about_its_pace(frame_ms: int) -> None:
    talking = [(0, 32_000), (80_000, 112_000), (160_000, 192_000)]
    laid, said = conversation(frame_ms * 8, talking, 1600)
    assert laid.stats("listen").taken == sum(len(names) for names, _ in said) > 90_000
    assert dropped(laid.stats("listen")) == dropped(laid.stats("speak")) == 0
    assert laid.stats("speak").filled == 0
    for names, true in said:
        for place in (laid.where[names[0]], laid.where[names[-1]] - len(names) + 1):
            assert abs(place - true) <= frame_ms * 8


@pytest.mark.parametrize("speed", [1.5, 2, 3, 5, 50])
@pytest.mark.parametrize("frame", [160, 480, 1920])
def test_a_leg_that_runs_ahead_moves_nothing_of_the_other(frame: int, speed: float) -> None:
    laid = Laid(4000, 1600, 8000)
    places: list[int | None] = []
    sent = 0
    for tick in range(600):
        names = laid.frame(TICK)
        laid.place("speak", names)
        places += laid.places(names)
        if 100 <= tick < 250:
            while sent + frame <= (tick - 99) * TICK * speed:
                laid.place("listen", laid.frame(frame))
                sent += frame
    assert places == list(range(600 * TICK))
    stats = laid.stats("listen")
    assert stats.late > 0
    assert stats.taken + stats.late + stats.held == sent


def test_a_leg_that_stalls_does_not_keep_the_other() -> None:
    laid = Laid(4000, 1600, 8000)
    for tick in range(300):
        laid.place("listen", laid.frame(TICK))
        if tick < 100:
            laid.place("speak", laid.frame(TICK))
    assert laid.timeline.listen == 300 * TICK
    assert laid.timeline.speak == 300 * TICK - 4000
    assert dropped(laid.stats("listen")) == 0


def test_whole_files_one_leg_after_the_other_are_aligned() -> None:
    laid = Laid(4000, 1600, 8000)
    one, other = laid.frame(100_000), laid.frame(100_000)
    laid.place("speak", one)
    laid.place("listen", other)
    assert laid.places(one) == laid.places(other) == list(range(100_000))


# -- a live call ---------------------------------------------------------------------------------


def test_a_live_leg_continues_within_the_skew_and_else_lies_where_it_arrives() -> None:
    laid = Laid(4000, 1600, 8000, is_live=True)
    rng = Random(5)
    places: list[int | None] = []
    for tick in range(1, 100):
        clock = tick * TICK + rng.randrange(640)
        laid.lay(laid.timeline.tick(clock))
        names = laid.frame(TICK)
        laid.place("speak", names)
        places += laid.places(names)
    first = places[0]
    assert first is not None
    assert first <= 640
    assert places == list(range(first, first + len(places)))
    later = laid.timeline.speak + 20_000
    laid.lay(laid.timeline.tick(later))
    assert laid.timeline.speak == laid.timeline.listen == later - 4000
    names = laid.frame(TICK)
    laid.place("speak", names)
    assert laid.places(names) == list(range(later - TICK, later))
    assert laid.timeline.now == later
    assert dropped(laid.stats("speak")) == 0


def test_a_live_leg_cannot_be_ahead_by_more_than_the_skew() -> None:
    laid = Laid(4000, 1600, 8000, is_live=True)
    laid.lay(laid.timeline.tick(8000))
    for _ in range(100):
        laid.place("speak", laid.frame(TICK))
    assert 8000 + 4000 <= laid.timeline.speak <= 8000 + 4000 + TICK
    assert laid.stats("speak").late > 0
    assert laid.timeline.listen == 4000


def test_what_plays_is_no_gap() -> None:
    laid = Laid(4000, 1600, 8000)
    for _ in range(10):
        laid.place("speak", laid.frame(TICK))
    laid.timeline.fill("listen", 1600)
    laid.timeline.played(1000, 1400)
    stats = laid.timeline.stats.listen
    assert (stats.taken, stats.filled) == (1000, 600)
    assert laid.timeline.came("listen")
    assert laid.timeline.is_quiet("listen")

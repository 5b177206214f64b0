# SPDX-License-Identifier: MIT
"""Stretches follow each other for ever, and lie where the rules, sample by sample, put them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from random import Random
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from recorder.errors import FrameError
from recorder.placement.timeline import Leg, LegStats, Loss, Stretch, Timeline
from tests.marks import mostly_slow
from tests.timeline_model import LEGS, PLAYED, Model, Name

MAX_SKEW, HOLD, PIECE = 50, 20, 30
LONGEST = 130  # of a frame
SEEDED = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)
FEWER = settings(SEEDED, max_examples=40)  # of whole conversations
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
    losses: dict[Leg, Counter[Loss]] = field(
        default_factory=lambda: {"speak": Counter(), "listen": Counter()}
    )
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
        self.losses[leg][why] += n

    def frame(self, n: int) -> Frame:
        self.frames += 1
        return [(self.frames, i) for i in range(n)]

    def place(self, leg: Leg, names: Frame, at: int | None = None, slack: int = 0) -> None:
        expected = self.timeline.expected(leg, len(names), at, both=False)
        is_decided = self.stats(leg).held == 0
        self.delivered[leg] += len(names)
        self.lay(self.timeline.place(leg, len(names), names, at, slack))
        if is_decided and (at is None or slack == 1):  # what a leg at its own rate has
            self.check_expected(names, expected)

    def place_both(self, speak: Frame, listen: Frame, at: int | None = None) -> None:
        expected = self.timeline.expected("speak", len(speak), None, both=True)
        is_decided = all(self.stats(leg).held == 0 for leg in LEGS)
        self.delivered["speak"] += len(speak)
        self.delivered["listen"] += len(listen)
        self.lay(self.timeline.place_both(len(speak), speak, listen, at))
        for names in (speak, listen):
            if is_decided or at is not None:
                self.check_expected(names, expected if at is None else at)

    def check_expected(self, names: Frame, expected: int) -> None:
        """What was laid of a frame lies where it was expected."""
        assert set(self.places(names)) <= {None, *range(expected, expected + len(names))}

    def play(self, to: int, n: int, silent_since: int) -> None:
        """Fill the listen leg up to `to`; `n` samples up to `silent_since` carry what plays."""
        filled = self.timeline.fill("listen", to)
        stretches = [
            Stretch(
                one.leg, one.position, one.n, [(PLAYED, one.position + i) for i in range(one.n)], 0
            )
            if silent_since - n <= one.position < silent_since
            else one
            for stretch in filled
            for one in split(stretch, silent_since - n, silent_since)
        ]
        self.delivered["listen"] += n
        self.timeline.played(n, silent_since)
        self.lay(stretches)

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
            assert losses(stats) == self.losses[leg_name]
            assert stats.taken + dropped(stats) + stats.held == self.delivered[leg_name]

    def stats(self, leg: Leg) -> LegStats:
        stats = self.timeline.stats
        return stats.speak if leg == "speak" else stats.listen

    def places(self, names: Sequence[Name]) -> list[int | None]:
        """Where a frame's samples are; None for those that are not."""
        return [self.where.get(name) for name in names]


def split(stretch: Stretch[Frame], *positions: int) -> Iterator[Stretch[Frame]]:
    """Silence, in parts that begin at the positions."""
    end = stretch.position + stretch.n
    inner = (position for position in positions if stretch.position < position < end)
    for start, stop in pairwise(sorted({stretch.position, *inner, end})):
        yield Stretch(stretch.leg, start, stop - start, None, 0)


def losses(stats: LegStats) -> Counter[Loss]:
    counts: dict[Loss, int] = {
        "late": stats.late,
        "duplicate": stats.duplicate,
        "overlap": stats.overlap,
    }
    return Counter({why: n for why, n in counts.items() if n})


def dropped(stats: LegStats) -> int:
    return losses(stats).total()


# -- against the model -----------------------------------------------------------------------

Kind = Literal["alone", "both", "advance", "release", "play", "tick"]
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
ALL: tuple[Kind, ...] = ("alone", "alone", "alone", "both", "advance", "release", "play")
# Where most is in doubt: legs fed alone, by and large.
DOUBTFUL: tuple[Kind, ...] = (*("alone",) * 12, "both", "advance", "release", "play")
LIVE: tuple[Kind, ...] = (*("alone",) * 4, "both", "advance", "release", "play", *("tick",) * 4)
LIMITS = st.sampled_from([(50, 20), (20, 20), (21, 20), (90, 1), (10, 0), (10, 30), (50, 70)])
PIECES = st.sampled_from([1, 7, 30, 1000])


def perform(laid: Laid, operation: Operation, model: Model | None = None, slack: int = 0) -> None:
    kind, leg, n, distance = operation
    timeline = laid.timeline
    at = None if distance is None else max(0, timeline.now + distance)
    if kind == "alone":
        names = laid.frame(n)
        laid.place(leg, names, at, slack)
        if model:
            model.place(leg, names, at, slack)
    elif kind == "both":
        speak, listen = laid.frame(n), laid.frame(n)
        laid.place_both(speak, listen, at)
        if model:
            model.place_both(speak, listen, at)
    elif kind == "advance":
        to = timeline.now + (distance or 0)
        laid.lay(timeline.advance(to))
        if model:
            model.advance(to)
    elif kind == "play":
        play(laid, n, distance or 0, model)
    elif kind == "tick":
        clock = timeline.now + (n if distance is None else distance)
        laid.lay(timeline.tick(clock))
        if model:
            model.tick(clock)
    else:
        before = {leg: dropped(laid.stats(leg)) for leg in LEGS}
        laid.lay(timeline.release())
        assert {leg: dropped(laid.stats(leg)) for leg in LEGS} == before
        assert all(laid.stats(leg).held == 0 for leg in LEGS)
        if model:
            model.release()


def play(laid: Laid, n: int, silent: int, model: Model | None) -> None:
    """What a call does while something plays and the listen leg is quiet."""
    start = laid.timeline.listen
    to = min(laid.timeline.now, start + laid.piece)
    if laid.timeline.is_quiet("listen") and to > start:
        silent_since = to - min(max(0, silent), to - start - 1)
        sounding = max(1, min(n, silent_since - start))
        laid.play(to, sounding, silent_since)
        if model:
            model.play(to, sounding, silent_since)


def check_model(laid: Laid, model: Model, all: list[Operation], slack: int) -> None:
    for operation in all:
        perform(laid, operation, model, slack)
        assert laid.legs == model.laid
        assert laid.timeline.now == model.now()
        for leg in LEGS:
            assert dropped(laid.stats(leg)) == len(model.dropped[leg])
            assert laid.stats(leg).held == sum(map(len, model.held[leg]))
            assert laid.timeline.alone(leg) == model.alone[leg]
            assert laid.timeline.came(leg) == model.came[leg]
            gaps = [is_gap for is_gap, _ in groupby(model.laid[leg], lambda name: name is None)]
            if sum(gaps) <= 64:  # so many are remembered
                assert losses(laid.stats(leg)) == model.losses[leg]


@pytest.mark.slow
@SEEDED
@given(
    st.one_of(operations(ALL, ANY_POSITION), operations(DOUBTFUL, NO_POSITION, longest=90)),
    LIMITS,
    PIECES,
    st.sampled_from([0, 1]),
)
def test_it_lies_where_the_rules_put_it(
    all: list[Operation], limits: tuple[int, int], piece: int, slack: int
) -> None:
    check_model(Laid(*limits, piece), Model(*limits), all, slack)


@pytest.mark.slow
@SEEDED
@given(
    st.one_of(operations(LIVE, ANY_POSITION), operations(LIVE, NO_POSITION, longest=90)),
    st.sampled_from([0, 10, 50]),
    PIECES,
)
def test_it_lies_where_the_rules_of_a_live_call_put_it(
    all: list[Operation], max_skew: int, piece: int
) -> None:
    laid = Laid(max_skew, piece=piece, is_live=True)
    check_model(laid, Model(max_skew, HOLD, is_live=True), all, slack=0)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@SEEDED
@given(operations(("alone", "both", "advance"), POSITION), st.integers(0, 2**32))
def test_frames_with_positions_may_be_cut_anywhere(all: list[Operation], seed: int) -> None:
    check_cuts(all, seed)


@pytest.mark.slow
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


@pytest.mark.slow
@SEEDED
@given(operations(("alone",), NO_POSITION, longest=40))
def test_nothing_is_lost_while_no_leg_was_filled(all: list[Operation]) -> None:
    laid = Laid(max_skew=100_000)
    for operation in all:
        perform(laid, operation)
    for leg in LEGS:
        assert laid.stats(leg).taken == laid.delivered[leg]


@pytest.mark.slow
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
        assert abs(reached["speak"] - reached["listen"]) <= 2 * LONGEST + HOLD + piece


# -- a break, and what comes after it --------------------------------------------------------


def cuts(random: Random, n: int, longest: int) -> list[int]:
    """`n` in random parts."""
    parts = []
    while n > 0:
        parts.append(min(n, random.randint(1, longest)))
        n -= parts[-1]
    return parts


@pytest.mark.slow
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


@pytest.mark.slow
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
    # The longest that it takes is 0.1 s, and `hold` is 0.2 s.
    if any(frame is not None and not 0 < len(frame) <= laid.hold // 2 for frame in frames.values()):
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
    st.sampled_from([(50, 20), (20, 20), (90, 16), (10, 30)]),
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


def test_while_frames_are_held_neither_leg_is_taken_elsewhere() -> None:
    """As the other leg advances it is judged whether they are late."""
    laid = speaking_then_quiet()
    assert (laid.timeline.mode("speak"), laid.timeline.mode("listen")) == ("continues", "quiet")
    laid.place("listen", laid.frame(10))
    assert laid.timeline.mode("speak") == laid.timeline.mode("listen") == "ask"
    laid.lay(laid.timeline.release())
    assert laid.timeline.mode("speak") == laid.timeline.mode("listen") == "continues"


# -- whatever the length of frames ---------------------------------------------------------------

TICK = 160  # 20 ms at 8 kHz
SKEW, WATCHED, SECOND = 4000, 1600, 8000  # of calls as users have them
FRAME_LENGTHS = (160, 480, 1440, 1920, 4000, 8000, 16_000)  # 20 ms to 2 s


def phone_call(*, is_live: bool = False) -> Laid:
    return Laid(SKEW, WATCHED, SECOND, is_live)


@dataclass
class Source:
    """Audio of a leg as it happens, each frame fed when it is over."""

    leg: Leg
    frame: int
    talking: Sequence[tuple[int, int]]
    speed: float = 1
    said: list[tuple[Frame, int]] = field(default_factory=list)  # each frame and where it belongs
    fed: dict[int, int] = field(default_factory=dict)

    def feed(self, laid: Laid, now: int) -> None:
        for start, end in self.talking:
            while (done := self.fed.get(start, 0)) + self.frame <= (
                min(now, end) - start
            ) * self.speed:
                names = laid.frame(self.frame)
                self.said.append((names, start + done))
                laid.place(self.leg, names)
                self.fed[start] = done + self.frame

    @property
    def samples(self) -> int:
        return sum(self.fed.values())

    def furthest_off(self, laid: Laid) -> int:
        """By how much the words of the source lie elsewhere than they belong; all are there."""
        return max(
            abs(place - true)
            for names, start in self.said
            for place, true in (
                (laid.where[names[0]], start),
                (laid.where[names[-1]], start - 1 + len(names)),
            )
        )


def converse(laid: Laid, *sources: Source, seconds: float) -> None:
    for now in range(TICK, int(seconds * SECOND) + 1, TICK):
        for source in sources:
            source.feed(laid, now)
    laid.lay(laid.timeline.release())


def is_unmoved(laid: Laid, source: Source) -> bool:
    """All of a steady leg is there, and begins at 0."""
    places = [place for names, _ in source.said for place in laid.places(names)]
    return places == list(range(source.samples))


TALKING = [(0, 32_000), (79_360, 111_360), (158_000, 190_000)]


@pytest.mark.parametrize("leg", mostly_slow(LEGS, "speak"))
@pytest.mark.parametrize("first", ["the steady leg", "the other"])
@pytest.mark.parametrize("frame", mostly_slow(FRAME_LENGTHS, 16_000))
def test_the_length_of_a_frame_says_nothing_about_its_pace(
    leg: Leg, frame: int, first: str
) -> None:
    """The same audio in real time, in frames of any length: none is dropped, all is there."""
    laid = phone_call()
    other: Leg = "listen" if leg == "speak" else "speak"
    bot, party = Source(leg, frame, TALKING), Source(other, TICK, [(0, 240_000)])
    sources = [party, bot] if first == "the steady leg" else [bot, party]
    converse(laid, *sources, seconds=30)
    assert is_unmoved(laid, party)
    assert laid.stats(leg).taken == bot.samples >= 96_000 * 0.9
    assert bot.furthest_off(laid) <= frame
    assert dropped(laid.stats(leg)) == dropped(laid.stats(other)) == laid.stats(other).filled == 0
    assert laid.timeline.now == 240_000


@pytest.mark.parametrize("steady", mostly_slow(FRAME_LENGTHS, 1440))
@pytest.mark.parametrize("frame", mostly_slow(FRAME_LENGTHS, 480, 16_000))
def test_both_legs_may_come_in_long_frames(steady: int, frame: int) -> None:
    laid = phone_call()
    bot, party = Source("listen", frame, TALKING), Source("speak", steady, [(0, 240_000)])
    converse(laid, party, bot, seconds=30)
    for source in (bot, party):
        assert laid.stats(source.leg).taken == source.samples
        assert dropped(laid.stats(source.leg)) == 0
        assert source.furthest_off(laid) <= max(steady, frame)


@pytest.mark.slow
@FEWER
@given(
    frame=st.integers(20, 2400),
    pauses=st.lists(st.integers(2 * SKEW, 4 * SECOND), min_size=1, max_size=3),
    words=st.integers(2400, 2 * SECOND),
)
def test_words_lie_within_a_frame_of_where_they_were_said(
    frame: int, pauses: list[int], words: int
) -> None:
    laid = phone_call()
    talking = []
    at = 0
    for pause in pauses:
        talking.append((at + pause, at + pause + words))
        at += pause + words
    bot, party = Source("listen", frame, talking), Source("speak", TICK, [(0, at + SECOND)])
    converse(laid, party, bot, seconds=at / SECOND + 1)
    assert is_unmoved(laid, party)
    assert laid.stats("listen").taken == bot.samples
    assert bot.furthest_off(laid) <= frame + TICK


# -- faster than it can be spoken ------------------------------------------------------------------


def check_outpaced(laid: Laid, fast: Source, steady: Source, seconds: float) -> None:
    assert is_unmoved(laid, steady)
    assert laid.stats(steady.leg).filled == dropped(laid.stats(steady.leg)) == 0
    stats = laid.stats(fast.leg)
    assert (stats.duplicate, stats.overlap, stats.held) == (0, 0, 0)
    assert stats.taken + stats.late == fast.samples
    # By so much it may run ahead, where its frame is long.
    most = WATCHED + fast.frame * (2 if fast.frame > WATCHED // 2 else 1) + 3 * TICK
    assert 0 <= laid.timeline.now - seconds * SECOND <= max(SKEW, most)


@pytest.mark.parametrize("begins", mostly_slow([0, 3], 0))
@pytest.mark.parametrize("speed", mostly_slow([1.1, 1.5, 2, 3], 1.5))
@pytest.mark.parametrize("frame", mostly_slow(FRAME_LENGTHS, 8000))
def test_a_leg_that_outpaces_the_other_does_not_move_it(
    frame: int, speed: float, begins: int
) -> None:
    laid = phone_call()
    fast = Source("listen", frame, [(begins * SECOND, 30 * SECOND)], speed)
    steady = Source("speak", TICK, [(0, 30 * SECOND)])
    converse(laid, steady, fast, seconds=30)
    check_outpaced(laid, fast, steady, 30)


@pytest.mark.slow
@FEWER
@given(
    steady=st.integers(80, SKEW // 2),
    frame=st.one_of(st.integers(80, SKEW), st.integers(SKEW, 4 * SKEW)),
    speed=st.floats(1.1, 3),
    begins=st.integers(0, 2 * SECOND),
)
def test_frames_that_are_in_time_are_not_moved(
    steady: int, frame: int, speed: float, begins: int
) -> None:
    """At the pace of the other leg, and with its newest frame, each comes within the skew."""
    is_long = frame > SKEW
    assume(steady * speed + TICK + (0 if is_long else frame) <= SKEW - TICK)
    laid = phone_call()
    fast = Source("listen", frame, [(begins, 20 * SECOND)], speed)
    other = Source("speak", steady, [(0, 20 * SECOND)])
    converse(laid, other, fast, seconds=20)
    assert is_unmoved(laid, other)
    assert laid.stats("speak").filled == 0 or laid.timeline.speak > other.samples


@pytest.mark.parametrize("speed", [5, 1e6])
@pytest.mark.parametrize("frame", mostly_slow([TICK, 1920], 1920))
@pytest.mark.parametrize("spoke", mostly_slow([False, True], False))
def test_a_burst_on_a_quiet_leg_moves_nothing_of_the_other(
    frame: int, speed: float, spoke: bool
) -> None:
    laid = phone_call()
    before = [(0, SECOND)] if spoke else []
    bot = Source("listen", TICK, before)
    burst = Source("listen", frame, [(3 * SECOND, 3 * SECOND + 6 * SECOND // 5)], 5)
    if speed > 5:  # all at once
        burst = Source("listen", frame, [(3 * SECOND, 3 * SECOND + TICK)], 6 * SECOND / TICK)
    party = Source("speak", TICK, [(0, 20 * SECOND)])
    converse(laid, party, bot, burst, seconds=20)
    assert is_unmoved(laid, party)
    assert laid.timeline.now == 20 * SECOND
    stats = laid.stats("listen")
    assert stats.late > 4 * SECOND * (speed > 5)
    assert (stats.duplicate, stats.overlap, stats.held) == (0, 0, 0)
    assert stats.taken + stats.late == bot.samples + burst.samples
    assert laid.stats("speak").filled == dropped(laid.stats("speak")) == 0


@pytest.mark.parametrize("jitter", mostly_slow([TICK, 5 * TICK], 5 * TICK))
@pytest.mark.parametrize("lacking", mostly_slow([0, 800, 2400, 3680, 3840, 4000], 0, 3680))
def test_a_burst_that_lacks_something_costs_the_other_leg_nothing(
    lacking: int, jitter: int
) -> None:
    """A stall of 2 s whose burst lacks up to the skew leaves a leg behind, but only that leg."""
    laid = phone_call()
    stalling = Source("listen", TICK, [(0, SECOND), (3 * SECOND, 10 * SECOND)])
    party = Source("speak", TICK, [(0, 10 * SECOND)])
    for now in range(TICK, 10 * SECOND + 1, TICK):
        party.feed(laid, now)
        if now == 3 * SECOND:
            for _ in range(0, 2 * SECOND - lacking, TICK):
                laid.place("listen", laid.frame(TICK))
        if now % jitter == 0:
            stalling.feed(laid, now)
    assert is_unmoved(laid, party)
    assert laid.timeline.now == 10 * SECOND
    assert dropped(laid.stats("speak")) == laid.stats("speak").filled == 0


def paced(laid: Laid, seconds: float, *legs: Leg) -> list[Frame]:
    """Feed legs in 20 ms frames; returns those of the first."""
    fed = []
    for _ in range(round(seconds * 50)):
        fed.append(laid.frame(TICK))
        laid.place(legs[0], fed[-1])
        for leg in legs[1:]:
            laid.place(leg, laid.frame(TICK))
    return fed


def check_continues(laid: Laid, fed: list[Frame], quiet: Leg) -> None:
    """All but the first 10 s of a leg that comes alone is there, without a gap."""
    places = [place for names in fed[500:] for place in laid.places(names)]
    assert places == list(range(laid.timeline.now - len(places), laid.timeline.now))
    assert laid.timeline.now - laid.timeline.position(quiet) == SKEW  # timers run


def test_a_stall_that_ends_when_the_other_leg_is_quiet() -> None:
    """What comes in pace after the burst is not taken for more of it for ever."""
    laid = phone_call()
    paced(laid, 4, "speak", "listen")
    paced(laid, 3, "listen")
    check_continues(laid, paced(laid, 3 + 30, "speak"), "listen")
    assert laid.stats("speak").late <= 3 * SECOND + 40 * WATCHED


@pytest.mark.parametrize("before", mostly_slow([0.1, 4], 4))
def test_a_leg_continues_beside_one_that_came_in_a_burst_and_is_quiet(before: float) -> None:
    laid = phone_call()
    paced(laid, before, "speak", "listen")
    paced(laid, 6, "listen")
    check_continues(laid, paced(laid, 40, "speak"), "listen")


def test_a_leg_continues_after_its_burst_though_the_other_one_stalls() -> None:
    laid = phone_call()
    paced(laid, 3, "speak")
    paced(laid, 2, "listen")  # at once
    check_continues(laid, paced(laid, 30, "listen"), "speak")


# -- a leg that stalls -----------------------------------------------------------------------------


@pytest.mark.parametrize("frame", mostly_slow(FRAME_LENGTHS, 160, 8000))
@pytest.mark.parametrize("ahead", [0, 3])
def test_a_leg_that_stalls_does_not_keep_the_other(frame: int, ahead: int) -> None:
    """It is silent up to the skew, or the newest frame, before the other; nothing is dropped."""
    laid = phone_call()
    stalling = Source("speak", TICK, [(0, 4 * SECOND)])
    steady = Source("listen", frame, [(0, 20 * SECOND)])
    for _ in range(ahead):  # frames of the other may come first
        steady.fed[0] = steady.fed.get(0, 0) + TICK
        laid.place("listen", laid.frame(TICK))
    for now in range(TICK, 20 * SECOND + 1, TICK):
        stalling.feed(laid, now)
        steady.feed(laid, now)
        if now > 4 * SECOND + frame + SKEW + WATCHED:
            assert laid.timeline.listen - laid.timeline.speak <= max(SKEW, frame)
    # A leg whose frames are longer than the skew was filled itself.
    assert laid.stats("listen").filled <= max(0, frame - SKEW)
    assert laid.stats("listen").taken == steady.samples > 17 * SECOND
    assert all(dropped(laid.stats(leg)) == 0 for leg in LEGS)


@pytest.mark.parametrize("piece", mostly_slow([1, 160, SECOND], 160, SECOND))
def test_whole_files_one_leg_after_the_other_are_aligned(piece: int) -> None:
    for n, m in ((30_000, 30_000), (30_000, 12_345), (12_345, 30_000)):
        laid = Laid(SKEW, WATCHED, piece)
        one, other = laid.frame(n), laid.frame(m)
        laid.place("speak", one)
        laid.place("listen", other)
        assert laid.places(one) == list(range(n))
        assert laid.places(other) == list(range(m))
        assert all(laid.stats(leg).filled == 0 for leg in LEGS)


# -- a live call -----------------------------------------------------------------------------------


@pytest.mark.slow
@SEEDED
@given(
    frame=st.sampled_from([80, 160, 480, 1440]),
    lates=st.lists(st.integers(0, SKEW), min_size=2, max_size=60),
    leg=st.sampled_from(LEGS),
)
def test_a_live_leg_continues_whatever_the_jitter(frame: int, lates: list[int], leg: Leg) -> None:
    """A frame is in time while its beginning is at most the skew ago."""
    laid = phone_call(is_live=True)
    places: list[int | None] = []
    arrived = 0
    lates = [min(late, SKEW - frame) for late in lates]
    for index, late in enumerate(lates, 1):
        arrived = max(arrived, index * frame + late)  # in order
        laid.lay(laid.timeline.tick(arrived))
        names = laid.frame(frame)
        laid.place(leg, names)
        places += laid.places(names)
    assert places == list(range(lates[0], lates[0] + len(places)))
    assert dropped(laid.stats(leg)) == 0
    assert laid.stats(leg).filled == lates[0]


@pytest.mark.slow
@FEWER
@given(
    mute=st.integers(SKEW + 160, 10 * SECOND),
    step=st.integers(40, 2 * SECOND),
    leg=st.sampled_from(LEGS),
    together=st.booleans(),
)
def test_after_a_mute_live_audio_lies_where_it_arrives(
    mute: int, step: int, leg: Leg, together: bool
) -> None:
    laid = phone_call(is_live=True)

    def feed() -> Frame:
        names = laid.frame(TICK)
        if together:
            laid.place_both(names, laid.frame(TICK))
        else:
            laid.place(leg, names)
        return names

    for now in range(TICK, SECOND + 1, TICK):
        laid.lay(laid.timeline.tick(now))
        assert laid.places(feed()) == list(range(now - TICK, now))
    for now in [*range(SECOND, SECOND + mute, step), SECOND + mute]:
        laid.lay(laid.timeline.tick(now))
        assert laid.timeline.now == now  # though no leg is there
        for each in LEGS:
            assert laid.timeline.position(each) >= now - SKEW
    assert laid.timeline.speak == laid.timeline.listen == SECOND + mute - SKEW
    assert laid.places(feed()) == list(range(SECOND + mute - TICK, SECOND + mute))
    assert laid.timeline.now == laid.timeline.position(leg) == SECOND + mute
    assert dropped(laid.stats(leg)) == 0
    assert laid.places(feed()) == list(range(SECOND + mute, SECOND + mute + TICK))


@pytest.mark.parametrize("frame", mostly_slow(FRAME_LENGTHS, 1920))
def test_a_live_leg_in_frames_of_any_length(frame: int) -> None:
    laid = phone_call(is_live=True)
    bot, party = Source("listen", frame, TALKING), Source("speak", TICK, [(0, 240_000)])
    for now in range(TICK, 240_001, TICK):
        laid.lay(laid.timeline.tick(now))
        party.feed(laid, now)
        bot.feed(laid, now)
    assert is_unmoved(laid, party)
    assert laid.stats("listen").taken == bot.samples
    assert bot.furthest_off(laid) <= frame
    assert laid.timeline.now == 240_000


def test_a_live_leg_cannot_be_ahead_by_more_than_the_skew() -> None:
    laid = phone_call(is_live=True)
    laid.lay(laid.timeline.tick(8000))
    for _ in range(100):
        laid.place("speak", laid.frame(TICK))
    assert 8000 + SKEW <= laid.timeline.speak <= 8000 + SKEW + TICK
    assert laid.timeline.now == laid.timeline.speak
    assert laid.timeline.present == 8000
    stats = laid.stats("speak")
    assert stats.late == 100 * TICK - stats.taken > 0
    assert laid.timeline.listen == 8000 - SKEW


def test_a_live_clock_does_not_go_back() -> None:
    laid = phone_call(is_live=True)
    laid.lay(laid.timeline.tick(8000))
    assert not laid.timeline.tick(7000)
    assert laid.timeline.now == 8000


# -- what plays ------------------------------------------------------------------------------------


def test_what_plays_is_no_gap() -> None:
    laid = phone_call()
    for _ in range(10):
        laid.place("speak", laid.frame(TICK))
    laid.play(1600, 1000, 1400)
    stats = laid.timeline.stats.listen
    assert (stats.taken, stats.filled) == (1000, 600)
    assert laid.timeline.came("listen")
    assert laid.timeline.is_quiet("listen")
    assert laid.timeline.mode("listen") == "quiet"


def test_after_what_played_the_next_frame_is_of_now() -> None:
    """Also where the play ended just there, and whoever takes the next frame."""
    laid = phone_call()
    for _ in range(10):
        laid.place("speak", laid.frame(TICK))
    laid.play(800, 800, 800)
    assert laid.timeline.is_quiet("listen")
    assert laid.timeline.mode("listen") == "ask"
    names = laid.frame(TICK)
    assert laid.timeline.expected("listen", TICK, None, both=False) == 1600 - TICK
    laid.place("listen", names)
    assert laid.places(names) == list(range(1600 - TICK, 1600))
    assert laid.timeline.mode("listen") == "continues"


def test_audio_over_silence_beside_what_played_is_late() -> None:
    """Else nobody would be warned of its loss."""
    laid = phone_call()
    for _ in range(20):
        laid.place("speak", laid.frame(TICK))
    laid.play(3200, 800, 2000)  # silence up to 1200, and from 2000 on
    for at, why in ((160, "late"), (1200, "duplicate"), (1840, "duplicate"), (2000, "late")):
        before = losses(laid.stats("listen"))
        laid.place("listen", laid.frame(TICK), at)
        assert losses(laid.stats("listen")) - before == {why: TICK}


@pytest.mark.parametrize("piece", [1, 7, 30])
def test_what_was_held_does_not_part_the_frame_that_settles_it(piece: int) -> None:
    """The other leg's words, placed in the middle of a frame, pass it by more than `max_skew`."""
    words: list[Operation] = [("alone", "listen", 53, None), ("alone", "listen", 8, None)]
    said: list[Operation] = [("alone", "speak", 42, None)] * 4
    said += words * 3
    said += [("alone", "speak", 8, None)] * 3
    check_model(Laid(20, 20, piece), Model(20, 20), said, slack=0)

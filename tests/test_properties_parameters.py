"""Whatever a user knows about parameters: the map keeps to it, there and back again."""

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_calsheq.core.configuration import from_mapping
from rllib_calsheq.core.parameters import KnownParameters
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace

#: Part of a range, with its ends.
PART = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)
LOWS = st.sampled_from([0.0, -1.0, 1e6]) | st.floats(-1e6, 1e6)
WIDTHS = st.sampled_from([1e-3, 1.0, 1e6]) | st.floats(1e-3, 1e6)
#: What may stand anywhere in a file.
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("s.p0"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["s.p0", "t.p1", "mean", "std", "x"]), inner, max_size=3)
        | st.dictionaries(st.integers() | st.none(), inner, max_size=2)
    ),
    max_leaves=6,
)


@st.composite
def spaces(draw):
    """Spaces of one to six parameters of two supertypes."""
    parameters = []
    for i in range(draw(st.integers(1, 6))):
        low = draw(LOWS)
        high = low + draw(WIDTHS)
        start = draw(st.none() | PART.map(lambda part, a=low, b=high: between(a, b, part)))
        parameters.append(Parameter(f"p{i}", draw(st.sampled_from("st")), low, high, start))
    return SupertypeSpace(tuple(parameters))


def between(low, high, part):
    """A number in [low, high], with its ends at the parts 0 and 1."""
    return float(np.clip(low + part * (high - low), low, high))


@st.composite
def known(draw):
    """A space, and what a user may truly know about it."""
    space = draw(spaces())
    # Each parameter is free, fixed, bounded or tied to others; one is not fixed at least.
    roles = [draw(st.sampled_from(["free", "fixed", "bounds", "ties"])) for _ in space.names]
    if set(roles) == {"fixed"}:
        roles[0] = "free"
    stated = {"fixed": {}, "bounds": {}, "prior": {}}
    for p, role in zip(space.parameters, roles, strict=True):
        if role == "fixed":
            stated["fixed"][p.full_name] = between(p.low, p.high, draw(PART))
        low, high = sorted((between(p.low, p.high, draw(PART)), between(p.low, p.high, draw(PART))))
        if role == "bounds" and high - low > 1e-9 * (p.high - p.low):
            stated["bounds"][p.full_name] = [low, high]
        elif role in ("free", "bounds") and draw(st.booleans()):
            mean = between(p.low, p.high, draw(PART))
            stated["prior"][p.full_name] = {"mean": mean, "std": draw(WIDTHS)}
    tied = [p for p, role in zip(space.parameters, roles, strict=True) if role == "ties"]
    if len(tied) > 1 and max(p.low for p in tied) < min(p.high for p in tied):
        stated["ties"] = [draw(st.permutations([p.full_name for p in tied]))]
    return space, stated


def allows(space, stated, profiles):
    """Whether profiles (B, d) are within all that was stated, to the last bit."""
    space.validate(profiles)
    columns = dict(zip(space.names, profiles.T, strict=True))
    for name, value in stated["fixed"].items():
        assert (columns[name] == value).all()
    for name, (low, high) in stated["bounds"].items():
        assert ((columns[name] >= low) & (columns[name] <= high)).all()
    for group in stated.get("ties", ()):
        assert all((columns[name] == columns[group[0]]).all() for name in group)


@given(known(), st.data())
def test_there_and_back_again_is_the_same_and_within_all_that_was_stated(given_, data):
    space, stated = given_
    made = KnownParameters(**stated).map_of(space)
    shape = (3, len(made.free))
    unit = data.draw(hnp.arrays(np.float64, shape, elements=PART))
    profiles = made.expand(unit)
    allows(space, stated, profiles)
    back = made.reduce(profiles)
    assert ((back >= 0) & (back <= 1)).all()
    # A coordinate is told from its value as well as floats of its size tell it.
    size = np.maximum(np.abs(made.free.low), np.abs(made.free.high))
    lost = 8 * np.finfo(np.float64).eps * (1 + size / (made.free.high - made.free.low))
    assert (np.abs(back - unit) <= lost).all()
    allows(space, stated, made.expand(back))


@given(known(), st.data())
def test_any_profile_has_one_nearby_that_is_allowed(given_, data):
    space, stated = given_
    made = KnownParameters(**stated).map_of(space)
    numbers = st.floats(-1e9, 1e9)
    profiles = data.draw(hnp.arrays(np.float64, (2, len(space)), elements=numbers))
    unit = made.reduce(profiles)
    assert ((unit >= 0) & (unit <= 1)).all()
    allows(space, stated, made.expand(unit))


@given(known())
def test_the_start_the_prior_and_what_is_narrowed_are_allowed(given_):
    space, stated = given_
    made = KnownParameters(**stated).map_of(space)
    allows(space, stated, made.space.start[None])
    allows(space, stated, made.expand(made.free.to_unit(made.free.start))[None])
    assert len(made.free) + len(stated["fixed"]) <= len(space)
    assert len(made.narrowed) + len(stated["fixed"]) == len(space)
    assert (made.narrowed.low >= space.low[made.moving]).all()
    assert (made.narrowed.high <= space.high[made.moving]).all()
    assert (made.prior is None) == (not stated["prior"])
    if made.prior is not None:
        assert ((made.prior.mean >= 0) & (made.prior.mean <= 1)).all()
        assert not (made.prior.std <= 0).any()


SECTIONS = st.sampled_from(["fixed", "bounds", "ties", "prior", "unknown"])


@given(st.dictionaries(SECTIONS, JUNK, max_size=3) | JUNK, st.lists(st.just("s.p0"), max_size=1))
def test_what_cannot_be_known_is_a_value_error(stated, start):
    space = SupertypeSpace((Parameter("p0", "s"), Parameter("p1", "t", -1.0, 2.0)))
    try:
        made = from_mapping(KnownParameters, stated, "parameters").map_of(space, start)
    except ValueError as error:
        event("refused")
        said = str(error)
    else:
        event("taken")
        space.validate(made.expand(np.full(len(made.free), 0.3)))
        return
    assert "parameters" in said


@given(spaces(), st.dictionaries(st.text(max_size=3) | st.none() | st.integers(), JUNK) | JUNK)
def test_a_start_is_within_the_space_or_a_value_error(space, values):
    try:
        found = space.with_start(values).start
    except ValueError as error:
        said = str(error)
    else:
        space.validate(found)
        return
    assert "parameter" in said or any(name in said for name in space.names)

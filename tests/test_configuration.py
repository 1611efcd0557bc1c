"""Checked dataclasses: what passes, and what a refusal says."""

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field

from rllib_calsheq.core.configuration import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    configuration,
    from_mapping,
)


@configuration
class Road:
    lanes: Count = 2
    exits: Annotated[int, Field(ge=0, le=9)] = 0
    speed: Positive | None = 50.0
    slope: NonNegative = 0.0
    part: Fraction = 1.0
    wet: bool = False
    kind: Literal["town", "country"] = "town"
    widths: Annotated[tuple[Positive, ...], Field(strict=False)] = (3.5,)
    heights: Sequence[float] = ()
    tolls: Mapping[str, float] | None = None
    signs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.exits > self.lanes:
            raise ValueError(f"a road of {self.lanes} lanes has no {self.exits} exits")


@configuration
class Named:
    SUBJECT: ClassVar[str] = "sign {name!r}"

    name: str
    height: Positive


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("lanes", 0, "integers from 1"),
        ("lanes", True, "integers from 1"),
        ("lanes", 2.0, "integers from 1"),
        ("lanes", "2", "integers from 1"),
        ("lanes", None, "integers from 1"),
        ("exits", 10, "integers from 0 to 9"),
        ("speed", 0, "numbers > 0 or null"),
        ("speed", True, "numbers > 0 or null"),
        ("speed", float("nan"), "numbers > 0 or null"),
        ("speed", float("inf"), "numbers > 0 or null"),
        ("slope", -0.1, "numbers >= 0"),
        ("part", 1.5, "numbers in (0, 1]"),
        ("wet", 1, "true or false"),
        ("wet", "yes", "true or false"),
        ("kind", "city", "'town' or 'country'"),
        ("widths", [3.5, -1], "a list of numbers > 0"),
        ("widths", 3, "a list of numbers > 0"),
        ("widths", [True], "a list of numbers > 0"),
        ("heights", "123", "a list of numbers"),
        ("tolls", 3, "a mapping of names to numbers or null"),
        ("tolls", {"lorry": "x"}, "a mapping of names to numbers or null"),
        ("signs", [1], "a mapping or null"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(field, value, allowed):
    for make in (lambda: Road(**{field: value}), lambda: replace(Road(), **{field: value})):
        with pytest.raises(ValueError, match=r"allowed") as caught:
            make()
        said = str(caught.value)
        assert said.startswith(f"{field} is {value!r}")
        assert said.endswith(f"; allowed: {allowed}")
    with pytest.raises(ValueError, match=rf"^the road: {field} is "):
        from_mapping(Road, {field: value}, "the road")


def test_every_bad_field_is_named():
    with pytest.raises(ValueError, match=r"lanes is 0; .* from 1\. slope is -1; .*>= 0$"):
        Road(0, slope=-1)


def test_a_number_that_yaml_took_for_text_is_explained():
    with pytest.raises(ValueError, match=r"slope is '1e-3', and that is text .*1\.0e-3"):
        Road(slope="1e-3")


def test_what_is_allowed_passes():
    road = Road(3, speed=None, slope=1, widths=[3, 4.5], tolls={"car": 2}, heights=[4])
    assert (road.slope, type(road.slope)) == (1.0, float)
    assert road.widths == (3.0, 4.5)
    assert road.tolls == {"car": 2.0}
    assert Road(slope=np.float32(0.5), part=np.float64(0.5)) == Road(slope=0.5, part=0.5)


def test_fields_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Road().lanes = 3


def test_what_concerns_several_fields_is_said_in_the_classes_words():
    with pytest.raises(ValueError, match=r"^a road of 2 lanes has no 3 exits$"):
        Road(exits=3)


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(ValueError, match=r"Road has no field 'lane' \(did you mean 'lanes'\?\)"):
        Road(lane=3)
    with pytest.raises(ValueError, match="the road has no field 'lane'"):
        from_mapping(Road, {"lane": 3}, "the road")
    with pytest.raises(ValueError, match=r"^sign 'stop': height is missing; .*numbers > 0$"):
        Named("stop")


def test_a_subject_says_which_one_is_meant():
    with pytest.raises(ValueError, match=r"^sign 'stop': height is -2; allowed: numbers > 0$"):
        Named("stop", -2)

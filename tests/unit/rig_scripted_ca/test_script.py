"""What a script says, and which fault strikes."""

from typing import Any

import pytest

from rig.scripted_ca import identifiers
from rig.scripted_ca.problems import Refusal
from rig.scripted_ca.script import BadScript, Fault, Faults, Script, fault_from_wire, patched


@pytest.mark.parametrize(
    ("nth", "times", "struck"),
    [
        (1, 1, [True, False, False, False]),
        (2, 1, [False, True, False, False]),
        (2, 2, [False, True, True, False]),
        (3, 0, [False, False, True, True]),
    ],
)
def test_a_fault_strikes_from_the_nth_matching_request_as_often_as_asked(
    nth: int, times: int, struck: list[bool]
) -> None:
    faults = Faults()
    faults.add(Fault(kinds=("order",), nth=nth, times=times))

    seen = []
    for _ in struck:
        faults.strike("authz", ())
        seen.append(faults.strike("order", ()) is not None)
    assert seen == struck


def test_a_fault_for_names_leaves_other_names_alone() -> None:
    faults = Faults()
    faults.add(Fault(names=("a", "b"), times=0))

    assert faults.strike("order", ("b", "c"))
    assert faults.strike("order", ("c",)) is None
    assert faults.strike("directory", ()) is None


def test_the_first_override_that_has_a_name_rules() -> None:
    wire = [{"names": ["a"], "validation": "never"}, {"names": ["a", "b"], "processing_polls": 3}]
    script = patched(Script(), {"overrides": wire})

    assert script.behaviour(["a", "z"]).validation == "never"
    assert script.behaviour(["b"]).processing_polls == 3
    assert script.behaviour(["z"]) == script.default


def test_a_patch_keeps_what_it_does_not_name() -> None:
    script = patched(patched(Script(), {"delay_ms": 300}), {"default": {"retry_after": "5"}})

    assert (script.delay_ms, script.default.retry_after, script.default.validation) == (300, "5", "always")


@pytest.mark.parametrize("wire", [{"nonesuch": 1}, {"default": {"nonesuch": 1}}, {"default": {"validation": "maybe"}}])
def test_a_script_with_unknown_words_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(BadScript):
        patched(Script(), wire)


@pytest.mark.parametrize("wire", [{"act": "explode"}, {"when": "during"}, {"kind": "order"}])
def test_a_fault_with_unknown_words_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(BadScript):
        fault_from_wire(wire)


def test_a_delay_by_kind_wins_over_the_general_one() -> None:
    script = Script(delay_ms=300, delays_ms={"finalize": 0})

    assert (script.delay_s("order"), script.delay_s("finalize")) == (0.3, 0)


@pytest.mark.parametrize(
    "value", ["A.example", "a", "a..b", "-a.b", "a-.b", "*.*.a.b", "x*.a.b", "a.b.", "ü.de", "a_b.de"]
)
def test_impossible_names_are_rejected(value: str) -> None:
    with pytest.raises(Refusal, match="rejectedIdentifier"):
        identifiers.names([{"type": "dns", "value": value}])


@pytest.mark.parametrize("wanted", [None, [], {}, [{"type": "dns"}], ["a.b"], [{"type": "dns", "value": "a.b"}] * 2])
def test_identifiers_that_are_no_list_of_different_names_are_malformed(wanted: object) -> None:
    with pytest.raises(Refusal, match="malformed"):
        identifiers.names(wanted)


def test_names_keep_their_order() -> None:
    wanted = [{"type": "dns", "value": value} for value in ("*.b.example", "xn--bcher-kva.example", "a.example")]

    assert identifiers.names(wanted) == ("*.b.example", "xn--bcher-kva.example", "a.example")

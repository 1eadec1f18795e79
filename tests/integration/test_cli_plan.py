"""knit plan, why and budget, as a person and a program at a shell have them."""

from __future__ import annotations

from typing import Any

import pytest

from knit.settings.issuer_keys import WELL_KNOWN
from rig.installation import Installation
from rig.scripted_ca.client import ScriptedCA
from tests.acceptance.knit import Done, knit
from tests.integration.test_flows import Life, Stage
from tests.integration.test_kept_orders import ca, stage
from tests.integration.test_room import THREE, limited

__all__ = ["ca", "stage"]


def command(stage: Stage, *words: str) -> Done:
    settings = {name: value for name, value in stage.environment.items() if not name.startswith("KNIT_ACME")}
    directory, roots = (stage.environment[f"KNIT_ACME_{name}"] for name in ("DIRECTORY", "CA_FILE"))
    limits = '{ certificates_per_domain = { count = 4, per = "4d" } }'
    text = f'[issuer.acme]\nkind = "acme"\ndirectory = "{directory}"\nca_file = "{roots}"\nlimits = {limits}\n'
    return knit(*words, **{**settings, "KNIT_ISSUERS": text})


def everything(stage: Stage) -> list[Any]:
    tables = ("knit_certs", "knit_attempts", "knit_budget", "knit_events", "knit_marks", "knit_issued")
    return [stage.sql(f"select * from {name} order by 1") for name in tables] + [
        stage.sql("select cert_id, check_at::text, retry_at, no_room from knit_schedule order by 1")
    ]


def test_a_plan_tells_each_certificate_what_the_pass_would_do_and_changes_nothing(stage: Stage, ca: ScriptedCA) -> None:
    wanted = list(stage.wanted(5))
    before = everything(stage)
    found = command(stage, "plan", "--json")
    assert found.code == 0, found.err
    does = {one["id"]: one["does"] for one in found.records["certificates"]}
    assert [does[cert_id] for cert_id in wanted] == ["renew"] * 3 + ["wait for room"] * 2
    (bucket,) = found.records["budgets"]
    assert (bucket["subject"], bucket["tokens"], bucket["left"], bucket["of"]) == ("knit.example", 3, 4, 4)
    assert all(one["until"] for one in found.records["certificates"] if one["does"] == "wait for room")
    told = command(stage, "plan")
    assert told.code == 0, told.err
    assert "renew: 3" in told.out
    assert "never issued" in told.out
    assert "spend 3 of 4 left: certificates per registered domain (knit.example)" in told.out
    assert everything(stage) == before
    assert command(stage, "plan", "--at", "tomorrow").code == 2


def test_why_tells_in_whose_words_and_who_has_to_act(stage: Stage, ca: ScriptedCA) -> None:
    refused, waiting, calm, disabled, *_ = stage.wanted(7)
    problem = "urn:ietf:params:acme:error:caa"
    ca.behave(authz_problem={"type": problem, "detail": "CAA record forbids it"})
    with limited(stage, THREE) as flows:
        flows.renew.run(refused)
        ca.behave(authz_problem=None, validation="dns")
        flows.renew.run(calm)
        flows.publish.everything()
    with stage.process(Life()) as flows:
        flows.reconcile.run()
    stage.sql(
        "update knit_schedule set check_at = now() + interval '1 day', no_room = 'room' where cert_id = %s", waiting
    )
    stage.sql("update knit_certs set enabled = false where id = %s", disabled)
    records = {
        number: command(stage, "why", str(number), "--json").records for number in (refused, waiting, calm, disabled)
    }
    assert (records[refused]["state"], records[refused]["cause"]) == ("failing", "names")
    assert "CAA record forbids it" in records[refused]["said"]
    assert "CAA" in records[refused]["who"]
    assert records[refused]["next_try"]
    assert [one["class"] for one in records[refused]["tried"]] == ["IdentifierRejected"]
    assert (records[waiting]["state"], records[waiting]["cause"], records[waiting]["said"]) == (
        "waiting",
        "limit",
        "room",
    )
    assert (records[calm]["state"], records[calm]["cause"]) == ("published", None)
    assert records[disabled]["state"] == "disabled"
    told = command(stage, "why", str(refused))
    assert "who acts" in told.out
    assert "CAA record forbids it" in told.out
    assert command(stage, "why", "999999").code == 1


def test_a_budget_tells_what_is_left_and_when_more_could_be_had(stage: Stage, ca: ScriptedCA) -> None:
    wanted = list(stage.wanted(2))
    with limited(stage, THREE) as flows:
        for cert_id in wanted:
            flows.renew.run(cert_id)
    found = command(stage, "budget", "--want", "10", "--domain", "www.knit.example", "--json")
    assert found.code == 0, found.err
    (bucket,) = found.records["buckets"]
    assert (bucket["left"], bucket["of"], bucket["refill"]) == (2, 4, "24h")
    assert found.records["want"]["at_once"] == 1
    told = command(stage, "budget", "--want", "10", "--domain", "knit.example")
    assert "of 10 more certificates of knit.example, 1 could be had at once, the last at 20" in told.out
    assert command(stage, "budget").code == 0
    assert command(stage, "budget", "--domain", "other.example", "--json").records["buckets"] == []
    assert command(stage, "budget", "--want", "10").code == 2
    assert command(stage, "budget", "--issuer", "x", "--want", "1", "--domain", "a.example").code == 2


def test_a_shell_without_a_directory_counts_by_the_limits_of_the_recorded_one(stage: Stage, ca: ScriptedCA) -> None:
    (cert_id,) = stage.wanted(1)
    with stage.process(Life()) as flows:
        flows.renew.run(cert_id)
    settings = {name: value for name, value in stage.servers.settings().items() if name != "KNIT_ACME_DIRECTORY"}
    with Installation(settings=settings) as here:
        found = here.knit("budget", "--want", "1000", "--domain", "knit.example", "--json").json
        assert found["want"]["at_once"] == 1000
        words = ("budget", "--want", "1000", "--domain", "knit.example", "--json")
        other = here.knit(*words, env={"KNIT_ACME_DIRECTORY": WELL_KNOWN["letsencrypt"]}).json
        assert other["want"]["at_once"] < 1000, "it has limits of its own"


@pytest.mark.parametrize("once", [False, True])
def test_a_person_lets_all_go_that_are_held_back(stage: Stage, ca: ScriptedCA, once: bool) -> None:
    wanted = stage.wanted(22)
    stage.sql(
        "insert into knit_issued (cert_id, names_key, issuer, directory, key_type, serial, not_before, not_after, "
        "issued_at, sha256, generation, valkey_key, cert_path, key_path, published_at) "
        "select id, names_key, 'acme', %s, 'ec256', '01', now(), now() + interval '90 days', now(), 'ab', 1, "
        "valkey_key, cert_path, key_path, now() from knit_certs",
        stage.environment["KNIT_ACME_DIRECTORY"],
    )
    with stage.process(Life()) as flows:
        assert len(flows.reconcile.run().renew) == 20
        assert len(stage.sql("select 1 from knit_certs where last_error like '%held back until%'")) == 2
        done = knit("renew", "--confirm-mass", *(["--once"] if once else []), **stage.environment)
        assert "2 held back" in done.out, done.err
        if once:
            assert len(stage.sql("select distinct cert_id from knit_attempts")) == 22
        else:
            assert done.code == 0
            assert set(flows.reconcile.run().renew) == set(wanted)
    assert command(stage, "renew", "--confirm-mass", "--id", "1").code == 2

"""Certificates that take over each other's keys, by SQL: no value is lost, and nothing is ordered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from knit.core.model.attempt import Renewed
from knit.core.model.certificate import CertId
from knit.core.value import Value
from rig.scripted_ca.client import ScriptedCA
from tests.integration.test_flows import Interrupting, KilledError, Life, Stage, stage
from workers.actors import Flows

__all__ = ["stage"]


ODD = (
    "insert into knit_certs (domains, provider, valkey_key, cert_path, key_path, enabled) "
    "values (%s, 'dnsupdate', %s, %s, %s, %s)"
)


def published(stage: Stage, count: int) -> list[tuple[CertId, str]]:
    """So many certificates; each lies at its name."""
    certificates = stage.wanted(count)
    with stage.process(Life()) as flows:
        for cert_id in certificates:
            assert isinstance(flows.renew.run(cert_id), Renewed)
        flows.publish.everything()
    return sorted(certificates.items())


def give(stage: Stage, keys: dict[CertId, str]) -> None:
    """These keys by SQL, whoever had them."""
    stage.sql("update knit_certs set valkey_key = 'on its way ' || id where id = any(%s)", list(keys))
    for cert_id, key in keys.items():
        stage.sql("update knit_certs set valkey_key = %s where id = %s", key, cert_id)


def passes(stage: Stage, count: int = 1) -> None:
    with stage.process(Life()) as flows:
        for _ in range(count):
            plan = flows.reconcile.run(deep=True)
            for cert_id in plan.renew:
                flows.renew.run(cert_id)
            flows.publish.everything()


def all_is_well(stage: Stage, *, orders: int = 1) -> None:
    """Each value is its certificate's, lies where it is wanted, and is recorded as it is; nothing else is there."""
    wanted = stage.sql(
        "select c.names[1], c.valkey_key, c.last_error, i.valkey_key, i.sha256, i.generation "
        "from knit_certs c join knit_issued i on cert_id = id"
    )
    ca = stage.servers.ca
    assert isinstance(ca, ScriptedCA)
    with closing(stage.servers.valkey.client()) as client:
        assert client.smembers("knit:index") == {key for _, key, *_ in wanted}
        for name, key, error, at, sha256, generation in wanted:
            raw = client.get(key)
            value = Value.from_wire(str(raw).encode())
            value.verify()
            assert (at, sha256, generation, error) == (key, value.sha256, value.generation, None)
            assert json.loads(str(raw))["cert_path"] == f"/{name}.crt"
            assert ca.counts_of(name)["finalized"] <= orders
        assert {key for key in map(str, client.keys("*")) if not key.startswith("knit:")} == {row[1] for row in wanted}


@pytest.mark.parametrize("last", ["a free one", "the first one's"])
@pytest.mark.parametrize("step", [1, -1])
def test_each_takes_the_key_of_the_next_one(stage: Stage, last: str, step: int) -> None:
    ring = published(stage, 3)[::step]
    keys = [name for _, name in ring]
    following = [*keys[1:], keys[0] if last == "the first one's" else "free"]
    give(stage, {cert_id: key for (cert_id, _), key in zip(ring, following, strict=True)})
    passes(stage)
    all_is_well(stage)


def test_two_that_have_changed_keys_are_renewed_before_their_values_have_moved(stage: Stage) -> None:
    (one, first), (other, second) = published(stage, 2)
    give(stage, {one: second, other: first})
    stage.sql("update knit_certs set requested_at = now() where id = %s", one)
    with stage.process(Life()) as flows:
        assert isinstance(flows.renew.run(one), Renewed)
        assert flows.publish.waiting().failed == 1
        ((error,),) = stage.sql("select last_error from knit_certs where id = %s", one)
        assert f"still holds what certificate {other} has published" in error
    passes(stage, 2)
    all_is_well(stage, orders=2)


class Dying(Interrupting):
    """A port whose process dies right after one of its calls."""

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Any] = getattr(self._port, name)
        if name != self._call:
            return found

        def call(*args: Any) -> Any:
            found(*args)
            raise KilledError

        return call


def test_a_process_that_dies_between_the_exchange_and_its_record_leaves_what_the_next_one_records(
    stage: Stage,
) -> None:
    (one, first), (other, second) = published(stage, 2)
    give(stage, {one: second, other: first})
    with stage.process(Life()) as flows:
        flows.reconcile.run()
        with pytest.raises(KilledError):
            dying(flows).publish.everything()
        stage.sql("update knit_leases set owner = '', expires_at = now()")
        assert set(flows.publish.everything().refreshed) == {one, other}
    all_is_well(stage)


def dying(flows: Flows) -> Flows:
    """The move dies once its values are written."""
    port: Any = Dying(flows.publish.publication, "exchange", lambda: None)
    move = dataclasses.replace(flows.publish.move, publication=port)
    return dataclasses.replace(flows, publish=dataclasses.replace(flows.publish, move=move))


def test_a_certificate_that_was_left_out_keeps_its_value_until_it_has_another_place(stage: Stage) -> None:
    (one, _), (odd, second) = published(stage, 2)
    stage.sql("update knit_certs set valkey_key = 'elsewhere', key_type = 'dsa' where id = %s", odd)
    stage.sql("update knit_certs set valkey_key = %s where id = %s", second, one)
    with closing(stage.servers.valkey.client()) as client:
        before = client.get(second)
        passes(stage)
        assert client.get(second) == before
        stage.sql("update knit_certs set key_type = 'ec256' where id = %s", odd)
        passes(stage, 2)
    all_is_well(stage)


@pytest.mark.parametrize("how", ["switched off", "deleted", "left out"])
def test_a_key_with_a_line_feed_is_one_key(stage: Stage, how: str) -> None:
    (_, name), (_, other) = published(stage, 2)
    with closing(stage.servers.valkey.client()) as client:
        before = {key: client.get(key) for key in (name, other)}
        for number, odd in enumerate((f"x\n{name}\ny", f"{other}\n", f"\x01\n{other}")):
            places = (f"odd{number}.knit.example", odd, f"/odd{number}.crt", f"/odd{number}.key")
            stage.sql(ODD, *places, how == "left out")
        if how == "deleted":
            stage.sql("delete from knit_certs where domains not in (%s, %s)", name, other)
        passes(stage, 2)
        assert {key: client.get(key) for key in (name, other)} == before
        assert client.smembers("knit:index") == {name, other}

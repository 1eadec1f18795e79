"""A worker dies while the CA validates: what it has set is taken away by the next pass, and nothing else."""

from __future__ import annotations

import pytest

from rig.process import wait_until
from tests.acceptance import hasty, local_dns
from tests.acceptance.scene import ZONE, Scene

NAME = f"killed.{ZONE}"
FQDN = f"_acme-challenge.{NAME}"
FOREIGN = ["another-acme-client", "v=spf1 -all"]
VALIDATION = 6000
"""Milliseconds."""

pytestmark = pytest.mark.timeout(120)


def killed_while_the_ca_validates(scene: Scene) -> None:
    """The worker's own value is left at the server, beside the foreign ones."""
    texts = [f'"{value}"' for value in FOREIGN]
    local_dns.update(scene.servers.dns, lambda zone: zone.add(f"{FQDN}.", 60, "TXT", *texts))
    scene.scripted.behave(validation_delay_ms=VALIDATION)
    control = hasty.worker(scene.knit, "control")
    renew = hasty.worker(scene.knit, "renew")
    assert scene.knit.knit("renew", "--domains", NAME).code == 0
    wait_until(lambda: scene.scripted.counts()["requests"].get("challenge") == 1, "the CA asked", seconds=30)
    renew.kill()
    control.kill()
    assert len(scene.servers.dns.txt(FQDN)) == len(FOREIGN) + 1
    assert scene.sql("select count(*) from knit_challenges where removed_at is null")[0][0] == 1
    live = "select count(*) from knit_leases_live where name like 'cert:%'"
    wait_until(lambda: scene.sql(live)[0][0] == 0, "the dead worker's lease has run out", seconds=20)


@pytest.mark.parametrize(
    ("then", "published"),
    [
        ([], 1),
        (["remove", "--domains", NAME], 0),
        (["disable", "--domains", NAME], 0),
    ],
    ids=["as it was", "removed meanwhile", "disabled meanwhile"],
)
def test_the_next_pass_removes_exactly_the_value_that_was_left(
    scripted: Scene, then: list[str], published: int
) -> None:
    scripted.add(NAME)
    killed_while_the_ca_validates(scripted)
    if then:
        assert scripted.knit.knit(*then).code == 0
    done = scripted.once()
    assert done.code == 0, done.err
    assert scripted.servers.dns.txt(FQDN) == FOREIGN
    assert scripted.sql("select count(*) from knit_challenges where removed_at is null")[0][0] == 0
    assert scripted.knit.published() == published
    assert scripted.scripted.counts()["totals"]["orders"] == 1


def test_what_was_left_is_removed_by_the_provider_that_has_set_it(scripted: Scene) -> None:
    scripted.add(NAME)
    killed_while_the_ca_validates(scripted)
    scripted.sql("update knit_certs set provider = 'desec'")
    done = scripted.once()
    assert done.code == 1
    assert "DESEC_TOKEN" in done.err
    assert scripted.servers.dns.txt(FQDN) == FOREIGN

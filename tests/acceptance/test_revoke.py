"""`knit revoke`: through workers and without, and what is said of it afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

from rig.process import wait_until
from tests.acceptance import hasty
from tests.acceptance.scene import Scene
from tests.acceptance.test_cli_renew import HERE, working

NAME = "www.knit.example"


def revocations(scene: Scene) -> list[tuple[object, ...]]:
    return scene.sql("select state, reason, replace, copy from knit_revocations order by id")


def published(scene: Scene) -> str:
    one = str(scene.add(NAME))
    done = scene.knit.knit("renew", "--id", one, env=HERE)
    assert done.code == 0, done.err
    return one


def test_another_certificate_is_published_and_then_the_old_one_is_revoked_here(scene: Scene) -> None:
    one = published(scene)
    done = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", env=HERE)
    assert done.code == 0, done.err
    assert f"certificate {one} ({NAME}): revoked at 20" in done.out
    assert "superseded); another one is published, valid until 20" in done.out
    assert revocations(scene) == [("revoked", "superseded", True, "none")]
    assert len(scene.pebble.finalized()) == 2

    again = scene.knit.knit("revoke", "--id", one, "--reason", "keyCompromise", "--json", env=HERE)
    assert (again.code, again.json["result"]) == (0, "revoked"), again.err
    assert len(scene.pebble.finalized()) == 3
    shown = scene.knit.knit("show", NAME, env=HERE)
    assert shown.out.count("   revocation revoked at 20") == 2, shown.out
    assert "revocation requested by" in shown.out
    facts = scene.knit.knit("show", NAME, "--json", env=HERE).json["revocations"]
    assert [(one["state"], one["reason"]) for one in facts] == [("revoked", "keyCompromise"), ("revoked", "superseded")]
    assert all(len(one["fingerprint"]) == 64 for one in facts)
    assert "revocation  revoked at 20" in scene.knit.knit("why", NAME, env=HERE).out


def test_workers_are_asked_and_followed_to_the_end(scene: Scene) -> None:
    one = published(scene)
    # A command that looks four times a second sees the other certificate under way.
    scene.knit.settings["KNIT_DNS_PROPAGATION_WAIT"] = "2s"
    working(scene)
    done = scene.knit.knit("revoke", "--domains", NAME, "--reason", "keycompromise", "--wait")
    assert done.code == 0, done.err
    assert f"certificate {one} ({NAME}): revoked at 20" in done.out
    assert "another certificate first: " in done.err
    assert revocations(scene) == [("revoked", "keyCompromise", True, "none")]
    asked = scene.knit.knit("revoke", "--id", one, "--reason", "superseded")
    assert asked.code == 0
    assert "to be revoked (serial " in asked.out
    assert "once another certificate is published in its place" in asked.out
    wait_until(lambda: revocations(scene)[-1][0] == "revoked", "workers do it", seconds=30)
    assert len(scene.pebble.finalized()) == 3


def test_without_another_one_what_nodes_go_on_serving_is_said(scene: Scene) -> None:
    one = published(scene)
    done = scene.knit.knit("revoke", "--id", one, "--reason", "unspecified", "--no-replace", env=HERE)
    assert done.code == 0, done.err
    assert "nodes go on serving it until another is published" in done.out
    again = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", env=HERE)
    assert (again.code, again.out) == (0, done.out), "it is done"
    assert len(scene.pebble.finalized()) == 1


def test_operation_that_ceases_disables_the_certificate(scene: Scene) -> None:
    one = published(scene)
    done = scene.knit.knit("revoke", "--id", one, "--reason", "cessationOfOperation", env=HERE)
    assert done.code == 0, done.err
    assert "it is disabled by this command, so nothing is ordered for it" in done.out
    assert scene.knit.list()[0]["enabled"] is False
    assert scene.once(**HERE).code == 0
    assert len(scene.pebble.finalized()) == 1


def test_what_cannot_be_is_refused_and_nothing_is_recorded(scene: Scene) -> None:
    one = str(scene.add(NAME))
    never = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", env=HERE)
    assert (never.code, never.err) == (1, f"knit: certificate {one}: nothing was ever issued for it\n")
    for words in (("--reason", "certificateHold"), ()):
        wrong = scene.knit.knit("revoke", "--id", one, *words, env=HERE)
        assert wrong.code == 2
        assert "keyCompromise" in wrong.err or "--reason" in wrong.err
    assert scene.knit.knit("renew", "--id", one, env=HERE).code == 0
    scene.knit.knit("disable", "--id", one, env=HERE)
    disabled = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", "--replace", env=HERE)
    assert disabled.code == 1
    assert "is disabled, so nothing is ordered for it" in disabled.err
    assert scene.once(**HERE).code == 0
    gone = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", env=HERE)
    assert gone.code == 1
    assert "gone from the certificate Valkey" in gone.err
    assert revocations(scene) == []


def test_a_replacement_that_fails_leaves_it_waiting_and_a_second_wish_revokes_at_once(scene: Scene) -> None:
    one = published(scene)
    scene.sql("update knit_certs set provider = 'desec'")
    failed = scene.knit.knit("revoke", "--id", one, "--reason", "keyCompromise", env=HERE)
    assert failed.code == 1
    assert "once another certificate is published in its place; that has failed: " in failed.err
    assert "not set: DESEC_TOKEN" in failed.err
    plan = scene.knit.knit("plan", env=HERE)
    assert "Revocations under way: 1" in plan.out
    planned = scene.knit.knit("plan", "--json", env=HERE).json["revocations"]
    assert [(one["waits"], one["reason"]) for one in planned] == [(True, "keyCompromise")]
    done = scene.knit.knit("revoke", "--id", one, "--reason", "keyCompromise", "--no-replace", env=HERE)
    assert done.code == 0, done.err
    assert revocations(scene) == [("revoked", "keyCompromise", False, "none")]


def test_the_certificates_key_revokes_and_the_ca_then_has_it_renewed_once(scene: Scene) -> None:
    one = published(scene)
    scene.sql("delete from knit_accounts")
    done = scene.knit.knit("revoke", "--id", one, "--reason", "unspecified", "--no-replace", env=HERE)
    assert done.code == 0, done.err
    assert scene.sql("select * from knit_accounts") == [], "none is registered only to revoke"
    assert len(scene.pebble.finalized()) == 1
    scene.sql("update knit_ari set next_poll_at = now()")
    for _ in range(2):
        passed = scene.once(**HERE)
        assert passed.code == 0, passed.err
    assert len(scene.pebble.finalized()) == 2
    assert scene.sql("select reason from knit_attempts order by id")[-1] == (
        "the CA's suggested renewal time has come",
    )
    assert scene.knit.list()[0]["not_after"] > datetime.now(UTC).isoformat()


def test_what_signs_itself_revokes_nothing_and_says_so(scene: Scene) -> None:
    file = scene.knit.home / "issuers.toml"
    file.write_text('[issuer.dev]\nkind = "selfsigned"\n')
    plain = {name: "" for name in scene.servers.settings() if name.startswith(("KNIT_ACME_", "DNSUPDATE_"))}
    env = {**plain, **HERE, "KNIT_ISSUERS_FILE": str(file)}
    one = str(scene.add(NAME))
    assert scene.knit.knit("renew", "--id", one, env=env).code == 0
    done = scene.knit.knit("revoke", "--id", one, "--reason", "keyCompromise", env=env)
    assert done.code == 1
    assert "its issuer signs for trials and revokes nothing" in done.err
    assert scene.sql("select * from knit_compromised_keys") == [], "nothing is half done"


def test_what_knit_did_not_order_is_revoked_by_its_key_at_the_issuer_that_is_named(scene: Scene) -> None:
    one = published(scene)
    assert scene.watch_once().code == 0
    files = {name: scene.tls / f"{NAME}.{ending}" for name, ending in (("--fullchain", "crt"), ("--privkey", "key"))}
    bought = {option: scene.knit.home / f"bought{path.suffix}" for option, path in files.items()}
    for option, path in files.items():
        bought[option].write_bytes(path.read_bytes())
    scene.knit.knit("remove", "--id", one, env=HERE)
    assert scene.once(**HERE).code == 0
    places = ("--valkey-key", "bought", "--cert-path", f"{scene.tls}/b.crt", "--key-path", f"{scene.tls}/b.key")
    words = [str(word) for pair in bought.items() for word in pair]
    imported = scene.knit.knit("import", "pem", *words, *places, "--json", env=HERE)
    assert imported.code == 0, imported.err
    scene.sql("delete from knit_accounts")
    ask = ("revoke", "--domains", NAME, "--reason", "unspecified")
    unknown = scene.knit.knit(*ask, env=HERE)
    assert (unknown.code, "at an issuer that is configured here (--issuer NAME)" in unknown.err) == (1, True), (
        unknown.err
    )
    assert scene.knit.knit(*ask, "--issuer", "other", env=HERE).code == 2
    done = scene.knit.knit(*ask, "--issuer", "acme", env=HERE)
    assert done.code == 0, done.err
    assert "nodes go on serving it until `knit import pem` brings another" in done.out
    assert scene.sql("select issuer, directory, state from knit_revocations") == [
        ("acme", scene.pebble.directory_url, "revoked")
    ]
    assert len(scene.pebble.finalized()) == 1


def test_a_wait_ends_when_nobody_is_there_to_do_it(scene: Scene) -> None:
    one = published(scene)
    done = hasty.knit(scene.knit, "revoke", "--id", one, "--reason", "superseded", "--wait", "--json")
    assert (done.code, done.json["result"]) == (1, "failed"), done.err
    assert done.json["error"] == "start worker-renew: it does not run"
    assert "waiting for a worker: worker-renew does not run" in done.err
    left = scene.knit.knit("revoke", "--id", one, "--reason", "superseded", "--no-replace")
    assert left.code == 0
    assert "start worker-renew: it does not run" in left.err
    working(scene)
    wait_until(lambda: revocations(scene)[-1][0] == "revoked", "the workers that start do it", seconds=90)


def test_a_renewal_here_makes_the_copy_that_its_publication_waits_for(scene: Scene) -> None:
    one = published(scene)
    assert scene.knit.knit("revoke", "--id", one, "--reason", "superseded").code == 0
    assert revocations(scene) == [("wanted", "superseded", True, "wanted")], "nobody is there yet"
    done = scene.knit.knit("renew", "--id", one, env=HERE)
    assert (done.code, "published, valid until 20" in done.out) == (0, True), done.err
    assert revocations(scene) == [("revoked", "superseded", True, "none")], done.err

"""The CA that a database uses is remembered: a process that comes with another one issues nothing until confirmed."""

from __future__ import annotations

from rig.pebble import Pebble
from rig.process import wait_until
from tests.acceptance.scene import ORIGINAL, Scene

NAMES = ["www.knit.example", "api.knit.example"]
CONFIRM = "`knit issuers accept acme`"


def other(production: Pebble, **more: str) -> dict[str, str]:
    """The settings of a shell that names another CA."""
    return {"KNIT_ACME_DIRECTORY": production.directory_url, "KNIT_ACME_CA_FILE": str(production.ca_file), **more}


def test_a_stray_shell_with_another_directory_issues_nothing_and_says_so_in_one_line(
    scene: Scene, production: Pebble
) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    values = scene.values()

    for words in (["--id", "1"], ["--id", "1", "--force"], ["--once"]):
        done = scene.knit.knit("renew", *words, env=other(production, KNIT_QUEUE_URL=""))
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert all(part in done.err for part in (production.directory_url, scene.pebble.directory_url, CONFIRM))
    queued = scene.knit.knit("renew", "--id", "1", env=other(production))
    assert (queued.code, queued.err.count("\n")) == (2, 1)

    assert production.orders() == []
    assert scene.values() == values
    assert scene.sql("select count(*) from knit_certs where requested_at is not null") == [(0,)]
    assert scene.once().code == 0, "the right process goes on as before"
    assert len(scene.pebble.orders()) == 2


def test_a_shell_without_a_directory_of_its_own_may_ask_the_workers(scene: Scene) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    for name in ("worker-control", "worker-renew"):
        scene.knit.start(name)
    done = scene.knit.knit("renew", "--id", "1", "--force", "--again", "--wait", env={"KNIT_ACME_DIRECTORY": ""})
    assert (done.code, "published" in done.out) == (0, True), done.err


def test_two_fleets_with_different_directories_do_not_re_issue_in_turn(scene: Scene, production: Pebble) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    daemon = scene.knit.run(
        "renew", ["knit", "renew"], **other(production, KNIT_QUEUE_URL="", KNIT_RENEW_INTERVAL="1s")
    )
    wait_until(lambda: daemon.text().count("nothing is issued") >= 3, "three passes", seconds=40)
    assert scene.once().code == 0
    assert (production.orders(), len(scene.pebble.orders())) == ([], 2)
    assert CONFIRM in daemon.text()


def test_an_open_attempt_of_the_right_process_is_left_alone(scene: Scene, production: Pebble) -> None:
    scene.add("www.knit.example")
    assert scene.knit.knit("renew", "--id", "1", env={"KNIT_QUEUE_URL": "", "DNSUPDATE_NAMESERVER": "127.0.0.1:1"}).code
    open_before = scene.sql("select id, step, directory from knit_attempts where ended_at is null")
    assert open_before
    scene.sql("update knit_attempts set retry_at = null")
    scene.sql("update knit_schedule set retry_at = null")

    assert scene.once(**other(production)).code == 2
    scene.knit.start("worker-renew", **other(production))
    assert scene.knit.knit("renew", "--id", "1").code == 0
    wait_until(lambda: "nothing is issued" in scene.knit.logs(), "the worker's word", seconds=20)
    assert scene.sql("select id, step, directory from knit_attempts where ended_at is null") == open_before


def test_once_accepted_the_old_processes_are_the_ones_that_issue_nothing(scene: Scene, production: Pebble) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    accepted = scene.knit.knit("issuers", "accept", "acme", env=other(production))
    assert accepted.code == 0
    assert accepted.out.endswith("due at the next pass because of it: 2\n")

    assert scene.once().code == 2
    done = scene.once(**other(production))
    assert done.code == 0, done.err
    assert (len(production.orders()), len(scene.pebble.orders())) == (2, 2)
    (shown,) = scene.knit.knit("issuers", "--json", env=other(production)).json
    assert (shown["name"], shown["directory"], shown["agrees"]) == ("acme", production.directory_url, True)
    again = scene.knit.knit("issuers", "accept", "acme", "--json", env=other(production)).json
    assert (again["before"], again["due"]) == (production.directory_url, 0)


def test_a_database_of_the_go_knit_remembers_the_ca_of_its_account(scene: Scene) -> None:
    scene.insert(NAMES)
    scene.sql(ORIGINAL)
    scene.sql(
        "insert into knit_acme_account values ('a@knit.example', 'PEM', %s)",
        '{"body": {}, "uri": "https://acme-staging.ca.example/acme/acct/1"}',
    )
    done = scene.once()
    assert (done.code, scene.pebble.orders()) == (2, [])
    assert "https://acme-staging.ca.example/" in done.err
    assert scene.knit.knit("issuers", "accept", "acme").code == 0
    assert scene.once().code == 0


def test_before_the_first_use_any_directory_will_do(scene: Scene, production: Pebble) -> None:
    shown = scene.knit.knit("issuers").out.splitlines()
    assert [line.split()[0] for line in shown] == ["NAME", "acme"]
    assert "not used yet" in shown[1]
    assert scene.once(**other(production)).code == 0, "an empty list uses no issuer"
    scene.insert(NAMES)
    assert scene.once().code == 0
    assert scene.pebble.directory_url in scene.knit.knit("issuers").out


def test_only_an_issuer_that_is_configured_can_be_accepted(scene: Scene) -> None:
    done = scene.knit.knit("issuers", "accept", "acem")
    assert (done.code, done.err) == (2, "knit: no issuer is called 'acem'; configured: acme\n")


def test_a_directory_that_never_was_one_is_not_remembered(scene: Scene) -> None:
    scene.insert(NAMES)
    for wrong, said in (
        ("https://127.0.0.1:1/dir", "cannot be reached"),
        (f"{scene.pebble.directory_url}x", "is KNIT_ACME_DIRECTORY right?"),
    ):
        assert scene.once(KNIT_ACME_DIRECTORY=wrong).code == 1
        errors = [cert["last_error"] for cert in scene.knit.knit("list", "--json").json]
        assert all(said in error for error in errors), errors
    done = scene.once()
    assert done.code == 0, done.err
    (shown,) = scene.knit.knit("issuers", "--json").json
    assert shown["directory"] == scene.pebble.directory_url


def test_a_failure_where_there_is_an_account_opens_no_way_to_another_ca(scene: Scene, production: Pebble) -> None:
    scene.insert(NAMES)
    assert scene.once(DNSUPDATE_NAMESERVER="127.0.0.1:1").code == 1
    done = scene.once(**other(production))
    assert (done.code, CONFIRM in done.err, production.orders()) == (2, True, [])


def test_other_roots_for_the_same_directory_issue_nothing_before_they_are_confirmed(
    scene: Scene, production: Pebble
) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    both = scene.knit.home / "both.pem"
    both.write_text(f"{production.ca_file.read_text()}\n{scene.pebble.ca_file.read_text()}")
    more = {"KNIT_ACME_CA_FILE": str(both)}
    done = scene.knit.knit("renew", "--id", "1", "--force", "--again", env={**more, "KNIT_QUEUE_URL": ""})
    assert (done.code, "the roots that vouch for issuer acme" in done.err, CONFIRM in done.err) == (2, True, True)
    assert scene.once(**more).code == 2
    (shown,) = scene.knit.knit("issuers", "--json", env=more).json
    assert shown["agrees"] is False
    assert "here its roots are others: issues nothing" in scene.knit.knit("issuers", env=more).out
    assert scene.once().code == 0, "the process with the recorded ones goes on"

    accepted = scene.knit.knit("issuers", "accept", "acme", env=more)
    assert (accepted.code, "the roots that vouch for it are now those here" in accepted.out) == (0, True)
    again = {**more, "KNIT_QUEUE_URL": ""}
    assert scene.knit.knit("renew", "--id", "1", "--force", "--again", env=again).code == 0
    assert scene.once().code == 2


def test_a_database_that_recorded_no_roots_stops_nobody_and_records_them(scene: Scene) -> None:
    scene.insert(NAMES)
    assert scene.once().code == 0
    scene.sql("update knit_issuers set roots = null")
    env = {"KNIT_QUEUE_URL": ""}
    assert scene.knit.knit("renew", "--id", "1", "--force", "--again", env=env).code == 0
    assert scene.sql("select roots is not null from knit_issuers") == [(True,)]


def test_roots_that_never_led_to_a_ca_are_not_held_on_to(scene: Scene, production: Pebble) -> None:
    scene.insert(NAMES)
    assert scene.once(KNIT_ACME_CA_FILE=str(production.ca_file)).code == 1
    done = scene.knit.knit("renew", "--id", "1", "--force", env={"KNIT_QUEUE_URL": ""})
    assert done.code == 0, done.err

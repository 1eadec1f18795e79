"""The file of issuers: what it may say, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from knit.core.model.issuer import Terms
from knit.core.model.keys import KeyType
from knit.errors import Misconfigured
from knit.settings.central import Central, Worker
from knit.settings.document import Document
from knit.settings.environment import Environment
from knit.settings.issuer_keys import ACME, WELL_KNOWN
from knit.settings.issuers import described
from knit.settings.openable import Acme

SECRET = "czNjcjN0LWNhbmFyeQ"
BASE = {"KNIT_DB_URL": "postgres://u:p@db/knit", "KNIT_VALKEY_URL": "redis://valkey"}
ONE = '[issuer.own]\nkind = "acme"\ndirectory = "https://own.example/dir"\n'


def read(text: str, **variables: str) -> Worker:
    return Worker.read(Environment({**BASE, "KNIT_ISSUERS": text, **variables}), queue_required=False)


def refused(text: str, **variables: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        read(text, **variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one(more: str = "", head: str = ONE, **variables: str) -> Acme:
    (acme,) = read(head + more, **variables).openable
    assert isinstance(acme, Acme)
    return acme


def test_what_is_not_said_is_as_with_the_plain_variables() -> None:
    acme = one()
    assert acme.terms == Terms(name="own", directory="https://own.example/dir", roots="system")
    (plain,) = Worker.read(Environment(BASE), queue_required=False).openable
    same = ("email", "ca_files", "hosts", "deactivates", "eab_kid", "eab_hmac")
    assert {name: getattr(acme, name) for name in same} == {name: getattr(plain, name) for name in same}


@pytest.fixture
def hmac(tmp_path: Path) -> str:
    path = tmp_path / "eab"
    path.write_text(f"{SECRET}\n")
    return str(path)


FLIPS: list[tuple[str, Any, Any, Any]] = [
    ("email", '"a@b.example"', lambda acme: acme.email, "a@b.example"),
    ("ca_file", f'"{__file__}"', lambda acme: acme.ca_files, (__file__,)),
    ("account_key_file", '"/k.pem"', lambda acme: acme.account_key_file, "/k.pem"),
    ("hosts", '["a.example", "b:14000"]', lambda acme: acme.hosts, ("a.example", "b:14000")),
    ("deactivate", "false", lambda acme: acme.deactivates, False),
    ("key_type", '"rsa2048"', lambda acme: acme.terms.key_type, KeyType.RSA2048),
    ("profile", '"short"', lambda acme: acme.terms.profile, "short"),
    ("preferred_chain", '"X 2"', lambda acme: acme.terms.preferred_chain, "X 2"),
    ("limits", '"letsencrypt"', lambda acme: acme.terms.limits, "letsencrypt"),
    ("limits", '{ like = "none" }', lambda acme: acme.terms.limits, {"like": "none"}),
    ("concurrency", "5", lambda acme: acme.terms.concurrency, 5),
    ("staging", "true", lambda acme: acme.terms.staging, True),
]


@pytest.mark.parametrize(("key", "value", "seen", "with_it"), FLIPS)
def test_a_key_changes_what_is_read(key: str, value: str, seen: Any, with_it: object) -> None:
    assert seen(one()) != with_it
    assert seen(one(f"{key} = {value}\n")) == with_it


def test_a_binding_has_its_key_in_a_file_that_only_whoever_issues_reads(hmac: str) -> None:
    text = f'{ONE}eab_kid = "kid"\neab_hmac_file = "{hmac}"\n'
    acme = one(head=text)
    assert (acme.eab_kid, acme.eab_hmac) == ("kid", SECRET)
    assert SECRET not in repr(acme)
    Path(hmac).unlink()
    assert Central.read(Environment({**BASE, "KNIT_ISSUERS": text})).issuers == (acme.terms,)
    assert "line 5: eab_hmac_file = " in refused(text)
    both = Environment({**BASE, "KNIT_ISSUERS": f'default = ["own"]\n{text}\n[issuer.other]\nkind = "selfsigned"\n'})
    assert described(both).one("other").terms.name == "other", "each is opened by itself"
    assert Worker.read(both, queue_required=False, issues=False).openable == ()


REFUSED = [
    ("email", "3", "text"),
    ("email", '""', "printable"),
    ("directory", '"http://x.example"', "https://"),
    ("kind", '"acne"', "acme"),
    ("ca_file", '"/no/such"', "readable file"),
    ("account_key_file", "1", "text"),
    ("hosts", '"a.example"', "a list of texts"),
    ("hosts", '["https://a.example"]', "host name"),
    ("deactivate", '"true"', "true or false"),
    ("key_type", '"dsa"', "one of ec256"),
    ("profile", '"a b"', "one word"),
    ("preferred_chain", '"a\\u0000"', "printable"),
    ("limits", '"letsencrypted"', "letsencrypt"),
    ("limits", "{ orders = 3 }", "must be a table of like, "),
    ("limits", "3", "or a table"),
    ("concurrency", "0", "a number from 1 to 1000"),
    ("concurrency", "true", "a number from 1 to 1000"),
    ("staging", "1", "true or false"),
    ("eab_kid", '""', "printable"),
    ("eab_hmac_file", "[]", "text"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED)
def test_a_wrong_value_is_refused_with_its_line_and_what_is_allowed(key: str, value: str, allowed: str) -> None:
    lines = {"kind": 'kind = "acme"', "directory": 'directory = "https://own.example/dir"'}
    lines[key] = f"{key} = {value}"
    said = refused("\n".join(["# First", "[issuer.own]", *lines.values()]))
    assert said.startswith(f"KNIT_ISSUERS, line {3 + list(lines).index(key)}: {key} = ")
    assert allowed in said


def test_the_tables_above_cover_every_key() -> None:
    keys = {key.name for key in ACME}
    assert keys == {row[0] for row in REFUSED}
    assert keys - {"kind", "directory", "eab_kid", "eab_hmac_file"} == {row[0] for row in FLIPS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ONE}e_mail = 'x'", "line 4: issuer.own.e_mail: no such key (did you mean email?)"),
        (f"{ONE}eab_hmac = '{SECRET}'", "line 4: issuer.own.eab_hmac: no such key (did you mean eab_hmac_file?)"),
        (f"{ONE}\n\n[issue.x]\n", "line 6: issue: no such key (did you mean issuer?)"),
        (f"{ONE}[issuer.own.extra]\nx = 1", "line 4: issuer.own.extra: no such key (allowed: "),
        (f"defaults = ['own']\n{ONE}", "line 1: defaults: no such key (did you mean default?)"),
        (f"default = [\n  'own',\n  'gone',\n]\n{ONE}", "line 1: default: no issuer is called 'gone'; there are own"),
        ("[issuer.own]\ndirectory = 'https://x.example'", "line 1: issuer.own: kind is missing"),
        ("[issuer.own]\nkind = 'acme'", "line 1: issuer.own: directory is missing; only letsencrypt, "),
        ("[issuer.Own]\nkind = 'acme'", "line 1: issuer 'Own': a name must be"),
        ("[issuer.imported]\nkind = 'acme'", "line 1: issuer 'imported': stands for certificates that knit does not"),
        (f"{ONE}eab_kid = 'x'", "line 1: issuer.own: eab_kid and eab_hmac_file: set both or neither"),
        (f'{ONE}profile = """\nx\n"""', "line 4: profile = "),
        ("issuer = 3", "must describe at least one issuer"),
        ("default = []", "must describe at least one issuer"),
        ("[issuer]\nown = 3", "line 2: issuer.own: must be a table"),
        (f"{ONE}{ONE.replace('own', 'two')}", "default is missing: which of own, two issue"),
        (f"{ONE}kind = 'acme'", "line 4: "),
        ("[issuer.own", "line 1: "),
        ('x = """', "KNIT_ISSUERS, line 1: "),
    ],
)
def test_what_cannot_be_is_named_with_its_line_and_what_is_near(text: str, said: str) -> None:
    told = refused(text)
    assert said in told
    assert told.startswith("KNIT_ISSUERS")
    assert SECRET not in told


def test_well_known_issuers_need_no_directory_and_know_whether_they_are_for_trials() -> None:
    for name, directory in WELL_KNOWN.items():
        terms = one(head=f'[issuer.{name}]\nkind = "acme"\n').terms
        assert (terms.directory, terms.staging) == (directory, name.endswith("-staging"))
    sslcom = one('key_type = "rsa3072"\n', head='[issuer.sslcom]\nkind = "acme"\n')
    assert sslcom.terms.directory == "https://acme.ssl.com/sslcom-dv-rsa"
    elsewhere = one(
        'directory = "https://x.example"\nstaging = false\n', head='[issuer.google-staging]\nkind = "acme"\n'
    )
    assert (elsewhere.terms.directory, elsewhere.terms.staging) == ("https://x.example", False)


def test_the_default_is_an_order_and_the_only_issuer_needs_none() -> None:
    two = f"{ONE}{ONE.replace('own', 'two')}"
    assert read(f"default = ['two', 'own', 'two']\n{two}").rules.default == ("two", "own")
    assert read(ONE).rules.default == ("own",)


def test_errors_call_a_file_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "issuers.toml"
    path.write_text(f"{ONE}x = 1\n")
    env = Environment({**BASE, "KNIT_ISSUERS_FILE": str(path)})
    with pytest.raises(Misconfigured, match=rf"^{path}, line 4: issuer\.own\.x: no such key"):
        Central.read(env)


@pytest.mark.parametrize("name", ["KNIT_ACME_EMAIL", "KNIT_ACME_DIRECTORY_FILE", "KNIT_ACME_DEACTIVATE"])
def test_with_a_file_no_plain_variable_is_taken(name: str) -> None:
    base = name.removesuffix("_FILE")
    for process in (Central.read, lambda env: Worker.read(env, queue_required=False)):
        with pytest.raises(Misconfigured, match=rf"^{base}: cannot be set together with KNIT_ISSUERS_FILE"):
            process(Environment({**BASE, "KNIT_ISSUERS": ONE, name: "true"}))


def test_legos_roots_are_those_of_issuers_without_their_own() -> None:
    assert one(LEGO_CA_CERTIFICATES=__file__).ca_files == (__file__,)
    assert one(f'ca_file = "{__file__}"\n', LEGO_CA_CERTIFICATES="/etc/hosts").ca_files == (__file__,)


def test_a_line_is_found_whatever_lies_before_it() -> None:
    text = 'a = """\nb = 1\n"""\nc = [\n  1, # b = 2\n]\n[t]\n"b" = 3\n[[u]]\nb = 4\n[t.v]\nw.x = 1\n'
    document = Document.parse("f", text)
    lines = {("a",): 1, ("c",): 4, ("t",): 7, ("t", "b"): 8, ("u",): 9, ("t", "v"): 11, ("t", "v", "w", "x"): 12}
    for path, line in lines.items():
        assert str(document.wrong(path, "x")) == f"f, line {line}: x"


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000])
def test_toml_that_is_no_use_to_anybody_is_refused_in_words(text: str) -> None:
    assert "a number is too long, or values are nested too deep" in refused(text)


@pytest.mark.parametrize("name", ["letsencrypt-staging", "google-staging"])
def test_certificates_of_a_directory_for_trials_are_for_trials_whatever_the_issuer_is_called(name: str) -> None:
    directory = WELL_KNOWN[name]
    head = f'[issuer.le]\nkind = "acme"\ndirectory = "{directory}"\n'
    assert one(head=head).terms.staging
    assert not one("staging = false\n", head=head).terms.staging
    plain = Worker.read(Environment({**BASE, "KNIT_ACME_DIRECTORY": directory}), queue_required=False)
    assert [terms.staging for terms in plain.rules.issuers] == [True]

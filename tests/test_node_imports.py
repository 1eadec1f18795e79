from __future__ import annotations

import subprocess
import sys

CENTRE = (
    "psycopg",
    "acme",
    "josepy",
    "dramatiq",
    "apscheduler",
    "dns",
    "pydantic",
    "requests",
    "tenacity",
    "publicsuffixlist",
)
CLIENT = ("redis", "asyncio")
HEAVY = ("cryptography.x509", "click", "rich")


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_a_node_at_work_imports_nothing_of_the_centre_and_nothing_it_needs_only_for_a_change() -> None:
    loaded = modules_after("import knit.node.__main__")
    assert "knit.valkey.reader" in loaded
    assert not loaded & {*CENTRE, *CLIENT, *HEAVY}


def test_a_node_without_a_file_of_places_loads_no_parser_and_no_zones() -> None:
    read = "from knit.settings.node import NodeSettings; from knit.settings.environment import Environment"
    values = "{'KNIT_VALKEY_URL': 'redis://h', 'HOME': '/h'}"
    loaded = modules_after(f"import knit.node.__main__; {read}; NodeSettings.read(Environment({values}))")
    assert "knit.core.model.places" in loaded
    assert not loaded & {"tomllib", "zoneinfo", "knit.core.presets", "knit.settings.node_file"}


def test_the_process_that_checks_pairs_imports_no_client() -> None:
    loaded = modules_after("import knit.node.inspector_child, knit.core.readable")
    assert "cryptography.x509" in loaded
    assert not loaded & {*CENTRE, "redis"}


def test_a_server_in_python_carries_nothing_of_the_centre_for_its_certificates() -> None:
    loaded = modules_after("import knit.tls")
    assert {"knit.valkey.reader", "cryptography.x509"} <= loaded
    assert not loaded & {*CENTRE, *CLIENT, "click", "rich", "knit.node", "knit.settings"}


def test_a_look_at_a_server_loads_nothing_into_the_nodes_own_process() -> None:
    assert not modules_after("import knit.node.probe") & {"ssl", "knit.node.handshake", *HEAVY, *CENTRE, *CLIENT}
    looks = modules_after("import knit.node.probe_child, knit.node.handshake")
    assert {"ssl", "cryptography.x509"} <= looks
    assert not looks & {*CENTRE, *CLIENT}


def test_a_pass_that_finds_nothing_due_imports_no_queue_no_acme_and_no_dns() -> None:
    loaded = modules_after("import knit.cli.renew, workers.once")
    assert {"redis", "psycopg"} <= loaded
    assert not loaded & {*CENTRE, "cryptography.x509"} - {"psycopg"}


def test_a_command_does_not_load_the_list_of_public_suffixes_before_it_needs_it() -> None:
    assert "publicsuffixlist" not in modules_after(
        "import knit.cli.app, knit.cli.listed, knit.core.budget, workers.once"
    )


def test_a_command_that_reads_the_list_does_not_load_what_judges_changes_to_it() -> None:
    loaded = modules_after(
        "from knit.app.console import Console; Console(None, None).certs; import knit.cli.listed, knit.store.list.certs"
        ", knit.cli.session, knit.settings.central"
    )
    assert "knit.store.list.certs" in loaded
    assert not loaded & {"knit.core.wanted", "knit.core.placement", "knit.core.value", "knit.core.model.attempt"}
    assert not loaded & {"knit.core.model.certificate", "knit.core.model.account", "knit.settings.openable"}


def test_where_the_plain_variables_describe_the_issuer_no_parser_of_files_is_loaded() -> None:
    assert "tomllib" not in modules_after("import knit.settings.central, knit.cli.app, knit.cli.renew, workers.once")

"""The server on the page is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.integration.node import pki
from tests.integration.node.conftest import until
from tests.integration.tls.conftest import InFolder, asked, serial_of

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "howto" / "python-tls-server.md"


def test_the_server_of_the_page_serves_and_swaps(tmp_path: Path) -> None:
    example = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert example is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 22
    (tmp_path / "server.py").write_text(example[1])
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    place, old, new = InFolder(certificates), pki.pair("www.example.org"), pki.pair("www.example.org", age=0.5)
    place.put("www", old)
    place.put("api", pki.pair("api.example.org"))
    command = [sys.executable, str(tmp_path / "server.py"), str(certificates), "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().split()[1])
            assert asked(port, "www.example.org") == asked(port, None) == serial_of(old)
            place.put("www", new)
            until(lambda: asked(port, "www.example.org") == serial_of(new), 30)
        finally:
            server.terminate()

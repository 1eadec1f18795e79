"""How a test starts the CA, scripts it and reads its counts."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig import forks
from rig.scripted_ca import program

_REPOSITORY = Path(__file__).parents[2]
_STOP_S = 5
_ANSWER_S = 10


class ScriptRefused(Exception):
    """The management interface did not take what it was given."""


class ScriptedCA:
    """One CA in a process of its own; a context manager.

    It dies with the process that starts it.
    """

    def __init__(self, *, port: int = 0, seed: int = 0, **knobs: Any) -> None:
        words = ["--port", str(port), "--seed", str(seed), "--with-parent", "--script", json.dumps(knobs)]
        reads, writes = os.pipe()
        with os.fdopen(reads) as said:
            self._process = forks.start(
                program.main, ["scripted_ca", *words], environment=os.environ, directory=_REPOSITORY, out=writes, err=2
            )
            os.close(writes)
            line = said.readline()
        if not line:
            self._process.join()
            message = f"the scripted CA ended with {self._process.exitcode}; its stderr says why"
            raise ScriptRefused(message)
        ready = json.loads(line)
        self.directory_url: str = ready["directory"]
        self.management_url: str = ready["management"]
        self.ca_file = Path(ready["ca_file"])
        self.pid: int = ready["pid"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process; twice is once."""
        self._process.terminate()
        self._process.join(_STOP_S)
        self._process.kill()
        self._process.join()

    def script(self, **knobs: Any) -> None:
        """Change knobs of `script.Script`."""
        self._call("PATCH", "/script", knobs)

    def behave(self, **fields: Any) -> None:
        """Change fields of the default `script.Behaviour`."""
        self.script(default=fields)

    def behave_for(self, *names: str, **fields: Any) -> None:
        """Add a `script.Behaviour` for these names; the newest one counts."""
        earlier = self._call("GET", "/script")["overrides"]
        self.script(overrides=[{"names": names, **fields}, *earlier])

    def fault(self, *kinds: str, **fields: Any) -> None:
        """Add a `script.Fault` for these kinds of request; no kind means all."""
        self._call("POST", "/faults", {"kinds": kinds, **fields})

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def seed(self, number: int) -> None:
        """Seed the dice that reject nonces and reuse authorizations."""
        self._call("POST", "/seed", number)

    def reset(self) -> None:
        """Back to the plain script, without faults and with empty counts. Accounts and orders stay."""
        self._call("POST", "/reset")

    def forget(self) -> None:
        """Forget accounts, orders and certificates."""
        self._call("POST", "/amnesia")

    def accounts(self) -> list[dict[str, Any]]:
        """Give every account: `id`, `status`, `contact`, `thumbprint`, `bound`."""
        accounts: list[dict[str, Any]] = self._call("GET", "/accounts")
        return accounts

    def set_accounts(self, status: str) -> None:
        """Give every account this status: `valid`, `deactivated` or `revoked`."""
        self._call("POST", "/accounts", status)

    def counts(self) -> dict[str, Any]:
        """Give every counter: `names` (by `ledger.name_set`), `requests` by kind, `totals`."""
        counts: dict[str, Any] = self._call("GET", "/counts")
        return counts

    def counts_of(self, *names: str) -> dict[str, int]:
        """Give the counters of one exact set of names."""
        counted: dict[str, int] = self.counts()["names"].get(",".join(sorted(set(names))), {})
        return counted

    def journal(self) -> list[dict[str, Any]]:
        """Give the requests so far, as `ledger.Entry` records."""
        journal: list[dict[str, Any]] = self._call("GET", "/journal")
        return journal

    def roots(self) -> list[str]:
        """Give the PEM of the roots that the issued chains lead to."""
        roots: list[str] = self._call("GET", "/roots")
        return roots

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self.management_url + path, json.dumps(body).encode(), method=method)
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise ScriptRefused(json.load(refusal)["error"]) from None

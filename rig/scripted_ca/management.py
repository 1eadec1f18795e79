"""The management interface: plain HTTP with JSON, on loopback, for the test that drives the CA."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rig.scripted_ca.authority import Authority, json_answer
from rig.scripted_ca.book import Account, Book
from rig.scripted_ca.http11 import Answer, Request
from rig.scripted_ca.script import BadScript, Script, fault_from_wire, patched
from rig.scripted_ca.states import Status


def _shown(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "status": account.status,
        "contact": account.contact,
        "thumbprint": account.thumbprint,
        "bound": account.binding is not None,
    }


class Management:
    """Answers management requests for one Authority."""

    def __init__(self, ca: Authority) -> None:
        self._ca = ca
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "/counts"): lambda _: ca.ledger.snapshot(),
            ("GET", "/journal"): lambda _: ca.ledger.journal(),
            ("GET", "/roots"): lambda _: [root.pem.decode() for root in ca.tree.roots],
            ("GET", "/script"): lambda _: ca.script.to_wire(),
            ("PATCH", "/script"): self._patch,
            ("POST", "/faults"): lambda wire: ca.faults.add(fault_from_wire(wire)),
            ("DELETE", "/faults"): lambda _: ca.faults.clear(),
            ("POST", "/seed"): ca.dice.seed,
            ("POST", "/reset"): self._reset,
            ("POST", "/amnesia"): self._forget,
            ("GET", "/accounts"): lambda _: [_shown(account) for account in ca.book.accounts.values()],
            ("POST", "/accounts"): self._set_accounts,
        }

    async def __call__(self, request: Request) -> Answer:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return json_answer({"error": "no such route"}, status=404)
        try:
            return json_answer(route(json.loads(request.body or b"null")))
        except (BadScript, ValueError, TypeError, AttributeError) as mistake:
            return json_answer({"error": str(mistake)}, status=400)

    def _patch(self, wire: dict[str, Any]) -> None:
        self._ca.script = patched(self._ca.script, wire)

    def _set_accounts(self, status: str) -> None:
        """Give every account this status: a CA revokes an account of its own accord."""
        for account in list(self._ca.book.accounts.values()):
            self._ca.book.keep_account(replace(account, status=Status(status)))

    def _forget(self, _wire: object) -> None:
        """Forget accounts, orders and certificates, as a test CA that was set up anew."""
        self._ca.book = Book()

    def _reset(self, _wire: object) -> None:
        """Forget script, faults and counts; accounts, orders and certificates stay."""
        self._ca.script = Script()
        self._ca.faults.clear()
        self._ca.ledger.reset()

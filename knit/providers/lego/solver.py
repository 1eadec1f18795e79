"""Sets and removes TXT values through lego: implements ports.Solver and base.PerSet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from knit.core.model.challenge import Record
from knit.errors import Interrupted, Misconfigured, Refused, Unreachable
from knit.ports.solving import HoldsOneValue, Paced, PerSet, ReplacesWhole, Solver, TakesTheName, Timing
from knit.providers.base import Runtime
from knit.providers.lego import answers
from knit.providers.lego.child import Child, Ended

log = logging.getLogger(__name__)

_PREFIX = "_acme-challenge."
_NO_CNAME = "LEGO_DISABLE_CNAME_SUPPORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One account of one of lego's providers.

    `values` are its variables, `environment` what the child gets besides (PATH, proxies, …). `alone`: only one write
    at a time, whatever the zone. `deadline` is how long (seconds) one call of lego may take.
    """

    code: str
    values: Mapping[str, str] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    alone: bool = False
    interpreter: str = sys.executable
    deadline: float = 120.0


class Lego(Paced, PerSet, ReplacesWhole):
    """Starts a child for each session, and for each call outside of one."""

    def __init__(self, setup: Setup, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing)
        self._setup = setup
        self._timing = timing
        self._runtime = runtime

    @contextmanager
    def session(self) -> Iterator[Solver]:
        """A solver whose calls reach the same process, so that lego remembers what it has set."""
        session = _Session(self._setup, self._timing, self._runtime)
        try:
            yield session
        finally:
            session.close()

    def replaces(self, record: Record) -> str:
        """What lego's provider does behind one call is its affair, so nobody else writes to the zone meanwhile."""
        return _written(self._setup, record)

    def present(self, record: Record) -> None:
        """Set one value. A provider that must remember it cannot remove it afterwards: see `session`."""
        with self.session() as session:
            session.present(record)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Remove a value that another process has set, where lego's provider can do that."""
        with self.session() as session:
            session.cleanup(record, state)


class LegoOneValue(Lego, HoldsOneValue):
    """For providers that keep one TXT value at a name."""

    def slot(self, record: Record) -> str:
        """The name."""
        return record.fqdn


class LegoClears(Lego, TakesTheName):
    """For providers of lego that remove all values of a name with one."""

    def slot(self, record: Record) -> str:
        """The name."""
        return record.fqdn


class _Session(Paced, ReplacesWhole):
    """The children of one set of challenges: one, or two when only some of its names are delegated."""

    def __init__(self, setup: Setup, timing: Timing, runtime: Runtime) -> None:
        super().__init__(timing)
        self._setup = setup
        self._runtime = runtime
        self._words = answers.Words(setup.code, setup.values)
        self._children: dict[bool, Child] = {}

    def replaces(self, record: Record) -> str:
        """See Lego.replaces."""
        return _written(self._setup, record)

    def present(self, record: Record) -> None:
        """Set one value."""
        error = self._call("perform", record)
        if error is not None:
            raise self._words.failed(error)

    def cleanup(self, record: Record, state: dict[str, str] | None) -> None:
        """Remove one value."""
        error = self._call("cleanup", record)
        if error is not None and answers.is_forgotten(error):
            raise answers.left_behind(self._setup.code, record.fqdn, record.value)
        if error is not None and answers.is_absent(error):
            raise Refused(f"lego: {self._words.clean(error)}")
        if error is not None:
            raise self._words.failed(error)

    def close(self) -> None:
        """End the children."""
        while self._children:
            self._children.popitem()[1].close()

    def _call(self, action: str, record: Record) -> str | None:
        """The error in lego's words, or None when it has done what it was asked."""
        followed = not record.fqdn.startswith(_PREFIX)
        domain = record.challenge.identifier if followed else record.fqdn.removeprefix(_PREFIX)
        child = self._children.get(followed) or self._start(followed=followed)
        request = {
            "action": action,
            "domain": domain,
            "token": record.challenge.token,
            "key_authorization": record.challenge.key_authorization,
        }
        return self._ask(child, request, followed=followed)

    def _start(self, *, followed: bool) -> Child:
        """A child in which the provider is set up. Raises Misconfigured, CredentialsRejected, Unreachable."""
        environment = dict(self._setup.environment)
        if not followed:
            environment[_NO_CNAME] = "true"
        child = self._children[followed] = Child(self._setup.interpreter, environment, self._runtime)
        log.debug("lego started", extra={"provider": self._setup.code, "pid": child.pid})
        request = {
            "action": "configure",
            "provider": self._setup.code,
            "credentials": dict(self._setup.values),
            "nameservers": list(self._runtime.resolvers) or None,
        }
        error = self._ask(child, request, followed=followed)
        if error is not None:
            self._end(followed=followed)
            raise self._words.refused_settings(error)
        return child

    def _ask(self, child: Child, request: Mapping[str, object], *, followed: bool) -> str | None:
        try:
            reply = child.ask(request, seconds=self._setup.deadline)
        except Interrupted:
            self._end(followed=followed)
            raise
        except Ended as e:
            self._end(followed=followed)
            raise Unreachable(f"{self._setup.code}: lego {self._words.clean(str(e))}") from None
        if reply.get("missing"):
            self._end(followed=followed)
            raise Misconfigured(answers.INSTALL)
        return None if reply.get("success") is True else str(reply.get("error"))

    def _end(self, *, followed: bool) -> None:
        self._children.pop(followed).close()


def _written(setup: Setup, record: Record) -> str:
    return "every zone" if setup.alone else record.zone

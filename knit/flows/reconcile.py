"""One pass: find out which certificates need a worker, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from knit.core import issuers, renewal, x509
from knit.core.model import Candidate, Census, CertId, CertSpec, Due, Issued, Policy
from knit.core.value import Value
from knit.errors import BundleMismatch
from knit.ports import Clock, IssuerMemory, PassStore, Publication

log = logging.getLogger(__name__)

ISSUER = "acme"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPlan:
    """Which certificates a pass gives to workers, the most urgent first. `unadoptable` rows clash and were left out.

    `asked`: those among them that an earlier pass has asked workers for already. `refused` says why this process may
    not have anything issued.
    """

    renew: tuple[CertId, ...]
    unadoptable: int
    asked: frozenset[CertId] = frozenset()
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is kept of a due candidate: a list may be long, and most of it due after an import."""

    cert_id: CertId
    rank: tuple[bool, bool, datetime]
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """The flow with its ports."""

    store: PassStore
    memory: IssuerMemory
    publication: Publication
    policy: Policy
    clock: Clock

    def run(self, *, deep: bool = False) -> PassPlan:
        """Adopt what other software wrote, look for lost values, decide. `deep` reads every value's content.

        Raises Unreachable when Postgres or Valkey cannot be asked: nothing is decided without both.
        """
        unadoptable = self.store.adopt()
        if refused := self.refusal():
            log.error("nothing is issued", extra={"reason": refused})
            return PassPlan(renew=(), unadoptable=unadoptable, refused=refused)
        members, empty = self.publication.survey()
        self._adopt_values(members - empty)
        published = self.store.published_keys()
        unpublished = published - (members - empty)
        if self.store.deep_check_due(force=deep):
            self.store.tidy()
            unpublished |= self._look_into(published - unpublished)
        if unpublished:
            log.warning("published values are missing or damaged", extra={"certificates": len(unpublished)})
        due = self._decide(self.store.candidates(self.policy, unpublished))
        plan = (*(one.cert_id for one in due), *self.store.orphaned_leftovers())
        asked = frozenset(one.cert_id for one in due if one.asked)
        return PassPlan(renew=plan, unadoptable=unadoptable, asked=asked)

    def done(self, plan: PassPlan, asked: Sequence[CertId]) -> None:
        """Workers have been asked for these: the pass is done, and says so in one line."""
        self.store.asked(asked)
        census = self.store.passed()
        log.info(
            "%d certificates, %d due, %d failing%s",
            census.certificates,
            len(plan.renew),
            census.failing,
            _next_pass(census),
        )

    def refusal(self) -> str | None:
        """Why this process may not have anything issued, if it may not."""
        return issuers.refusal(ISSUER, self.memory.recall(ISSUER), self.policy.directory)

    def _decide(self, candidates: Iterable[Candidate]) -> Sequence[Chosen]:
        now = self.clock()
        chosen = []
        waiting: dict[CertId, datetime] = {}
        for candidate in candidates:
            spec = candidate.spec
            verdict = renewal.decide(spec, candidate.state, self.policy, now)
            if isinstance(verdict, Due):
                level = logging.DEBUG if candidate.asked else logging.INFO
                due = {"cert": spec.id, "names": spec.names_key, "reason": verdict.reason}
                log.log(level, "certificate due", extra=due)
            else:
                waiting[spec.id] = verdict.until
            if isinstance(verdict, Due) or candidate.leftovers:
                rank = renewal.rank(candidate.state, now)
                chosen.append(Chosen(cert_id=spec.id, rank=rank, asked=candidate.asked))
        self.store.plan_checks(waiting, self.policy)
        return sorted(chosen, key=lambda one: one.rank)

    def _adopt_values(self, members: set[str]) -> None:
        """Record what is published already, so that nothing good is ordered again."""
        if not members:
            return
        specs = {spec.valkey_key: spec for spec in self.store.unrecorded() if spec.valkey_key in members}
        if not specs:
            return
        self.memory.remember(ISSUER, self.policy.directory)
        host = self.store.original_account_host()
        for key, raw in self.publication.live(list(specs)).items():
            try:
                issued = adopted(specs[key], raw, self.policy, host, self.clock)
            except BundleMismatch as error:
                log.warning("published value not adopted", extra={"cert": specs[key].id, "error": str(error)})
                continue
            self.store.record_adopted(issued)
            log.info("published value adopted", extra={"cert": specs[key].id, "not_after": issued.not_after})

    def _look_into(self, keys: frozenset[str]) -> frozenset[str]:
        """Keys whose value is damaged.

        A sound one that is not the recorded one (an older Valkey was restored) is taken as it is: what is due must
        follow from what is published.
        """
        recorded = self.store.published_hashes()
        live = {key: _hash(raw) for key, raw in self.publication.live(sorted(keys)).items()}
        damaged = frozenset(key for key in keys if live.get(key) is None)
        strayed = {key for key in keys - damaged if live[key] != recorded.get(key)}
        if strayed:
            log.warning("values are not the ones last published: taken as they are", extra={"keys": len(strayed)})
            self.store.forget(strayed)
            self._adopt_values(strayed)
        return damaged


def _next_pass(census: Census) -> str:
    """When the next pass comes: on the same day the time is enough."""
    at = census.next_pass
    if at is None:
        return ""
    soon = at - census.at < timedelta(days=1)
    return f"; next pass {at.astimezone(UTC):{'%H:%M' if soon else '%Y-%m-%d %H:%M'}}"


def _hash(raw: bytes) -> str | None:
    """The hash of a sound value, else None."""
    try:
        value = Value.from_wire(raw)
        value.verify()
    except BundleMismatch:
        return None
    return value.sha256 if value.privkey and value.fullchain else None


def adopted(spec: CertSpec, raw: bytes, policy: Policy, account_host: str | None, clock: Clock) -> Issued:
    """Facts about a value found published, checked as strictly as an issued one. Raises BundleMismatch.

    Which directory it came from is in knit's own member; for a value of the Go knit it follows from the host of
    the account it used, so that certificates of a staging CA are not taken for production ones.
    """
    value = Value.from_wire(raw)
    value.verify()
    leaf = x509.check(value.bundle, names=spec.names, now=clock())
    return Issued(
        cert_id=spec.id,
        names_key=spec.names_key,
        issuer=spec.issuer,
        directory=_directory(value, policy, account_host),
        key_type=spec.key_type,
        profile=spec.profile,
        serial=leaf.serial,
        ari_id=leaf.ari_id,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        issued_at=leaf.not_before,
        sha256=value.sha256,
        generation=value.generation or 0,
        valkey_key=spec.valkey_key,
        cert_path=value.cert_path,
        key_path=value.key_path,
    )


def _directory(value: Value, policy: Policy, account_host: str | None) -> str:
    if value.mark is not None and value.mark.directory is not None:
        return value.mark.directory
    same = account_host is None or account_host == urlsplit(policy.directory).hostname
    return policy.directory if same else f"https://{account_host}/"

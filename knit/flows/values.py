"""What is live beside what is recorded: facts of values found published, and values that are lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from knit.core import lost
from knit.core.events import Kind, Told
from knit.core.imported import IMPORTED
from knit.core.issued import recorded
from knit.core.issuers import of_host
from knit.core.lost import LiveValue
from knit.core.model.certificate import CertSpec, Issued, Leaf
from knit.core.model.decision import Rules
from knit.core.model.issuer import Asked, Terms
from knit.core.publication import readable
from knit.core.value import Value
from knit.errors import BundleMismatch
from knit.ports.events import Listener
from knit.ports.passes import Passes
from knit.ports.process import Clock
from knit.ports.publication import Home, Publication

log = logging.getLogger(__name__)

PORTION = 1000
"""Values in memory at a time: some 4 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The flow with its ports."""

    store: Passes
    home: Home
    publication: Publication
    rules: Rules
    clock: Clock
    tell: Listener

    def adopt(self, specs: Mapping[str, CertSpec]) -> None:
        """Record what is published already at these keys, so that nothing good is ordered again."""
        host, compromised = self.store.original_account_host(), self.home.compromised()
        for key, raw in self._live(list(specs)):
            try:
                issued, leaf = self._checked(specs[key], Value.from_wire(raw), host)
                if leaf.spki_sha256 in compromised:
                    raise BundleMismatch(LiveValue.COMPROMISED)  # noqa: TRY301 -- one line tells of every reason
            except BundleMismatch as error:
                log.warning("published value not adopted", extra={"cert": specs[key].id, "error": str(error)})
                continue
            self.store.record_adopted(issued, leaf.spki_sha256)
            detail = {"key": key, "serial": issued.serial, "not_after": issued.not_after}
            self.tell(Told(kind=Kind.VALUE_ADOPTED, cert_id=issued.cert_id, detail=detail))

    def take_newer(self, spec: CertSpec, issued: Issued | None, installation: str) -> bool:
        """Record our live value of this certificate where it is newer than what is recorded; gives whether it was.

        So it is after a backup of the database was restored. A value that could not be served is not recorded.
        """
        key = spec.valkey_key if issued is None else issued.valkey_key
        value = readable(self.publication.live([key]).get(key, b""))
        if value is None or value.mark is None:
            return False
        generation = value.generation_by(self.clock())
        ours = (value.mark.installation, value.mark.cert_id) == (installation, spec.id)
        newer = generation is not None and generation > (0 if issued is None else issued.generation)
        return ours and newer and self._record_if_fit(spec, issued, value, key)

    def _record_if_fit(self, spec: CertSpec, issued: Issued | None, value: Value, key: str) -> bool:
        try:
            facts, leaf = self._checked(spec, value, self.store.original_account_host())
        except BundleMismatch:
            return False
        if leaf.spki_sha256 in self.home.compromised():
            return False
        before = None if issued is None else issued.sha256
        self.store.record_adopted(_at(facts, key), leaf.spki_sha256, before=before)
        extra = {"cert": spec.id, "names": spec.names_key, "not_after": facts.not_after}
        log.warning("published value is newer than the one recorded: taken as it is", extra=extra)
        return True

    def find_lost(self, keys: frozenset[str]) -> frozenset[str]:
        """Keys whose value is damaged or older than what is recorded. Newer values are recorded as they are."""
        recorded, unknown = self.store.published_hashes(), self.home.without_fingerprint()
        found: set[str] = set()
        for portion in _portions(sorted(keys)):
            live = self.publication.live(portion)
            sound = {key: value for key, raw in live.items() if (value := _sound(raw)) is not None}
            self._record_fingerprints({key: sound[key] for key in unknown & sound.keys()})
            strayed = [key for key, one in sound.items() if _told(one) != recorded.get(key)]
            found.update(key for key in portion if key not in sound)
            if strayed:
                found |= self._lost_among(strayed, live)
        return frozenset(found)

    def _live(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for portion in _portions(keys):
            yield from self.publication.live(portion).items()

    def _record_fingerprints(self, unknown: Mapping[str, Value]) -> None:
        """Record the hashes of public keys that an earlier knit did not record."""
        if not unknown:
            return
        from knit.core import x509  # Few passes look into a certificate.

        found = {}
        for value in unknown.values():
            try:
                found[value.sha256] = x509.leaf(value.fullchain).spki_sha256
            except BundleMismatch:
                continue
        if found:
            self.home.record_fingerprints(found)

    def _lost_among(self, keys: Iterable[str], live: Mapping[str, bytes]) -> frozenset[str]:
        """Of sound values that are not the recorded ones: the keys of those that are lost. Newer ones are recorded."""
        found, compromised = set(), self.home.compromised()
        host = self.store.original_account_host()
        for spec, issued in self.store.recorded(keys):
            raw = live[issued.valkey_key]
            finding, facts = self._judge(spec, issued, raw, host, compromised)
            if finding.lost:
                found.add(issued.valkey_key)
            elif facts is not None:
                self.store.record_adopted(*facts, before=issued.sha256)
            if finding is not LiveValue.RECORDED:
                extra = {"cert": spec.id, "names": spec.names_key, "key": issued.valkey_key, "finding": finding.value}
                log.warning("published value is not the one recorded", extra=extra)
        return frozenset(found)

    def _judge(
        self, spec: CertSpec, issued: Issued, raw: bytes, host: str | None, compromised: frozenset[str]
    ) -> tuple[LiveValue, tuple[Issued, str] | None]:
        """What the live value is, and what to record of it where it is newer."""
        from knit.core import x509

        value = Value.from_wire(raw)
        try:
            spki_sha256 = x509.leaf(value.fullchain).spki_sha256
            finding = lost.judge(value, spki_sha256, issued, compromised, self.clock())
            if finding is not LiveValue.NEWER:
                return finding, None
            facts, leaf = self._checked(spec, value, host)
        except BundleMismatch:
            return LiveValue.DAMAGED, None
        return finding, (_at(facts, issued.valkey_key), leaf.spki_sha256)

    def _checked(self, spec: CertSpec, value: Value, host: str | None) -> tuple[Issued, Leaf]:
        return adopted(spec, value, self.rules, host, self.clock)


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), PORTION):
        yield keys[start : start + PORTION]


def _told(value: Value) -> tuple[str, int, datetime]:
    return value.sha256, value.generation or 0, value.not_after


def _at(facts: Issued, key: str) -> Issued:
    """The value lies where it was published, which need not be where it is wanted."""
    return replace(facts, valkey_key=key)


def _sound(raw: bytes) -> Value | None:
    """The value, unless its hash is wrong or half of the pair is missing."""
    try:
        value = Value.from_wire(raw)
        value.verify()
    except BundleMismatch:
        return None
    return value if value.privkey and value.fullchain else None


def adopted(spec: CertSpec, value: Value, rules: Rules, account_host: str | None, clock: Clock) -> tuple[Issued, Leaf]:
    """Facts about a value found published, checked as strictly as an issued one. Raises BundleMismatch.

    Which directory it came from is in knit's own member; for a value of the Go knit it follows from the host of
    the account it used, so that certificates of a staging CA are not taken for production ones.
    """
    from knit.core import x509

    value.verify()
    leaf = x509.check(value.bundle, names=spec.names, now=clock(), roots=None if spec.imported else b"")
    issued = recorded(
        spec,
        _asked(spec, value, rules, account_host),
        leaf,
        issued_at=_issued_at(value, leaf),
        sha256=value.sha256,
        generation=value.generation_by(clock()) or 0,
        cert_path=value.cert_path,
        key_path=value.key_path,
    )
    return issued, leaf


def _issued_at(value: Value, leaf: Leaf) -> datetime:
    """When its attempt began: it answers what was asked for before that.

    Of one that tells only whole seconds, as an earlier knit wrote them, that is taken to be the end of its second.
    """
    if value.mark is None:
        return leaf.not_before
    began = value.mark.issued_at
    return began if began.microsecond else began + timedelta(seconds=1)


def _asked(spec: CertSpec, value: Value, rules: Rules, account_host: str | None) -> Asked:
    """What its issuer must have been asked for: what is wanted now. Raises BundleMismatch where none is known here."""
    if spec.imported:
        return _imported(value)
    wanted = rules.terms_of(spec)
    if not wanted:
        message = f"issuer {spec.issuer!r} is not configured here"
        raise BundleMismatch(message)
    directory = _directory(value, wanted[0], account_host)
    here = rules.at(directory, wanted[0].name) or wanted[0]
    return replace(here.asked(spec), directory=directory)


def _imported(value: Value) -> Asked:
    """Facts of a certificate that no CA was asked for. Raises BundleMismatch for what knit has ordered."""
    from knit.core import x509

    if value.mark is not None and value.mark.directory != IMPORTED:
        message = f"it was not imported: it came from {value.mark.directory}"
        raise BundleMismatch(message)
    key_type = x509.CertKey.of(value.privkey).key_type
    if key_type is None:
        message = "its key is of a kind that is not imported"
        raise BundleMismatch(message)
    return Asked(issuer=IMPORTED, directory=IMPORTED, key_type=key_type)


def _directory(value: Value, terms: Terms, account_host: str | None) -> str:
    if value.mark is not None and value.mark.directory is not None:
        return value.mark.directory
    if account_host is None or account_host == urlsplit(terms.directory).hostname:
        return terms.directory
    return of_host(account_host)

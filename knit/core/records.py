"""What programs are told of a certificate: the records of `--json`, and of whoever else answers programs.

Times are datetimes, durations text as Go writes it: they are written out where the record is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knit.core.text import clean
from knit.core.words import in_hours

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from knit.core.events import Event
    from knit.core.model.listing import Listed
    from knit.core.model.node import Node, Reached
    from knit.core.model.revocation import Revocation
    from knit.core.served import Behind, Spread


def of_certificate(cert: Listed) -> dict[str, object]:
    """One line of the list."""
    return {
        "id": cert.id,
        "enabled": cert.enabled,
        "domains": cert.names,
        "provider": cert.provider,
        "valkey_key": cert.valkey_key,
        "cert_path": cert.cert_path,
        "key_path": cert.key_path,
        "issuer": cert.issuer or None,
        "key_type": cert.key_type or None,
        "profile": cert.profile,
        "preferred_chain": cert.preferred_chain,
        "renew_before": None if cert.renew_before is None else in_hours(cert.renew_before),
        "reuse_key": cert.reuse_key,
        "allow_staging": cert.allow_staging,
        "key_since": cert.key_since,
        "not_after": cert.not_after,
        "not_before": cert.not_before,
        "directory": cert.directory,
        "last_renewed": cert.last_renewed,
        "published_at": cert.published_at,
        "revoked": cert.revoked,
        "last_error": None if cert.last_error is None else clean(cert.last_error),
        "failures": cert.failures,
        "next_try": cert.retry_at,
        "next_check": cert.check_at,
        "waits_for": cert.waits_for,
        "suggested_window": window(cert),
        "suggested_at": cert.suggested_at,
        "window_checked_at": cert.window_checked_at,
        "explanation_url": cert.explanation_url,
        "requested_at": cert.requested_at,
        "step": cert.step,
        "left_out": cert.left_out,
    }


def of_event(event: Event) -> dict[str, object]:
    """One entry of a story."""
    return {
        "id": event.id,
        "at": event.at,
        "kind": event.kind,
        "severity": event.severity.value,
        "attempt_id": event.attempt_id,
        "actor": event.actor,
        "detail": dict(event.detail),
    }


def of_revocation(one: Revocation) -> dict[str, object]:
    """One certificate that is to be revoked, or was."""
    wanted = one.state == "wanted"
    return {
        "serial": one.serial,
        "fingerprint": one.fingerprint,
        "issuer": one.issuer,
        "directory": one.directory,
        "reason": one.reason,
        "replace": one.replace,
        "state": one.state.value,
        "waits": one.waits,
        "asked_at": one.asked_at,
        "asked_by": one.asked_by,
        "ended_at": one.ended_at,
        "error": one.error,
        "next_try": one.next_try_at if wanted and one.error is not None else None,
    }


def window(cert: Listed) -> Sequence[datetime] | None:
    """From when to when its CA would have it renewed; None where the CA has not said."""
    found = cert.window_start, cert.window_end
    return None if None in found else [at for at in found if at is not None]


def of_spread(one: Spread) -> dict[str, object]:
    """One certificate over the nodes that take it."""
    current = one.current
    return {
        "id": current.cert_id,
        "domains": [name.strip() for name in current.names.split(",") if name.strip()],
        "valkey_key": current.key,
        "generation": current.generation,
        "serial": current.serial,
        "not_after": current.not_after,
        "issued_at": current.issued_at,
        "published_at": current.published_at,
        "served": one.served,
        "why_not": one.lack,
        "nodes": one.nodes,
        "fine": one.fine,
        "since": one.since,
        "behind": [of_deployed(behind) for behind in one.behind],
    }


def of_deployed(one: Behind) -> dict[str, object]:
    """What one node does with one certificate, and what it last said of it."""
    here = one.here
    failure = here.failure
    return {
        "node": one.node,
        "standing": one.standing.value.replace(" ", "_"),
        "place": here.place,
        "generation": here.generation,
        "serial": here.serial,
        "fingerprint": here.fingerprint,
        "not_after": here.not_after,
        "published_at": here.published_at,
        "written_at": here.written_at,
        "reloaded_at": here.reloaded_at,
        "served_at": here.served_at,
        "served_on": here.served_on,
        "probed": here.probed,
        "waits": here.waits,
        "failure": None
        if failure is None
        else {
            "step": failure.step.value,
            "error": failure.error,
            "output": failure.output,
            "at": failure.at,
            "next_try": failure.next_try,
            "rolled_back": failure.rolled_back,
            "generation": failure.generation,
        },
    }


def of_reached(one: Reached) -> dict[str, object]:
    """How far one generation has come on one node."""
    return {name: getattr(one, name) for name in one.__slots__}


def of_node(one: Node) -> dict[str, object]:
    """One node of the fleet."""
    return {
        "name": one.name,
        "version": one.version,
        "state": one.state,
        "refused": one.refused,
        "first_seen": one.first_seen,
        "last_report": one.last_report,
        "report_interval": in_hours(one.report_interval),
        "certificates": one.certificates,
        "fine": one.fine,
        "orphaned": one.orphaned,
    }

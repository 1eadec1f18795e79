"""What lego's errors mean. It has only texts, so the class is found by the words it and its providers use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from knit.errors import CredentialsRejected, KnitError, Misconfigured, RateLimited, Refused, Unreachable

INSTALL = "lego is not installed here: pip install 'knit-certs[lego]'"

_SHOWN = 400
_SHORTEST = 3
_HARMLESS = re.compile(
    r"_(URL|HOST|HOSTNAME|ENDPOINT|REGION|LOCATION|ZONE|ZONE_NAME|TTL|TIMEOUT|INTERVAL|MODE|FILE|PATH)$"
)
_REJECTED = re.compile(
    r"\b(401|403) (unauthorized|forbidden)|(status|status code|code|http)\W{0,3}(401|403)\b"
    r"|\bunauthori[sz]ed\b|\bforbidden\b|authentication fail|permission denied|access denied"
    r"|(invalid|wrong|bad|incorrect) (api |auth |access )?(token|key|credential|login|password|signature|user)",
    re.IGNORECASE,
)
_SLOWER = re.compile(r"too many requests|rate.?limit|(status|status code|code|http)\W{0,3}429\b", re.IGNORECASE)
_NETWORK = re.compile(
    r"dial tcp|lookup |i/o timeout|deadline exceeded|connection re(fused|set)|no such host|\bEOF\b|tls: |x509: ",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"not found|no such record|does(n't| not) exist|no (txt )?records?\b", re.IGNORECASE)
_FORGOTTEN = re.compile(r"unknown .{0,40}\bID\b for", re.IGNORECASE)


class Words:
    """Makes lego's errors fit to be shown: one short line, in which none of these values stands."""

    def __init__(self, code: str, values: Mapping[str, str]) -> None:
        self._code = code
        secret = {part for name, value in values.items() if not _HARMLESS.search(name) for part in _parts(value)}
        spelled = {form for part in secret for form in (part, quote(part, safe=""), quote_plus(part))}
        self._secrets = sorted(spelled, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """The text on one line of bounded length, secrets blotted out."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip() or "no reason given"
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"

    def refused_settings(self, text: str) -> KnitError:
        """The error for a provider that lego could not set up."""
        if _REJECTED.search(text) or _SLOWER.search(text) or _NETWORK.search(text):
            return self.failed(text)
        return Misconfigured(f"lego: {self.clean(text)}")

    def failed(self, text: str) -> KnitError:
        """The error for a record that lego could not set or remove."""
        said = f"lego: {self.clean(text)}"
        if _REJECTED.search(text):
            return CredentialsRejected(f"{self._code} does not accept the credential: {said}")
        if _SLOWER.search(text):
            return RateLimited(f"{self._code} asks to slow down: {said}")
        return Unreachable(said)


def is_absent(text: str) -> bool:
    """Whether lego, asked to remove a record, says that it finds none."""
    return _ABSENT.search(text) is not None and _REJECTED.search(text) is None


def is_forgotten(text: str) -> bool:
    """Whether lego says that it can remove a record only in the process that set it."""
    return _FORGOTTEN.search(text) is not None


def left_behind(code: str, fqdn: str, value: str) -> Refused:
    """The error for such a record, which nobody but a person can remove now."""
    return Refused(
        f"lego removes a record of {code} only by the id it was given when it set it, and the process that knew it "
        f"is gone: remove the TXT value {value} at {fqdn} by hand"
    )


def _parts(value: str) -> list[str]:
    """The value and, of a longer text such as a private key, each of its lines."""
    return [part for part in (value, *value.splitlines()) if len(part.strip()) >= _SHORTEST]

"""Amazon Route 53 (https://docs.aws.amazon.com/Route53/latest/APIReference/API_Operations_Amazon_Route_53.html)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from http import HTTPStatus
from xml.etree import ElementTree as ET

from knit.core.model.challenge import Record
from knit.errors import Unreachable
from knit.ports.solving import Settles, Solver, Timing
from knit.providers.base import Provider, Runtime, Values, Variable, knobs
from knit.providers.cloud import aws
from knit.providers.http.accounts import Account
from knit.providers.http.api import Api, paged, quoted, unquoted
from knit.providers.http.exchange import Body, Reply
from knit.providers.http.fresh import Fresh
from knit.providers.sets import Edit, Sets, Texts
from knit.providers.singles import Place
from knit.providers.zones import Zones

_ZONE = Variable(names=("AWS_HOSTED_ZONE_ID",), help="id of the hosted zone, instead of looking for it by name")
_PRIVATE = Variable(names=("AWS_PRIVATE_ZONE",), help="true: private zones only", default="false")
_WAIT = Variable(
    names=("AWS_WAIT_FOR_RECORD_SETS_CHANGED",), help="wait until Route 53 says all its servers have it", default="true"
)
_RETRIES = Variable(names=("AWS_MAX_RETRIES",), help="tries of one call while Route 53 throttles", default="5")
_KNOBS = knobs("AWS", timeout=120, interval=4, ttl=10)
_RIGHTS = (
    "route53:ListResourceRecordSets and route53:ChangeResourceRecordSets on the hosted zone, route53:GetChange, and "
    "route53:ListHostedZonesByName unless AWS_HOSTED_ZONE_ID is set"
)

_BUSY = {"Throttling", "ThrottlingException", "PriorRequestNotComplete"}
_VERSION = "/2013-04-01"
_NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
_SEVERAL = "several sets"
_OVERTAKEN = re.compile(r"already exists|not found|do(?:es)? not match")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user chose. `waits`: `settle` asks Route 53 whether a change has reached all its servers."""

    zone_id: str | None = None
    private: bool = False
    waits: bool = True
    tries: int = 5


class Route53(Sets[str], Settles):
    """One AWS account. Throttling (5 calls per second and account) is waited out, longer each time."""

    def __init__(self, access: Fresh, timing: Timing, runtime: Runtime, options: Options) -> None:
        super().__init__(timing, Zones("route53", self._zone_id, runtime.clock, hint=_hint(options)), runtime)
        self._access = access
        self._options = options
        self._upserts = False

    def _place(self, record: Record) -> Place:
        if self._options.zone_id is not None:
            # The console and the API show the id as /hostedzone/ID.
            return Place(zone=record.zone, zone_id=self._options.zone_id.rpartition("/")[2], record=record)
        return super()._place(record)

    def _zone_id(self, name: str) -> str | None:
        def fetch(after: dict[str, str]) -> tuple[list[ET.Element], dict[str, str] | None]:
            page = _parsed(self._call("GET", "/hostedzonesbyname", Body(params=after)))
            zones = list(page.iterfind("{*}HostedZones/{*}HostedZone"))
            # Sorted by name from the one asked for, so the first other name ends the search.
            more = _text(page, "IsTruncated") == "true" and all(_is_named(zone, name) for zone in zones)
            following = {"dnsname": _text(page, "NextDNSName"), "hostedzoneid": _text(page, "NextHostedZoneId")}
            return zones, following if more else None

        wanted = "true" if self._options.private else "false"
        for zone in paged(fetch, {"dnsname": name}):
            if _is_named(zone, name) and _text(zone, "Config/{*}PrivateZone") == wanted:
                return _text(zone, "Id").removeprefix("/hostedzone/")
        return None

    def _read(self, place: Place) -> Texts[str]:
        found = self._found(place)
        if list(found) in ([], [""]):
            return found.get("", Texts(ttl=self.ttl))
        values = tuple(value for texts in found.values() for value in texts.values)
        return Texts(ttl=self.ttl, values=values, mark=_SEVERAL)

    def _found(self, place: Place) -> dict[str, Texts[str]]:
        """The TXT sets at the name by their identifiers; one without has the name to itself."""
        name = f"{place.record.fqdn}."
        wanted = {"name": name, "type": "TXT", "maxitems": "100"}
        page = _parsed(self._call("GET", f"/hostedzone/{place.zone_id}/rrset", Body(params=wanted)))
        sets = page.iterfind("{*}ResourceRecordSets/{*}ResourceRecordSet")
        own = [found for found in sets if (_text(found, "Name"), _text(found, "Type")) == (name, "TXT")]
        return {found.findtext("{*}SetIdentifier") or "": _texts(found) for found in own}

    def _write(self, place: Place, edit: Edit[str]) -> dict[str, str] | None:
        """Delete the set as it was read and create the new one, both or neither.

        Where a policy allows no CREATE, write as lego does: UPSERT replaces the set whatever it has become. Beside sets
        with identifiers (multivalue answers, as cert-manager writes them) each value of ours is such a set of its own.
        """
        if edit.before.mark == _SEVERAL:
            return self._write_beside(place, edit)
        reply = self._change(place, _changes(edit, upsert=self._upserts))
        if not self._upserts and _code(reply) == "AccessDenied" and edit.after.values:
            reply = self._change(place, _changes(edit, upsert=True))
            self._upserts = reply.status == HTTPStatus.OK
        if reply.status == HTTPStatus.OK:
            return {"change": _text(_parsed(reply), "ChangeInfo/{*}Id").removeprefix("/change/")}
        if _code(reply) != "InvalidChangeBatch" or not _OVERTAKEN.search(reply.text):
            raise self._access.api().fail(reply)
        return None

    def _write_beside(self, place: Place, edit: Edit[str]) -> dict[str, str] | None:
        added = [value for value in edit.after.values if value not in edit.before.values]
        wanted = [("UPSERT", Texts(ttl=self.ttl, values=(value,), mark=_identifier(value))) for value in added]
        gone = {_identifier(value) for value in edit.before.values if value not in edit.after.values}
        ours = [(name, texts) for name, texts in self._found(place).items() if name in gone]
        wanted += [("DELETE", replace(texts, mark=name)) for name, texts in ours]
        if not wanted:
            return None
        reply = self._change(place, wanted)
        if reply.status != HTTPStatus.OK:
            raise self._access.api().fail(reply)
        return {"change": _text(_parsed(reply), "ChangeInfo/{*}Id").removeprefix("/change/")}

    def _change(self, place: Place, wanted: Sequence[tuple[str, Texts[str]]]) -> Reply:
        batch = ET.Element("ChangeResourceRecordSetsRequest", xmlns=_NAMESPACE)
        changes = ET.SubElement(ET.SubElement(batch, "ChangeBatch"), "Changes")
        for action, texts in wanted:
            _add(changes, action, place.record.fqdn, texts)
        path = f"/hostedzone/{place.zone_id}/rrset/"
        sent = Body(raw=ET.tostring(batch, encoding="utf-8"), headers={"Content-Type": "text/xml"}, again=True)
        return self._call("POST", path, sent, ok=(HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN))

    def settle(self, states: Sequence[Mapping[str, str]]) -> None:
        """Ask until each change is INSYNC, all in all for as long as records may take to show."""
        looks = int(self.timeout / self.interval) if self._options.waits else 0
        for state in states:
            while looks and not self._is_everywhere(state["change"]):
                self._sleep(self.interval)
                looks -= 1

    def _is_everywhere(self, change: str) -> bool:
        return _text(_parsed(self._call("GET", f"/change/{change}", Body())), "ChangeInfo/{*}Status") == "INSYNC"

    def _plain(self, value: str) -> str:
        return unquoted(value)

    def _written(self, text: str) -> str:
        return quoted(text)

    def _call(self, method: str, path: str, body: Body, *, ok: tuple[int, ...] = ()) -> Reply:
        """Like Api.call; the answers that say "too fast" have status 400 here."""
        api, turn = self._access.api(), 1
        while _code(reply := api.call(method, _VERSION + path, body, ok=(*ok, HTTPStatus.BAD_REQUEST))) in _BUSY:
            if turn == self._options.tries:
                raise api.limited(reply.said)
            self._sleep(0.4 * 2**turn)
            turn += 1
        if reply.status == HTTPStatus.BAD_REQUEST and reply.status not in ok:
            raise api.fail(reply)
        return reply


def _changes(edit: Edit[str], *, upsert: bool) -> list[tuple[str, Texts[str]]]:
    if upsert and edit.after.values:
        return [("UPSERT", edit.after)]
    both = (("DELETE", edit.before), ("CREATE", edit.after))
    return [(action, texts) for action, texts in both if texts.values]


def _add(changes: ET.Element, action: str, fqdn: str, texts: Texts[str]) -> None:
    change = ET.SubElement(changes, "Change")
    ET.SubElement(change, "Action").text = action
    written = ET.SubElement(change, "ResourceRecordSet")
    ET.SubElement(written, "Name").text = f"{fqdn}."
    ET.SubElement(written, "Type").text = "TXT"
    if texts.mark:
        ET.SubElement(written, "SetIdentifier").text = texts.mark
        ET.SubElement(written, "MultiValueAnswer").text = "true"
    ET.SubElement(written, "TTL").text = str(texts.ttl)
    records = ET.SubElement(written, "ResourceRecords")
    for value in texts.values:
        ET.SubElement(ET.SubElement(records, "ResourceRecord"), "Value").text = value


def _texts(found: ET.Element) -> Texts[str]:
    values = (value.text or "" for value in found.iterfind("{*}ResourceRecords/{*}ResourceRecord/{*}Value"))
    return Texts(ttl=_whole(_text(found, "TTL")), values=tuple(values))


def _identifier(value: str) -> str:
    """What a set of ours with this one value is called."""
    return f"knit-{sha256(value.encode()).hexdigest()[:32]}"


def _parsed(reply: Reply) -> ET.Element:
    try:
        return ET.fromstring(reply.body)  # noqa: S314 - expat itself bounds entities, the client bounds the size
    except (ET.ParseError, ValueError, LookupError):
        raise Unreachable("route53: the API's answer is not XML") from None


def _code(reply: Reply) -> str:
    """The code of an error with status 400 or 403; an empty text when there is none."""
    if reply.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
        return ""
    try:
        return ET.fromstring(reply.body).findtext(".//{*}Code") or ""  # noqa: S314 - as above
    except (ET.ParseError, ValueError, LookupError):
        return ""


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(f"{{*}}{path}") or "").strip()


def _whole(text: str) -> int:
    if not text.isdigit():
        raise Unreachable("route53: the API's answer is not as documented (TTL)")
    return int(text)


def _is_named(zone: ET.Element, name: str) -> bool:
    return _text(zone, "Name") == f"{name}."


def _hint(options: Options) -> str:
    kind = "private" if options.private else "public"
    return f"only {kind} zones count (AWS_PRIVATE_ZONE)"


def _build(values: Values, runtime: Runtime) -> Solver:
    timing = _KNOBS.timing(values)
    options = Options(
        zone_id=values.get(_ZONE),
        private=values.flag(_PRIVATE),
        waits=values.flag(_WAIT),
        tries=max(1, values.integer(_RETRIES)),
    )
    login = aws.login(values, timing, runtime, rights=_RIGHTS)
    return Route53(access(login, aws.server(values), timing, runtime), timing, runtime, options)


def access(login: aws.Login, server: aws.Server, timing: Timing, runtime: Runtime) -> Fresh:
    """The API at `server`, signed with keys that are asked for again when they have become old."""

    def make() -> tuple[Api, timedelta]:
        keys, good = login.keys()
        sign = aws.signer(keys, server.region)
        account = Account(provider="route53", rights=_RIGHTS, sign=sign, secrets=aws.secrets(keys))
        return Api(server.url, account, runtime, timeout=timing.http), good

    return Fresh(runtime.clock, make)


PROVIDER = Provider(
    code="route53",
    title="Amazon Route 53",
    url="https://docs.aws.amazon.com/Route53/latest/APIReference/API_Operations_Amazon_Route_53.html",
    required=((),),
    variables=(*aws.VARIABLES, _ZONE, _PRIVATE, _WAIT, _RETRIES),
    knobs=_KNOBS,
    build=_build,
    rights=_RIGHTS,
    note=(
        "Needs `knit-certs[route53]`. Without AWS_ACCESS_KEY_ID, credentials are looked for as the AWS SDK does "
        "(profile, web identity, container, instance)."
    ),
)

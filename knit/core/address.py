"""URLs with credentials, read as Go's net/url reads them: knit takes over deployments that a Go program was set up for.

User information ends at the last `@` before the path, so a password may hold `@`; `#` begins the fragment and `?` the
query, so neither may stand in a password unless it is escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)(?P<path>/.*)?", re.DOTALL)
USERINFO = re.compile(r"(?:[A-Za-z0-9\-._:~!$&'()*+,;=@]|%[0-9A-Fa-f]{2})*")
HOST = re.compile(r"(?P<name>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>\d*))?")
CONTROL = re.compile(r"[\x00-\x20\x7f]")
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedUrl:
    """The parts of a URL, unescaped. `hosts` are (name, port or ""); of words said twice the last counts."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, str], ...]
    path: str
    query: dict[str, str] = field(repr=False)

    @property
    def escaped(self) -> str:
        """This address in a form that every parser reads alike."""
        userinfo = "" if self.user is None else quote(self.user, safe="")
        secret = "" if self.password is None else f":{quote(self.password, safe='')}"
        hosts = ",".join(_shown(name, port) for name, port in self.hosts)
        path = f"/{quote(self.path[1:], safe='')}" if self.path else ""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.scheme}://{userinfo}{secret}{'' if self.user is None else '@'}{hosts}{path}{query}"

    @property
    def where(self) -> str:
        """The hosts, for messages: no credentials."""
        return ",".join(_shown(name, port) for name, port in self.hosts)


def parse(text: str) -> ParsedUrl:
    """Raises ValueError, whose text says what is wrong and quotes nothing."""
    if CONTROL.search(text) or "%00" in text:
        raise ValueError("it holds white space or a control character")
    rest, _, query = text.partition("#")[0].partition("?")
    match = URL.fullmatch(rest)
    if match is None:
        raise ValueError("it is no URL")
    userinfo, at, hosts = match["authority"].rpartition("@")
    if not USERINFO.fullmatch(userinfo):
        raise ValueError("a character of the user or password must be escaped")
    if _may_hold_more_userinfo(text, match["authority"]) or (not at and "@" in text):
        raise ValueError("a character of the user or password must be escaped")
    user, colon, password = userinfo.partition(":")
    return ParsedUrl(
        scheme=match["scheme"].lower(),
        user=unquote(user) if at else None,
        password=unquote(password) if colon else None,
        hosts=tuple(_host(host) for host in hosts.split(",")),
        path=unquote(match["path"] or ""),
        query=dict(parse_qsl(query, keep_blank_values=True)),
    )


def _may_hold_more_userinfo(text: str, authority: str) -> bool:
    """Whether an `@` comes where only a `/`, `?` or `#` of a password can have brought it.

    What Go's parser takes for the host would then be a piece of that password, to be looked up in the DNS and named in
    messages. In the words of a query after a path an `@` is at home.
    """
    behind = text.partition("://")[2][len(authority) :]
    path, _, fragment = behind.partition("#")
    place = path.partition("?")[0] if path.startswith("/") else path
    return "@" in place or "@" in fragment


def _host(text: str) -> tuple[str, str]:
    match = HOST.fullmatch(text)
    if match is None or int(match["port"] or 0) > HIGHEST_PORT:
        raise ValueError("a host or port is not valid")
    return unquote(match["name"].strip("[]")), match["port"] or ""


def _shown(name: str, port: str) -> str:
    bare = f"[{name}]" if ":" in name else name
    return f"{bare}:{port}" if port else bare

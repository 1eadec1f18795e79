"""Texts for people, in a form that every database can hold: it may be of another encoding than what a CA said."""

from __future__ import annotations

from psycopg.types.string import StrDumper

PLAIN = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})
LONGEST = 2000


class Shown(str):
    """A text that may come from outside and is kept to be read: what the database cannot hold is replaced."""

    __slots__ = ()


class ShownDumper(StrDumper):
    """Writes `Shown`. Only UTF-8 holds everything; in any other encoding all but ASCII might be refused."""

    def dump(self, obj: str) -> bytes:
        """The text in the connection's encoding."""
        encoding = "utf-8" if _is_utf8(self) else "ascii"
        text = obj if encoding == "utf-8" else obj.translate(PLAIN)
        return text.replace("\0", "")[:LONGEST].encode(encoding, "replace")


def _is_utf8(dumper: StrDumper) -> bool:
    connection = dumper.connection
    return connection is not None and connection.pgconn.parameter_status(b"server_encoding") == b"UTF8"

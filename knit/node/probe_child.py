"""Looks at what servers show: a short-lived process of its own, `python -m knit.node.probe_child`.

It meets strangers with a large library in C, which a node has no need to carry between its changes. And OpenSSL reads
only at its start which kinds of keys it is to ask for. One line of JSON in with the question, one line out with what
was shown, or with a sentence that says why nothing was.
"""

from __future__ import annotations

import json
import resource
import sys

from knit.core.model.places import StartTls
from knit.errors import Transient

MEMORY = 1 << 30


def main() -> None:
    """Answer until the questions end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin.buffer:
        question = json.loads(line)
        sys.stdout.buffer.write(json.dumps(_answer(**question)).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answer(*, host: str, port: int, starttls: str, server_name: str | None, seconds: float) -> dict[str, str | None]:
    try:
        from knit.node.handshake import shown

        return shown(host, port, StartTls(starttls), server_name, seconds)
    except Transient as error:
        return {"error": str(error)}
    except BaseException as error:  # noqa: BLE001 -- a library that is broken may raise anything, and is to be named
        return {"error": f"the process that looks at servers cannot work: {type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    main()

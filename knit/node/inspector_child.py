"""Looks into certificates and keys: a short-lived process of its own, `python -m knit.node.inspector_child`.

A node looks into a pair a few times a year, and the library that can do it takes 10 MiB. One line of JSON says that
the process is ready, or why it cannot be; then one line in with fullchain and privkey, one line out with the facts or
the reason why it is no pair. What else it can be asked is in `knit.node.questions`.
"""

from __future__ import annotations

import json
import resource
import signal
import sys

CPU_SECONDS = 5
"""Of the processor's time, which a busy machine does not use up. The largest key that servers take needs one."""

MEMORY = 1 << 30


def main() -> None:
    """Answer until the questions end. A question that takes too long ends the process by SIGPROF."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        from knit.node.questions import answer
    except BaseException as error:  # noqa: BLE001 -- a library that is broken may raise anything, and is to be named
        _say({"unusable": _named(error)})
        return
    _say({"ready": True})
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        question = json.loads(line)
        try:
            reply = answer(question)
        except ValueError as error:
            reply = {"error": str(error)}
        except BaseException as error:  # noqa: BLE001 -- whatever the library makes of a pair, it is the pair's fault
            reply = {"error": f"the certificate or its key cannot be read ({type(error).__name__})"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(reply)


def _say(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


if __name__ == "__main__":
    main()

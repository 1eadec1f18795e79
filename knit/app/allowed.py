"""What the settings of a process allow on the list."""

from __future__ import annotations

from knit.core.wanted import ListRules
from knit.settings.central import Central, Worker
from knit.valkey.layout import Layout


def allowed(settings: Central | Worker) -> ListRules:
    """Issuers that this process knows, and keys beside those that knit uses itself."""
    return ListRules(
        issuers=tuple(terms.name for terms in settings.issuers),
        reserved=Layout(settings.index_key).reserved,
        proving=_proving(settings),
        own=frozenset(terms.name for terms in settings.issuers if not terms.has_choices),
        default=settings.default,
    )


def _proving(settings: Central | Worker) -> frozenset[str]:
    proving = {terms.name for terms in settings.issuers if terms.kind == "acme"}
    return frozenset({*proving, ""} if settings.default[0] in proving else proving)

"""One whole pass that ends: `knit renew --once`. Mostly nothing is due or asked, so needs a worker."""

from __future__ import annotations

from contextlib import ExitStack

from knit.app.console import Console
from knit.app.stores import open_stores
from knit.core.model.results import PassPlan, Publishing
from knit.errors import KnitError
from knit.settings.central import Worker
from knit.settings.environment import Environment
from knit.undumpable import keep_memory_private


def once(settings: Worker, env: Environment, console: Console) -> int:
    """Gives how many certificates failed. Raises KnitError when the pass could not be begun."""
    keep_memory_private()
    plan, report = _without_worker(settings, console)
    if plan is not None and report is not None:
        return plan.trouble + report.trouble
    from workers import local  # With it come the queue, the CA and the DNS.

    return local.once(settings, env, plan)


def _without_worker(settings: Worker, console: Console) -> tuple[PassPlan | None, Publishing | None]:
    """The pass, and what was published after it; None for what is left to a worker, which also copes with trouble."""
    plan = None
    with ExitStack() as opened:
        stores = open_stores(settings, console.database, opened)
        reconcile = stores.reconcile()
        try:
            if stores.renewal_infos.due() or stores.revocations.any_due():
                return None, None
            plan = reconcile.run(deep=True)
            if plan.renew:
                return plan, None
            report = stores.publish().everything()
            reconcile.done(plan, ())
            if report.published and stores.revocations.any_due():
                return None, None
        except KnitError:
            return plan, None
    return plan, report

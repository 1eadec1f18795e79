"""Puts a node together from its settings, and takes it apart again."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from posixpath import normpath

from knit.core.deploying import PLACE_RETRY, RELOAD_RETRY, Server
from knit.core.model.places import NodeFile, Place
from knit.core.takes import folders_of
from knit.flows.deploy import Deploy
from knit.flows.watch import Watch
from knit.node.disk import Disk
from knit.node.facts import NodeFacts
from knit.node.folders import Folders
from knit.node.inspector import Inspector
from knit.node.loop import Loop
from knit.node.probe import Prober
from knit.node.recipes import LocalRecipes
from knit.node.reload import Shell
from knit.node.reread import reread
from knit.node.service import Manager, Sounding, watchdog_of
from knit.node.signals import Signals
from knit.node.state import StateFolder
from knit.node.tidings import open_tidings
from knit.settings.node import ONLY, NodeSettings
from knit.undumpable import refuse_dumps
from knit.valkey.hints import Hints
from knit.valkey.layout import Layout
from knit.valkey.reader import ValkeyReader
from knit.valkey.site import Site

log = logging.getLogger(__name__)


def run(settings: NodeSettings, *, once: bool) -> int:
    """Watch until told to stop, or for one pass; returns the exit code.

    Raises Misconfigured, or Refused when another process has the state folder. Main thread only: it answers signals.
    """
    refuse_dumps()
    signals = Signals()
    with ExitStack() as opened:
        manager = _manager(settings, once=once)
        loop = _wired(settings, signals, opened, manager)
        opened.callback(manager.stopping)
        signals.install()
        if settings.roots is None and not all(place.files for place in settings.node.places.values()):
            log.warning("KNIT_WATCH_ROOTS is not set: published values may name almost any file on this machine")
        if once:
            return 0 if loop.once() else 1
        loop.forever()
    return 0


def _manager(settings: NodeSettings, *, once: bool) -> Manager:
    if once:
        return Manager(None, None)
    return Manager(settings.notify_socket, watchdog_of(settings.watchdog_usec, settings.watchdog_pid))


def _wired(settings: NodeSettings, signals: Signals, opened: ExitStack, manager: Manager) -> Loop:
    site, layout = Site.of(settings.valkey_url, name="knit-watch"), Layout(index=settings.index_key)
    hints, source = Hints(site, layout), ValkeyReader(site, layout)
    opened.callback(hints.close)
    opened.callback(source.close)
    state_folder = StateFolder(settings.state_dir)
    opened.callback(state_folder.close)
    node = _node(settings)
    folders = Folders(settings.roots, settings.state_dir, folders_of(node.places.values()))
    disk = Disk(folders, state_folder, signals.shield)
    opened.callback(disk.close)
    inspector = Inspector(settings.child_environment)
    places = _servers(node, goes_back=settings.node_from is not None)

    def stopping() -> bool:
        # Asked at every step of a command, and between any two steps of a deployment.
        manager.alive()
        return signals.stopping()

    watch = Watch(
        source=Sounding(source, manager),
        disk=disk,
        ledger=disk.ledger,
        node=node,
        recipes=LocalRecipes(node.places.values()),
        keeps=settings.node_from is not None,
        roots=None if settings.roots is None else tuple(map(normpath, settings.roots)),
        inspector=inspector,
        clock=_now,
    )
    prober = Prober(settings.child_environment)
    opened.callback(prober.close)
    deploy = Deploy(
        servers=places,
        ledger=disk.ledger,
        commands=Shell(settings.reload_timeout.total_seconds(), settings.child_environment, stopping),
        prober=prober,
        write=watch.write,
        clock=_now,
        monotonic=time.monotonic,
        stopping=stopping,
    )
    return Loop(
        watch=watch,
        disk=disk,
        deploy=deploy,
        hints=hints,
        interval=settings.watch_interval.total_seconds(),
        signals=signals,
        manager=manager,
        reread=partial(reread, settings),
        tidings=open_tidings(settings, NodeFacts(disk.memory, places, deploy.waits, _now()), opened),
    )


def _node(settings: NodeSettings) -> NodeFile:
    """The node file, or the one place that there is without one."""
    if settings.node_from is not None:
        return settings.node
    return NodeFile(name=settings.node.name, places={ONLY: Place(name=ONLY, reload=settings.reload_cmd)})


def _servers(node: NodeFile, *, goes_back: bool) -> dict[str, Server]:
    """The node's places. Without a node file the files stay, whatever a reload comes to."""
    retry = PLACE_RETRY if goes_back else RELOAD_RETRY
    return {name: Server(place=place, goes_back=goes_back, retry=retry) for name, place in node.places.items()}


def _now() -> datetime:
    return datetime.now(UTC)

"""What forked programs have imported already: see forks.py."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import dramatiq.cli

import knit.cli
import knit.core.readable
import scheduler.main
import workers.__main__
import workers.main
from rig.scripted_ca import program
from workers import local, once

__all__ = ["dramatiq", "local", "once", "program", "scheduler", "workers"]

for module in pkgutil.iter_modules(knit.cli.__path__, "knit.cli."):
    importlib.import_module(module.name)
# A collection in a fork would copy every page that holds an object.
gc.freeze()

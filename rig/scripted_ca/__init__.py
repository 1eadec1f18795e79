"""A scripted ACME server: strict RFC 8555, with answers, delays and faults by script.

`ScriptedCA` starts it in a process of its own; `script.py` lists what it can be asked to do.
"""

from rig.scripted_ca.client import ScriptedCA, ScriptRefused

__all__ = ["ScriptRefused", "ScriptedCA"]

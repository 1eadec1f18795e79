"""What forked programs have imported already: see forks.py."""

from rig.scripted_ca import program

__all__ = ["program"]

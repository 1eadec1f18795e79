"""`python -m rig.scripted_ca` is the program."""

from rig.scripted_ca.program import main

main()

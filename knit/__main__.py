"""`python -m knit` is `knit`."""

from knit.cli import main

main()

"""`python -m phonesys`: the command line."""

from phonesys.cli import main

main()

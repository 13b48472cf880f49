"""`python -m safemt` is the `safemt` command."""

from safemt.cli import main

main()

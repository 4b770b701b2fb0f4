"""`python -m muybridge`."""

from .cli.main import main

main()

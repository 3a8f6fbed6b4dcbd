"""`python -m services.control` is the `tidemill` command."""

from services.control.app import main

main()

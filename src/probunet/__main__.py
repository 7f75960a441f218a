"""``python -m probunet`` is the command ``probunet``."""

from probunet.cli import main

main()

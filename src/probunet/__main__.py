"""``python -m probunet`` is the command ``probunet``."""

from probunet.cli import main

if __name__ == "__main__":
    main()

"""``python -m regex_lib`` is the command ``regex-lib``."""

from regex_lib.cli import main

main()

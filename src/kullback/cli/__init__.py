"""The command `kullback`: parse, call, print. No mathematics.

Exit codes: 0 when the comparison was made, 1 when `--fail-above` was exceeded, 2 when the
comparison could not be made or the command line is wrong, 3 when something else broke.
One file for each command; each registers itself with the application.
"""

from kullback.cli import compare, layers, record, report  # noqa: F401
from kullback.cli.application import app

__all__ = ["app"]

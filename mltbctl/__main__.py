"""`python -m mltbctl` is `mltbctl`."""

from mltbctl.cli import app

app()

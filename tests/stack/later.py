"""Flags that files in deploy/ use, and that the exporter does not have yet.

tests/stack/test_later.py fails as soon as it has one. Then remove the flag here: the tests of deploy/ check it from then
on.
"""

LATER = ["--web.config.file", "--web.systemd-socket"]


def known(args):
    """The arguments that the exporter can know already."""
    return [arg for arg in args if arg.split("=")[0] not in LATER]

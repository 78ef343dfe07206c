"""The policies in deploy/aws/policies."""

import json

from harness import ROOT

FOLDER = ROOT / "deploy/aws/policies"
# For one account, and in addition for an organization or for a list of accounts.
OF_ACCOUNT = ("report", "confirmation", "tags", "alias", "service-credentials", "controls")
OF_ORGANIZATION = ("organization",)
OF_LIST = ("roles",)


def statements(*names):
    for name in names:
        yield from json.loads((FOLDER / f"{name}.json").read_text())["Statement"]


def policy(*names, without=None):
    """A policy that allows everything in these files, except one action."""
    parts = [
        part | {"Action": [action for action in part["Action"] if action != without]}
        for part in statements(*names)
    ]
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [part for part in parts if part["Action"]]}
    )


def actions(*names):
    return {action for statement in statements(*names) for action in statement["Action"]}

"""Who may assume a role: reads the documents as IAM does, as far as the templates need it.

Moto does not do it. What this does not know is an error, never a yes.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Caller:
    """Who asks, such as `{"AWS": arn}` or `{"Service": name}`, and what is known of the request."""

    principal: dict
    context: dict = field(default_factory=dict)
    # With session tags, which also need sts:TagSession.
    tags: bool = False


def lets_in(trust, caller, action="sts:AssumeRole"):
    """Whether a role with this trust policy lets the caller assume it."""
    needed = [action] + ["sts:TagSession"] * caller.tags
    return all(any(_trusts(one, caller, action) for one in _allowing(trust)) for action in needed)


def allows(policy, resource, *needed, context=None):
    """Whether a policy allows these actions on the resource, in a request of which this is known."""
    return all(
        any(
            action in listed(one["Action"])
            and fnmatchcase(resource, one["Resource"])
            and _holds(one.get("Condition", {}), context or {})
            for one in _allowing(policy)
        )
        for action in needed
    )


def listed(value):
    """IAM takes one value in place of a list of one."""
    return value if isinstance(value, list) else [value]


def _allowing(document):
    for statement in listed(document["Statement"]):
        known = {"Effect", "Principal", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow" and statement.keys() <= known, statement
        yield statement


def _trusts(statement, caller, action):
    [(kind, trusted)] = statement["Principal"].items()
    assert "*" not in str(statement["Principal"]) + str(statement["Action"])
    return (
        action in listed(statement["Action"])
        and kind in caller.principal
        and _is(caller.principal[kind], trusted)
        and _holds(statement.get("Condition", {}), caller.context)
    )


def _is(principal, trusted):
    """The root of an account stands for everybody in it."""
    account, is_root, _ = trusted.partition(":root")
    return principal.startswith(f"{account}:") if is_root else principal == trusted


def _holds(condition, context):
    # Keys have no case. One that the request lacks does not hold.
    context = {key.lower(): value for key, value in context.items()}
    for operator, expected in condition.items():
        assert operator in ("StringEquals", "ArnEquals"), operator
        for key, values in expected.items():
            actual = context.get(key.lower())
            if actual is None or actual not in [_filled(value, context) for value in listed(values)]:
                return False
    return True


def _filled(value, context):
    """A variable stands for what is known of the request, if anything is."""
    variable = re.fullmatch(r"\$\{(.+)}", value)
    assert variable or not any(sign in value for sign in "*?$"), value
    return context.get(variable[1].lower()) if variable else value

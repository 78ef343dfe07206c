"""Decides who may assume a role, by IAM's rules, as far as the templates need them.

moto does not check this. If a document contains something unknown, it is an error, never a yes.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Caller:
    """The caller, such as `{"AWS": arn}` or `{"Service": name}`, and the context of the request."""

    principal: dict
    context: dict = field(default_factory=dict)
    # With session tags, which also need sts:TagSession.
    tags: bool = False


def lets_in(trust, caller, action="sts:AssumeRole"):
    """Whether this trust policy lets the caller assume the role."""
    needed = [action] + ["sts:TagSession"] * caller.tags
    return all(any(_trusts(one, caller, action) for one in _allowing(trust)) for action in needed)


def allows(policy, resource, *needed, context=None):
    """Whether a policy allows these actions on the resource, in a request with this context."""
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
    """IAM accepts one value in place of a list."""
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
    """The account's root stands for every principal in the account."""
    account, is_root, _ = trusted.partition(":root")
    return principal.startswith(f"{account}:") if is_root else principal == trusted


def _holds(condition, context):
    # Keys ignore case. If the request lacks the key, the condition does not hold.
    context = {key.lower(): value for key, value in context.items()}
    for operator, expected in condition.items():
        assert operator in ("StringEquals", "ArnEquals"), operator
        for key, values in expected.items():
            actual = context.get(key.lower())
            if actual is None or actual not in [_filled(value, context) for value in listed(values)]:
                return False
    return True


def _filled(value, context):
    """The value with its variable replaced from the context, if the context has it."""
    variable = re.fullmatch(r"\$\{(.+)}", value)
    assert variable or not any(sign in value for sign in "*?$"), value
    return context.get(variable[1].lower()) if variable else value

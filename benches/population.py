"""A made-up account for a folder of reports, or for a made-up AWS.

Its keys have the distribution of the exporter's demo. Nine of ten users have one, 15 % of these have a second, and a
quarter of the users never rotated theirs.
"""

import random
from datetime import datetime, timedelta, timezone

from fake_aws import ACCOUNT, Key, User, credential_report, written

__all__ = ["ACCOUNT", "report", "users", "written"]

TASKS = "backup billing deploy etl export images mailer metrics sync terraform".split()
SYSTEMS = "catalog checkout crm docs ledger orders payments search shipping warehouse".split()
PATHS = ("/", "/service/", "/ci/", "/vendor/")
SERVICES = "s3 sts ec2 iam dynamodb sqs ses ecr".split()
REGIONS = "us-east-1 eu-central-1 eu-west-1 ap-southeast-2".split()


def users(count, seed=1):
    """This number of users, ordered by name."""
    dice, now = random.Random(seed), datetime.now(timezone.utc)
    return sorted((user(dice, number, now) for number in range(count)), key=lambda user: user.name)


def user(dice, number, now):
    name = f"{dice.choice(TASKS)}-{dice.choice(SYSTEMS)}-{number}"
    created = days_ago(dice, now, 20, 1500)
    keys = []
    if dice.random() < 0.9:
        rotated = max(days_ago(dice, now, 0, 88), created) if dice.random() < 0.75 else created
        keys.append(key(dice, now, rotated, active=dice.random() < 0.92))
        if dice.random() < 0.15:
            age = (now - created).days
            keys.append(key(dice, now, days_ago(dice, now, 0, age), active=dice.random() < 0.6))
    arn = f"arn:aws:iam::{ACCOUNT}:user{dice.choice(PATHS)}{name}"
    return User(name, arn, written(created), keys)


def key(dice, now, created, active):
    used = now - (now - created) * dice.random() if dice.random() < 0.85 else None
    return Key(
        id="AKIADEMO" + "".join(dice.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=12)),
        created=written(created),
        status="Active" if active else "Inactive",
        used=used and written(used),
        region=dice.choice(REGIONS) if used else "N/A",
        service=dice.choice(SERVICES) if used else "N/A",
    )


def days_ago(dice, now, least, most):
    """A time some days and a half ago, so that no key passes a limit of days during the benchmark."""
    return now - timedelta(days=dice.randrange(least, most) + 0.5)


def report(users):
    """The credential report of these users."""
    return credential_report(users)

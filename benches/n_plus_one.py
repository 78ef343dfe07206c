"""Finds the unrotated keys of an account as scripts usually do.

It lists the users, the keys of each user, and the last use of each key. It is a good script of its kind: it uses
threads, respects a rate limit, and retries throttled calls. Prints the keys and the cost as JSON.

usage: n_plus_one.py CALLS_A_SECOND of each API
"""

import json
import math
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from threading import Lock

import boto3
from botocore.config import Config

THREADS = 16
MAX_AGE_DAYS = 90


class Pace:
    """Lets callers pass one after the other, at this rate a second."""

    def __init__(self, rate):
        self.pause, self.next, self.lock = 1 / rate, time.monotonic(), Lock()

    def wait(self):
        with self.lock:
            turn = max(self.next, time.monotonic())
            self.next = turn + self.pause
        time.sleep(max(0, turn - time.monotonic()))


def main():
    rate = float(sys.argv[1])
    lists, uses = Pace(rate), Pace(rate)
    config = Config(retries={"mode": "standard", "max_attempts": 10}, max_pool_connections=THREADS)
    iam = boto3.client("iam", region_name="us-east-1", config=config)

    def keys_of(user):
        lists.wait()
        keys = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return [(user, key, last_used(key["AccessKeyId"])) for key in keys]

    def last_used(key_id):
        uses.wait()
        used = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
        return used.get("LastUsedDate")

    pages = iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1000})
    users = [user["UserName"] for page in pages for user in page["Users"]]
    with ThreadPoolExecutor(THREADS) as pool:
        keys = [key for keys in pool.map(keys_of, users) for key in keys]
    now = datetime.now(timezone.utc)
    unrotated = [
        {"user": user, "id": key["AccessKeyId"], "created": int(key["CreateDate"].timestamp())}
        for user, key, _ in keys
        if key["Status"] == "Active" and age_days(key["CreateDate"], now) > MAX_AGE_DAYS
    ]
    used = resource.getrusage(resource.RUSAGE_SELF)
    json.dump(
        {
            "unrotated": unrotated,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_memory": used.ru_maxrss * 1024,
        },
        sys.stdout,
    )


def age_days(created, now):
    """In hundredths, rounded down, as in the exporter."""
    return math.floor((now - created).total_seconds() / 864) / 100


if __name__ == "__main__":
    main()

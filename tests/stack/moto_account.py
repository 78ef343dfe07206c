"""The account that moto plays, and what the tests do in it."""

from datetime import timedelta

import boto3
from moto.backends import get_backend
from moto.core.utils import utcnow

ACCOUNT = "123456789012"


class MotoAccount:
    """IAM users through AWS's own API, with keys as old as wanted."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.iam = boto3.client(
            "iam",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def add_user(self, name, *ages):
        """Adds a user with one key for each age in days; returns the keys' ids."""
        self.iam.create_user(UserName=name)
        return [self._add_key(name, age) for age in ages]

    def _add_key(self, user, age):
        created = self.iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
        # AWS has no call that back-dates a key; moto runs in this process.
        keys = get_backend("iam")[ACCOUNT]["aws"].users[user].access_keys
        key = next(key for key in keys if key.access_key_id == created)
        key.create_date = utcnow() - timedelta(days=age)
        return created

    def deactivate_key(self, user, key_id):
        self.iam.update_access_key(UserName=user, AccessKeyId=key_id, Status="Inactive")

    def delete_key(self, user, key_id):
        self.iam.delete_access_key(UserName=user, AccessKeyId=key_id)

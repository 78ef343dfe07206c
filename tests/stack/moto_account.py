"""Accounts in moto, and the tests' actions in them."""

from contextlib import contextmanager
from datetime import timedelta

import boto3
import requests
from harness import TEST_CREDENTIALS
from moto.backends import get_backend
from moto.core.responses import ActionResult
from moto.core.utils import utcnow

ACCOUNT = "123456789012"

# Service-specific credentials by account, because moto has no list of them.
SERVICE_CREDENTIALS = {}


def list_service_specific_credentials(response):
    """A method for moto's responses: the call that moto lacks."""
    found = SERVICE_CREDENTIALS.get(response.current_account, [])
    return ActionResult({"ServiceSpecificCredentials": found, "IsTruncated": False})


def reset(endpoint):
    SERVICE_CREDENTIALS.clear()
    requests.post(f"{endpoint}/moto-api/reset", timeout=10).raise_for_status()


@contextmanager
def enforced(endpoint):
    """moto checks the policies of the caller for each call."""

    def after(calls):
        url = f"{endpoint}/moto-api/reset-auth"
        requests.post(url, data=calls, timeout=10).raise_for_status()

    after("0")
    try:
        yield
    finally:
        after("inf")


class MotoAccount:
    """IAM users with keys of any age, made through AWS's own API."""

    def __init__(self, endpoint, account_id=ACCOUNT):
        self.endpoint = endpoint
        self.id = account_id
        # moto finds the account by the credentials, which belong to a role in the account.
        role = f"arn:aws:iam::{account_id}:role/iam-key-exporter"
        sts = self.client("sts", TEST_CREDENTIALS)
        assumed = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
            "AWS_SESSION_TOKEN": assumed["SessionToken"],
        }
        self.iam = self.client("iam", self.credentials)

    def client(self, service, credentials):
        """A boto3 client with these credentials."""
        parameters = {name.lower(): value for name, value in credentials.items()}
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1", **parameters
        )

    def add_user(self, name, *ages, tags=None):
        """Adds a user with one key for each age in days. Returns the keys' ids."""
        tags = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        self.iam.create_user(UserName=name, Tags=tags)
        return [self.add_key(name, age) for age in ages]

    def add_key(self, user, age):
        """Adds a key of this age in days. Returns its id."""
        created = self.iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
        # AWS has no call that changes a key's date, but moto runs in this process.
        keys = get_backend("iam")[self.id]["aws"].users[user].access_keys
        key = next(key for key in keys if key.access_key_id == created)
        key.create_date = utcnow() - timedelta(days=age)
        return created

    def add_service_credential(self, user, age, service="bedrock.amazonaws.com", status="Active"):
        """Adds a service-specific credential of this age in days, without an expiry. Returns its id."""
        created = utcnow() - timedelta(days=age)
        # Nobody has a credential that is older.
        if (of_moto := get_backend("iam")[self.id]["aws"].users.get(user)) is not None:
            of_moto.create_date = min(of_moto.create_date, created)
        found = SERVICE_CREDENTIALS.setdefault(self.id, [])
        found.append(
            {
                "UserName": user,
                "Status": status,
                "CreateDate": created,
                "ServiceSpecificCredentialId": f"ACCA{len(found)}",
                "ServiceName": service,
            }
        )
        return found[-1]["ServiceSpecificCredentialId"]

    def key_ids(self, user):
        keys = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return [key["AccessKeyId"] for key in keys]

    def deactivate_key(self, user, key_id):
        self.iam.update_access_key(UserName=user, AccessKeyId=key_id, Status="Inactive")

    def delete_key(self, user, key_id):
        self.iam.delete_access_key(UserName=user, AccessKeyId=key_id)

    def delete_user(self, name):
        self.iam.delete_user(UserName=name)

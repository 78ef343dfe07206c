"""The role that the exporter assumes, made from its template."""

import ast

import boto3
import pytest
from harness import ROOT
from moto_account import MotoAccount, reset
from policies import OF_ACCOUNT, actions

EXPORTER = "arn:aws:iam::123456789012:role/exporter"
TEMPLATE = ROOT / "deploy/aws/member-role.yaml"


@pytest.fixture
def member(moto):
    """The client of an account, and a function that makes the role in it."""
    reset(moto)
    account = MotoAccount(moto, "210987654321")
    credentials = {name.lower(): value for name, value in account.credentials.items()}
    client = boto3.client(
        "cloudformation", endpoint_url=moto, region_name="us-east-1", **credentials
    )

    def make(**parameters):
        client.create_stack(
            StackName="iam-key-exporter",
            TemplateBody=TEMPLATE.read_text(),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
        )
        return account.iam.get_role(RoleName="iam-key-exporter")["Role"]

    return account.iam, make


def test_it_trusts_the_exporter_alone(member):
    _, make = member
    [statement] = make(ExporterArn=EXPORTER)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": EXPORTER}
    assert statement["Action"] == "sts:AssumeRole"
    assert "Condition" not in statement


def test_with_an_external_id_it_asks_for_it(member):
    _, make = member
    role = make(ExporterArn=EXPORTER, ExternalId="a-1")
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "a-1"}}


def test_it_allows_what_the_policies_of_an_account_do(member):
    iam, make = member
    make(ExporterArn=EXPORTER)
    policy = iam.get_role_policy(RoleName="iam-key-exporter", PolicyName="iam-key-exporter")
    # What came with a stack moto gives as the text of a Python value.
    [statement] = ast.literal_eval(policy["PolicyDocument"])["Statement"]
    assert set(statement["Action"]) == actions(*OF_ACCOUNT)
    assert statement["Resource"] == "*"

"""The policies in deploy/aws/policies are enough. Without an action, the effects are exactly those in
docs/permissions.md.

moto checks the policies of the caller for each call.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatch

import boto3
import pytest
from harness import ROOT, TEST_CREDENTIALS, Exporter, Page, exporter_binary, exporter_environment, wait_for
from moto.core.exceptions import AccessDeniedError
from moto_account import ACCOUNT, MotoAccount, enforced, reset
from policies import FOLDER, OF_ACCOUNT, OF_LIST, OF_ORGANIZATION, actions, policy, statements

ROLE = "iam-key-exporter"
EXTERNAL_ID = "only-ours"
CONFIG = "labels: { user_tags: [team] }\n"
ORGANIZATION = f"{CONFIG}organization: {{ role_name: {ROLE}, external_id: {EXTERNAL_ID} }}\n"

# Their values differ between two identical runs.
UNSTEADY = re.compile(
    r"process_.*|iam_exporter_(aws_requests_total|clock_skew_.*|config_.*|http_.*|page_.*)"
    r"|iam_(access_key|owner_oldest_unrotated|service_specific_credential)_age_days|iam_access_key_last_used_timestamp_seconds"
    r"|iam_refresh_(duration|last_success).*"
    r"|iam_credential_report_generated_timestamp_seconds"
)
# Metrics that come from a report.
OF_REPORT = (
    "iam_account_info",
    "iam_exporter_account_name_available",
    "iam_access_key*",
    "iam_user*",
    "iam_owner_*",
    "iam_unrotated_keys_total",
    "iam_credential_report_*",
    "iam_exporter_confirmation_*",
    "iam_exporter_tags_available",
    "iam_exporter_service_credentials_available",
    "iam_service_specific_credential_*",
    "iam_unrotated_service_credentials",
    "iam_control_undecided",
    "iam_control_violation*",
    "iam_exporter_control_data_available",
)
# Metrics that follow from the others.
DEPENDENT = (
    "iam_exporter_accounts",
    "iam_exporter_confirmation_waiting_users",
    "iam_refresh_last_success_timestamp_seconds",
)


# --- The policies ---


def table():
    """The cells of each action's row in docs/permissions.md."""
    rows = {}
    for line in (ROOT / "docs/permissions.md").read_text().splitlines():
        if found := re.match(r"\| `(\w+:\w+)` \|", line):
            rows[found[1]] = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    return rows


def test_the_policies_allow_the_calls_that_the_exporter_makes_and_no_others():
    source = (ROOT / "src/source/aws/sdk.rs").read_text()
    calls = {
        f"{service.lower()}:{operation}"
        for service, operation in re.findall(r'=> \("(\w+)", "(\w+)"\)', source)
    }
    # The first needs no policy. The second is not a call: AWS checks it with AssumeRole.
    expected = calls - {"sts:GetCallerIdentity"} | {"sts:TagSession"}
    assert actions(*OF_ACCOUNT, *OF_ORGANIZATION) == expected
    assert {path.stem for path in FOLDER.iterdir()} == {*OF_ACCOUNT, *OF_ORGANIZATION, *OF_LIST}


def test_the_policies_have_nothing_that_is_wider_than_it_must_be():
    for statement in statements(*OF_ACCOUNT, *OF_ORGANIZATION, *OF_LIST):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in statement["Action"])
        # No other action can usefully be limited to a resource.
        is_role = statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]
        assert statement["Resource"] == (f"arn:aws:iam::*:role/{ROLE}" if is_role else "*")


def test_each_action_has_its_row_in_the_table():
    assert set(table()) == actions(*OF_ACCOUNT, *OF_ORGANIZATION)


def test_the_command_attaches_every_policy():
    document = (ROOT / "docs/permissions.md").read_text()
    [names] = re.findall(r"^for policy in (.+); do$", document, re.MULTILINE)
    assert names.split() == [*OF_ACCOUNT, *OF_ORGANIZATION]


def test_an_organization_and_a_list_allow_the_same_but_for_the_accounts():
    [find, of_organization] = statements(*OF_ORGANIZATION)
    [of_list] = statements(*OF_LIST)
    assert find["Action"] == ["organizations:ListAccounts"]
    own = {"StringEquals": {"aws:ResourceOrgID": "${aws:PrincipalOrgID}"}}
    assert of_organization == of_list | {"Condition": own}


def test_the_readme_shows_the_policies_of_an_account():
    def allowed(statements):
        return {
            (action, statement["Resource"])
            for statement in statements
            for action in [statement["Action"]] * isinstance(statement["Action"], str)
            or statement["Action"]
        }

    readme = (ROOT / "README.md").read_text()
    [block] = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert allowed(json.loads(block)["Statement"]) == allowed(statements(*OF_ACCOUNT))
    [rows] = re.findall(r"^\| permission `iam:…` .*\n.*\n((?:\|.*\n)+)", readme, re.MULTILINE)
    names = [name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(f"iam:{name}" for name in names) == sorted(actions(*OF_ACCOUNT))


# --- Observations ---


@pytest.fixture(scope="module", autouse=True)
def refusals():
    """moto's refusals have a form that none of these services has. This gives them the right one."""
    made = AccessDeniedError.__init__

    def init(self, user_arn, action):
        made(self, user_arn, action)
        if action.startswith("organizations:"):
            refusal = {"__type": "AccessDeniedException", "Message": self.message}
            self.description = json.dumps(refusal)
        else:
            self.description = (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
                f"<Message>{self.message}</Message></Error></ErrorResponse>"
            )

    AccessDeniedError.__init__ = init
    yield
    AccessDeniedError.__init__ = made


@dataclass(frozen=True)
class Seen:
    """The metrics, the status page and `check`."""

    metrics: dict
    status: str
    exit_code: int
    stderr: str

    def differences(self, other):
        """The names of metrics that differ."""
        names = self.metrics.keys() | other.metrics.keys()
        return {name for name in names if self.metrics.get(name) != other.metrics.get(name)}


def metrics(text):
    """The series of each metric, with their values if those do not change with time."""
    found = {}
    for (name, labels), value in Page(text).samples.items():
        # These depend on the moment of the scrape.
        if name == "iam_exporter_http_requests_total":
            continue
        found.setdefault(name, set()).add((labels, None if UNSTEADY.fullmatch(name) else value))
    return found


class World:
    """An organization, and the user with the exporter's credentials."""

    def __init__(self, moto, folders):
        self.moto, self.folders = moto, folders
        reset(moto)
        credentials = {name.lower(): value for name, value in TEST_CREDENTIALS.items()}
        client = boto3.client(
            "organizations", endpoint_url=moto, region_name="us-east-1", **credentials
        )
        client.create_organization(FeatureSet="ALL")
        created = client.create_account(Email="p@example.com", AccountName="production")
        self.member = MotoAccount(moto, created["CreateAccountStatus"]["AccountId"])
        self.own = MotoAccount(moto)
        self.own.iam.create_user(UserName="exporter")
        key = self.own.iam.create_access_key(UserName="exporter")["AccessKey"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        # A key that is used for the first time later would make a difference.
        self.own.client("sts", self.credentials).get_caller_identity()
        for account, alias in ((self.own, "main"), (self.member, "production")):
            account.iam.create_account_alias(AccountAlias=alias)
            account.add_user("old", 400, tags={"team": "payments"})
            account.add_user("young", 10)
            account.add_service_credential("young", 10)
            # Makes a report now. Otherwise the exporter waits two seconds for it.
            account.iam.generate_credential_report()
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/exporter"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
                }
            ],
        }
        for account in (self.own, self.member):
            account.iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
        self.may_role(policy(*OF_ACCOUNT))

    def may(self, document):
        """From now on this policy is the user's only one."""
        self.own.iam.put_user_policy(
            UserName="exporter", PolicyName="exporter", PolicyDocument=document
        )

    def may_role(self, document):
        """The same for the role in both accounts."""
        for account in (self.own, self.member):
            account.iam.put_role_policy(
                RoleName=ROLE, PolicyName="exporter", PolicyDocument=document
            )

    def see(self, config):
        """Runs the exporter with this configuration until it has tried each account, and then `check`."""
        folder = self.folders.mktemp("exporter")
        file = folder / "config.yaml"
        file.write_text(config)
        flags = ("--config.file", file)
        options = {"endpoint": self.moto, "credentials": self.credentials}
        with enforced(self.moto):
            with Exporter(folder, *flags, **options) as exporter:
                wait_for("each account was tried", lambda: exporter.get("/-/ready").ok)
                page, status = exporter.page_bytes("identity").decode(), exporter.get("/").text
            done = subprocess.run(
                [exporter_binary(), "check", *flags],
                env=exporter_environment(folder, self.moto, self.credentials),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        return Seen(metrics(page), status, done.returncode, done.stderr)


@pytest.fixture(scope="module")
def world(moto, tmp_path_factory):
    return World(moto, tmp_path_factory)


@pytest.fixture(scope="module")
def alone(world):
    """One account with all permissions."""
    world.may(policy(*OF_ACCOUNT))
    return world.see(CONFIG)


@pytest.fixture(scope="module")
def together(world):
    """The organization with all permissions."""
    world.may(policy(*OF_ACCOUNT, *OF_ORGANIZATION))
    return world.see(ORGANIZATION)


def values(seen, name, **labels):
    """The values of the series of a metric with these labels."""
    return {
        value
        for series, value in seen.metrics.get(name, ())
        if labels.items() <= dict(series).items()
    }


def label(seen, name, label, **labels):
    """The values of a label among the series of a metric with these other labels."""
    series = [dict(series) for series, _ in seen.metrics.get(name, ())]
    return {one[label] for one in series if labels.items() <= one.items()}


def assert_whole(seen, account, name, key):
    """Every feature works for the account."""
    of = {"account_id": account}
    assert values(seen, "iam_refresh_success", **of) == {1}
    assert values(seen, "iam_unrotated_keys_total", **of) == {1}
    assert values(seen, "iam_exporter_confirmation_available", **of) == {1}
    assert values(seen, "iam_exporter_tags_available", **of) == {1}
    assert values(seen, "iam_exporter_service_credentials_available", **of) == {1}
    assert values(seen, "iam_service_specific_credential_active", **of) == {1}
    assert label(seen, "iam_access_key_info", "access_key_id", user="old", **of) == {key}
    assert label(seen, "iam_user_tags", "tag_team", user="old", **of) == {"payments"}
    assert label(seen, "iam_account_info", "account_name", **of) == {name}


# --- The tests ---


def test_the_documented_policies_are_enough_for_an_account(world, alone):
    assert_whole(alone, ACCOUNT, "main", *world.own.key_ids("old"))
    assert alone.exit_code == 1
    assert alone.stderr == "unrotated keys: 1; accounts read: 1 of 1\n"


def test_the_documented_policies_are_enough_for_an_organization(world, together):
    assert_whole(together, ACCOUNT, "master", *world.own.key_ids("old"))
    assert_whole(together, world.member.id, "production", *world.member.key_ids("old"))
    assert values(together, "iam_exporter_discovery_success") == {1}
    assert together.exit_code == 1
    assert together.stderr == "unrotated keys: 2; accounts read: 2 of 2\n"


def test_a_role_alone_needs_nothing_but_the_policies_of_an_account(world):
    world.may(policy("roles"))
    role = f"arn:aws:iam::{world.member.id}:role/{ROLE}"
    account = f"{{ id: '{world.member.id}', role_arn: {role}, external_id: {EXTERNAL_ID} }}"
    seen = world.see(f"{CONFIG}accounts: [{account}]\n")
    assert_whole(seen, world.member.id, "production", *world.member.key_ids("old"))


def test_a_role_with_another_external_id_is_refused(world):
    world.may(policy("roles"))
    # moto asks for the external id of roles in the caller's account.
    role = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    for external_id, refused in ((EXTERNAL_ID, 0), ("another", 1)):
        account = f"{{ id: '{ACCOUNT}', role_arn: {role}, external_id: {external_id} }}"
        seen = world.see(f"accounts: [{account}]\n")
        # A failed refresh is counted once.
        failures = values(seen, "iam_refresh_failures_total", reason="access_denied")
        assert failures == {refused}, seen.stderr


def assert_documented(action, seen, before):
    """The differences are exactly those in the row of the action."""
    on_page, status, check = table()[action]
    named = set(re.findall(r"`(iam_[\w*]+)`", on_page))
    expected = named | set(OF_REPORT if "keys, owners and controls" in on_page else ())
    if "no account is known" in on_page:
        expected.add("iam_*")
    found = seen.differences(before)
    unexpected = {
        name for name in found if not any(fnmatch(name, one) for one in (*expected, *DEPENDENT))
    }
    assert not unexpected, f"not in docs/permissions.md: {unexpected}"
    for name in named:
        assert any(fnmatch(one, name) for one in found), f"{name} is as before"

    assert status not in before.status or not status
    assert status in seen.status
    code = re.search(r"exit code (\d)", check)
    assert seen.exit_code == (int(code[1]) if code else before.exit_code), seen.stderr
    said = [line for line in seen.stderr.splitlines() if not before.stderr.startswith(line)]
    for words in re.findall(r"`([^`]+)`", check):
        assert any(words in line for line in said), seen.stderr
    if not check:
        assert seen.stderr == before.stderr


@pytest.mark.parametrize("action", sorted(actions(*OF_ACCOUNT)))
def test_without_an_action_of_an_account_that_is_missing_which_the_table_says(world, alone, action):
    world.may(policy(*OF_ACCOUNT, without=action))
    assert_documented(action, world.see(CONFIG), alone)


@pytest.mark.parametrize("action", sorted(actions(*OF_ORGANIZATION)))
def test_without_an_action_of_an_organization_that_is_missing_which_the_table_says(
    world, together, action
):
    world.may(policy(*OF_ACCOUNT, *OF_ORGANIZATION, without=action))
    assert_documented(action, world.see(ORGANIZATION), together)


def test_without_assuming_roles_the_account_of_the_credentials_is_read(world, together):
    world.may(policy(*OF_ACCOUNT, *OF_ORGANIZATION, without="sts:AssumeRole"))
    assert_whole(world.see(ORGANIZATION), ACCOUNT, "master", *world.own.key_ids("old"))


@pytest.mark.parametrize(
    "match, action, metric",
    [
        (
            "tags: { team: payments }",
            "iam:GetAccountAuthorizationDetails",
            "iam_exporter_tags_available",
        ),
        ("account: main", "iam:ListAccountAliases", "iam_exporter_account_name_available"),
    ],
)
def test_rules_that_need_what_may_not_be_read_make_check_uncertain(world, match, action, metric):
    config = f"rotation: {{ rules: [{{ match: {{ {match} }}, max_age: 365d }}] }}\n"
    world.may(policy(*OF_ACCOUNT))
    assert world.see(config).exit_code == 1
    world.may(policy(*OF_ACCOUNT, without=action))
    seen = world.see(config)
    assert seen.exit_code == 2, seen.stderr
    assert values(seen, metric) == {0}

"""Controls of the CIS benchmark, for one account with every violation that moto can represent.

The exporter's verdicts are compared with a table made by hand, and with Prowler's.
"""

from datetime import timedelta

import ask_prowler
import pytest
from harness import Exporter
from moto.backends import get_backend
from moto.core.utils import utcnow
from moto.iam.models import AccessKeyLastUsed, IAMBackend
from moto_account import ACCOUNT, MotoAccount, reset

ROOT_USER = "<root_account>"
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:List*","Resource":"*"}]}'
WEAK = {
    "MinimumPasswordLength": 8,
    "PasswordReusePrevention": 5,
    "MaxPasswordAge": 120,
    "RequireUppercaseCharacters": False,
    "RequireLowercaseCharacters": False,
    "RequireSymbols": False,
    "RequireNumbers": False,
}

# --- The account ---


def days_ago(days):
    """A time in whole seconds, as in AWS."""
    return utcnow().replace(microsecond=0) - timedelta(days=days)


class Violating(MotoAccount):
    """An account whose users have the given ages and last uses."""

    def user(self, name, created=400, password=False, signed_in=None, mfa=False):
        """Adds a user. `signed_in` is the days since the last sign-in, or None for never."""
        self.iam.create_user(UserName=name)
        user = get_backend("iam")[self.id]["aws"].users[name]
        user.create_date = days_ago(created)
        if password:
            self.iam.create_login_profile(UserName=name, Password="Correct-Horse-9")
            user.password_last_used = None if signed_in is None else days_ago(signed_in)
        if mfa:
            device = self.iam.create_virtual_mfa_device(VirtualMFADeviceName=name)
            serial = device["VirtualMFADevice"]["SerialNumber"]
            codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}
            self.iam.enable_mfa_device(UserName=name, SerialNumber=serial, **codes)

    def key(self, user, age, used=None, status="Active"):
        """Adds a key. `used` is the days since its last use, or None for never."""
        created = self.add_key(user, age)
        keys = get_backend("iam")[self.id]["aws"].users[user].access_keys
        [key] = [key for key in keys if key.access_key_id == created]
        if used is not None:
            key.last_used = AccessKeyLastUsed(days_ago(used), "s3", "us-east-1")
        key.status = status


def root_row():
    """The root user's row of the report, which moto does not have.

    Root signed in 400 days ago, and used its key yesterday.
    """
    at = "{:%Y-%m-%dT%H:%M:%S+00:00}".format
    fields = [ROOT_USER, f"arn:aws:iam::{ACCOUNT}:root", at(days_ago(900)), "not_supported"]
    fields += [at(days_ago(400)), "not_supported", "not_supported", "false"]
    fields += ["true", at(days_ago(200)), at(days_ago(1)), "us-east-1", "s3"]
    fields += ["false", "N/A", "N/A", "N/A", "N/A", "false", "N/A", "false", "N/A"]
    return ",".join(fields) + "\n"


@pytest.fixture(scope="module")
def violating(moto):
    made = IAMBackend.get_credential_report

    def get_credential_report(self):
        head, _, users = made(self).partition("\n")
        return f"{head}\n{root_row()}{users}"

    IAMBackend.get_credential_report = get_credential_report
    reset(moto)
    account = Violating(moto)
    account.user("good", password=True, signed_in=1, mfa=True)
    account.key("good", 10, used=1)
    # An inactive key is never a violation.
    account.user("inactive")
    account.key("inactive", 500, status="Inactive")

    account.user("old-key")
    account.key("old-key", 400, used=1)
    account.user("half-a-day-over")
    account.key("half-a-day-over", 90.5, used=1)

    account.user("key-unused")
    account.key("key-unused", 80, used=50)
    account.user("key-never-used")
    account.key("key-never-used", 60)
    account.user("second-key-unused")
    account.key("second-key-unused", 70, status="Inactive")
    account.key("second-key-unused", 60, used=50)
    account.user("password-unused", password=True, signed_in=60, mfa=True)
    account.user("password-never-used", password=True, mfa=True)

    account.user("two-keys")
    account.key("two-keys", 10, used=1)
    account.key("two-keys", 5, used=1)
    account.user("key-at-setup", created=10, password=True, signed_in=1, mfa=True)
    account.key("key-at-setup", 10)
    account.user("key-made-later", password=True, signed_in=1, mfa=True)
    account.key("key-made-later", 10)
    account.user("no-mfa", password=True, signed_in=1)
    account.user("attached-policy")
    created = account.iam.create_policy(PolicyName="list", PolicyDocument=POLICY)
    account.iam.attach_user_policy(UserName="attached-policy", PolicyArn=created["Policy"]["Arn"])
    account.user("inline-policy")
    account.iam.put_user_policy(UserName="inline-policy", PolicyName="list", PolicyDocument=POLICY)
    account.iam.update_account_password_policy(**WEAK)
    account.iam.generate_credential_report()
    yield account
    IAMBackend.get_credential_report = made


# The users who violate each control, or none for a setting of the account. The root user's password is missing:
# versions up to v4.0 do not ask about it, and moto's summary does not contain it.
EXPECTED = {
    "access_keys_rotated": ["half-a-day-over", "old-key"],
    "unused_credentials_disabled": [
        "key-never-used",
        "key-unused",
        "password-never-used",
        "password-unused",
        "second-key-unused",
    ],
    "one_active_key_per_user": ["two-keys"],
    "no_key_at_user_setup": ["key-at-setup"],
    "console_mfa": ["no-mfa"],
    "policies_on_groups_only": ["attached-policy", "inline-policy"],
    "root_no_access_key": [ROOT_USER],
    "root_mfa": [ROOT_USER],
    "root_hardware_mfa": [ROOT_USER],
    "root_not_used": [ROOT_USER],
    "password_expiry": [None],
    "password_uppercase": [None],
    "password_lowercase": [None],
    "password_symbol": [None],
    "password_number": [None],
    "password_length": [None],
    "password_reuse": [None],
}
CONFIG = """\
controls:
  benchmark: v4.0
  read: [account_summary, password_policy, virtual_mfa_devices, user_policies]
"""


@pytest.fixture(scope="module")
def page(violating, tmp_path_factory):
    """The exporter's page about the account."""
    folder = tmp_path_factory.mktemp("violating")
    (folder / "config.yaml").write_text(CONFIG)
    options = [f"--config.file={folder / 'config.yaml'}"]
    with Exporter(folder, *options, endpoint=violating.endpoint) as exporter:
        yield exporter.wait_until_ready()


def users_of(page, control):
    """The users who violate the control, according to the page."""
    found = page.family("iam_control_violation")
    return sorted(labels["user"] for labels, _ in found if labels["control"] == control)


def test_the_table_has_every_control(page):
    assert {labels["control"] for labels, _ in page.family("iam_control_info")} == EXPECTED.keys()


def test_every_control_has_as_many_violations_as_the_table(page):
    found = {labels["control"]: value for labels, value in page.family("iam_control_violations")}
    assert found == {control: len(violations) for control, violations in EXPECTED.items()}


@pytest.mark.parametrize("control", EXPECTED)
def test_the_users_who_violate_a_control_are_those_of_the_table(page, control):
    assert users_of(page, control) == sorted(filter(None, EXPECTED[control]))


def test_nothing_is_undecided(page):
    assert page.family("iam_control_undecided") == []


# --- Prowler ---

CHECKS = {
    "access_keys_rotated": ["iam_rotate_access_key_90_days"],
    "unused_credentials_disabled": ["iam_user_accesskey_unused", "iam_user_console_access_unused"],
    "one_active_key_per_user": ["iam_user_two_active_access_key"],
    "no_key_at_user_setup": ["iam_user_no_setup_initial_access_key"],
    "console_mfa": ["iam_user_mfa_enabled_console_access"],
    "policies_on_groups_only": ["iam_policy_attached_only_to_group_or_roles"],
    "root_no_access_key": ["iam_no_root_access_key"],
    "root_mfa": ["iam_root_mfa_enabled"],
    "root_hardware_mfa": ["iam_root_hardware_mfa_enabled"],
    "root_not_used": ["iam_avoid_root_usage"],
    "password_expiry": ["iam_password_policy_expires_passwords_within_90_days_or_less"],
    "password_uppercase": ["iam_password_policy_uppercase"],
    "password_lowercase": ["iam_password_policy_lowercase"],
    "password_symbol": ["iam_password_policy_symbol"],
    "password_number": ["iam_password_policy_number"],
    "password_length": ["iam_password_policy_minimum_length_14"],
    "password_reuse": ["iam_password_policy_reuse_24"],
}
# The differences between the two, and the benchmark's words that show why the exporter is right.
ONLY_THE_EXPORTER = {
    "access_keys_rotated": {
        # "90 days or less" ends before 90.5 days. Prowler counts whole days, and fails a key from 91 on.
        "half-a-day-over",
    },
    "unused_credentials_disabled": {
        # The audit procedure counts from the creation if a credential was never used. Prowler passes such a credential.
        "key-never-used",
        "password-never-used",
    },
    "root_not_used": {
        # Prowler checks the key only if the password was never used. This password was used 400 days ago.
        ROOT_USER,
    },
}
ONLY_PROWLER = {
    "access_keys_rotated": {
        # The text is about IAM users. A root key of any age violates root_no_access_key.
        ROOT_USER,
    },
    "no_key_at_user_setup": {
        # The key was not made together with the user, which is the only subject of the control.
        "key-made-later",
    },
}


@pytest.fixture(scope="module")
def of_prowler(violating, tmp_path_factory):
    """Prowler's findings about the account, by check."""
    checks = [check for checks in CHECKS.values() for check in checks]
    return ask_prowler.failing(violating, checks, tmp_path_factory.mktemp("prowler"))


@pytest.mark.parametrize("control", EXPECTED)
def test_prowler_agrees_or_the_difference_has_a_reason(page, of_prowler, control):
    found = set().union(*(of_prowler[check] for check in CHECKS[control]))
    if EXPECTED[control] == [None]:
        assert found and page.value("iam_control_violations", account_id=ACCOUNT, control=control)
        return
    own = set(users_of(page, control))
    assert own - found == ONLY_THE_EXPORTER.get(control, set())
    assert found - own == ONLY_PROWLER.get(control, set())

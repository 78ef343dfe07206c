"""The status page's situations: AWS or report files on a bad day, and the text that the page must show."""

import json
import os
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Callable
from xml.sax.saxutils import escape

from fake_aws import (
    ACCOUNT,
    DENIED,
    GENERATE,
    GET,
    HANG,
    IDENTITY,
    LIST_CREDENTIALS,
    LIST_KEYS,
    Answer,
    FakeAws,
    Key,
    User,
    credential_list,
    credential_report,
    error,
    key_list,
    report,
    result,
    state,
    time_ago,
)
from harness import Exporter, wait_for

ASSUME_ROLE = "AssumeRole"
TAGS = "GetAccountAuthorizationDetails"
ROOT_USER = "<root_account>"


@dataclass(frozen=True)
class Situation:
    """The expected page: the number of unrotated keys, and the badges of the accounts."""

    name: str
    start: Callable
    number: str
    badges: set


SITUATIONS = {}


def situation(number, *badges):
    """Makes a situation from a function that takes a folder and yields the exporter. `number` is a pattern."""

    def add(function):
        name = function.__name__
        SITUATIONS[name] = Situation(name, contextmanager(function), number, set(badges))
        return function

    return add


# --- AWS ---


class Fleet(FakeAws):
    """Accounts by id, each with its responses. The exporter can assume a role in each."""

    def __init__(self, accounts):
        super().__init__([])
        self.accounts = accounts

    def answer(self, form):
        action = form["Action"]
        if action == ASSUME_ROLE:
            account = form["RoleArn"].split(":")[4]
            return self.accounts[account].get(ASSUME_ROLE) or credentials_of(account)
        account = re.search("Credential=ASIA([0-9]{12})", form["Authorization"])[1]
        if action == IDENTITY:
            return result(IDENTITY, f"<Account>{account}</Account>")
        answer = self.accounts[account].get(action, DENIED)
        return answer(form) if callable(answer) else answer


def credentials_of(account):
    role = f"arn:aws:sts::{account}:assumed-role/iam-key-exporter/iam-key-exporter"
    return Answer(
        200,
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        f"<AccessKeyId>ASIA{account}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{time_ago(-timedelta(hours=1))}</Expiration></Credentials>"
        f"<AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>{role}</Arn></AssumedRoleUser>"
        "</AssumeRoleResult></AssumeRoleResponse>".encode(),
    )


def refused(account, action, why="because no identity-based policy allows it"):
    """AWS's message if it denies a call."""
    caller = f"arn:aws:sts::{account}:assumed-role/iam-key-exporter/iam-key-exporter"
    if action == ASSUME_ROLE:
        caller = "arn:aws:iam::100000000000:user/iam-key-exporter"
        what = f"sts:AssumeRole on resource: arn:aws:iam::{account}:role/iam-key-exporter"
    else:
        what = f"iam:{action} on resource: * {why}"
    return error(403, "AccessDenied", f"User: {caller} is not authorized to perform: {what}")


@dataclass(frozen=True)
class Person:
    """A user with tags and one key. Age and last use are in days."""

    name: str
    age: float
    used: float | None = None
    status: str = "Active"
    team: str = ""
    owner: str = ""
    path: str = "/"


def users_of(account, people):
    return [user_of(account, number, person) for number, person in enumerate(people)]


def user_of(account, number, person):
    created = time_ago(timedelta(days=person.age))
    used = None if person.used is None else time_ago(timedelta(days=person.used))
    key = Key(f"AKIA{account[:8]}{number:08}", created, person.status, used, "eu-central-1", "s3")
    resource = "root" if person.name == ROOT_USER else f"user{person.path}{person.name}"
    return User(person.name, f"arn:aws:iam::{account}:{resource}", created, [key])


def tags_of(people):
    members = "".join(
        f"<member><UserName>{escape(person.name)}</UserName><Tags>{tag_list(person)}</Tags></member>"
        for person in people
        if person.name != ROOT_USER
    )
    return result(TAGS, f"<IsTruncated>false</IsTruncated><UserDetailList>{members}</UserDetailList>")


def tag_list(person):
    tags = {"team": person.team, "owner": person.owner}
    return "".join(
        f"<member><Key>{key}</Key><Value>{escape(value)}</Value></member>"
        for key, value in tags.items()
        if value
    )


def answers_of(account, people, age=timedelta(hours=1)):
    """AWS's responses for an account of these people with a report of this age."""
    users = users_of(account, people)
    keys = {user.name: user.keys for user in users}
    return {
        GET: report(credential_report(users), age),
        GENERATE: state("COMPLETE"),
        LIST_KEYS: lambda form: key_list(escape(form["UserName"]), keys[form["UserName"]]),
        TAGS: tags_of(people),
        LIST_CREDENTIALS: credential_list([]),
    }


PEOPLE = [
    Person("billing-export", 412, 0.2, team="payments", owner="payments-oncall", path="/service/"),
    Person("crm-sync", 131, 3, team="data", owner="data-oncall"),
    Person("deploy", 88, 0.1, team="platform", owner="platform-oncall", path="/ci/"),
    Person("metrics", 12, 0.1, team="platform", owner="platform-oncall"),
    Person("old-backup", 950, None, team="platform"),
    Person("retired", 700, 400, "Inactive", team="data", owner="data-oncall"),
    Person("vendor-sync", 300, 20),
]
WITH_TAGS = "labels: { user_tags: [team, owner] }\n"


@contextmanager
def running(folder, *arguments, aws=None, config="", ready=True):
    """The exporter, started in this folder, after its first refresh of every account."""
    if config:
        (folder / "config.yaml").write_text(config)
        arguments = [f"--config.file={folder / 'config.yaml'}", *arguments]
    with ExitStack() as stack:
        endpoint = stack.enter_context(aws).endpoint if aws else None
        exporter = stack.enter_context(Exporter(folder, *arguments, endpoint=endpoint))
        if ready:
            wait_for("every try", lambda: exporter.get("/-/ready").status_code == 200, seconds=60)
        yield exporter


def fleet(folder, accounts, config=WITH_TAGS, *arguments):
    """The exporter of several accounts. Names and responses are by account id."""
    listed = [
        {"id": account, "name": name, "role_arn": f"arn:aws:iam::{account}:role/iam-key-exporter"}
        for account, (name, _) in accounts.items()
    ]
    aws = Fleet({account: answers for account, (_, answers) in accounts.items()})
    return running(folder, *arguments, aws=aws, config=f"accounts: {json.dumps(listed)}\n{config}")


def one_account(people=PEOPLE, age=timedelta(hours=1), **answers):
    """AWS with one account. The given responses replace the usual ones."""
    aws = FakeAws([])
    aws.answers |= answers_of(ACCOUNT, people, age) | answers
    return aws


# --- Report files ---


def with_files(folder, **files):
    """The exporter of report files with these texts, all of this age."""
    reports = folder / "reports"
    reports.mkdir()
    for name, (text, age) in files.items():
        file = reports / f"{name}.csv"
        file.write_text(text)
        then = time.time() - age.total_seconds()
        os.utime(file, (then, then))
    return running(folder, f"--source.reports={reports}")


def file_of(people, account=ACCOUNT, age=timedelta(hours=1)):
    return credential_report(users_of(account, people)), age


# --- The situations ---


@situation("not known", "failing: access_denied")
def denied(folder):
    refuse = {action: refused(ACCOUNT, action) for action in [GET, GENERATE]}
    with running(folder, aws=one_account(**refuse)) as exporter:
        yield exporter


@situation("not known", "failing: access_denied")
def all_denied(folder):
    accounts = {
        account: (name, {ASSUME_ROLE: refused(account, ASSUME_ROLE)})
        for account, name in [
            ("111111111111", "production"),
            ("222222222222", "staging"),
            ("333333333333", "development"),
        ]
    }
    with fleet(folder, accounts) as exporter:
        yield exporter


@situation("at least 2[0-9]", "ok", "degraded", "failing: access_denied", "failing: throttled")
def mixed(folder):
    root = Person(ROOT_USER, 1_900, 200)
    ids = {str(digit) * 12: name for digit, name in enumerate(
        ["production", "billing", "staging", "data", "search", "legacy", "vendor", "sandbox"], 1
    )}  # fmt: skip
    accounts = {account: (name, answers_of(account, PEOPLE)) for account, name in ids.items()}
    answers = {name: answers for name, answers in accounts.values()}
    by_name = {name: account for account, name in ids.items()}
    answers["production"] |= answers_of(by_name["production"], [root, *PEOPLE])
    answers["billing"][ASSUME_ROLE] = refused(by_name["billing"], ASSUME_ROLE)
    scp = "with an explicit deny in a service control policy"
    answers["staging"][GET] = answers["staging"][GENERATE] = refused(by_name["staging"], GET, scp)
    answers["data"][LIST_KEYS] = refused(by_name["data"], LIST_KEYS)
    answers["search"][TAGS] = refused(by_name["search"], TAGS)
    answers["legacy"] |= answers_of(by_name["legacy"], PEOPLE, timedelta(hours=9))
    bad = credential_report(users_of(by_name["vendor"], PEOPLE)) + "\nx,y"
    answers["vendor"][GET] = report(bad, timedelta(hours=1))
    answers["sandbox"][GET] = error(400, "Throttling", "Rate exceeded")
    with fleet(folder, accounts) as exporter:
        yield exporter


@situation("[0-9]+", "ok")
def one_healthy_account(folder):
    """For example a first installation, or an auditor's account."""
    with running(folder, aws=one_account(), config=WITH_TAGS) as exporter:
        yield exporter


@situation("0", "ok")
def all_rotated(folder):
    with running(folder, aws=one_account([Person("young", 3, 1)])) as exporter:
        yield exporter


@situation("at least 1,[0-9]{3}", "degraded", "failing: access_denied", "failing: throttled")
def six_hundred_accounts(folder):
    """Of them 40 fail, and 30 do not let the exporter confirm keys."""
    teams = ["payments", "data", "platform", "search", "logistics", "mobile", "security", "shop"]
    accounts = {}
    for number in range(600):
        account = f"{100_000_000_000 + number * 7_919}"
        people = [
            Person(f"service-{place}", 17 + 31 * place + number % 90, place, team=teams[(number + place) % 8])
            for place in range(5)
        ]
        answers = answers_of(account, people)
        if number % 20 == 7:
            answers = {ASSUME_ROLE: refused(account, ASSUME_ROLE)}
        elif number % 100 == 13:
            scp = "with an explicit deny in a service control policy"
            answers[GET] = answers[GENERATE] = refused(account, GET, scp)
        elif number % 150 == 21:
            answers[GET] = error(400, "Throttling", "Rate exceeded")
        elif number % 20 == 5:
            answers[LIST_KEYS] = refused(account, LIST_KEYS)
        accounts[account] = (f"acct-{number:03}", answers)
    with fleet(folder, accounts, "labels: { user_tags: [team] }\n") as exporter:
        yield exporter


@situation("[0-9]+", "ok")
def one_of_two_shards(folder):
    accounts = {str(digit) * 12: f"account-{digit}" for digit in range(1, 10)}
    accounts = {account: (name, answers_of(account, PEOPLE)) for account, name in accounts.items()}
    with fleet(folder, accounts, WITH_TAGS, "--shard=0", "--total-shards=2") as exporter:
        yield exporter


@situation("not known")
def empty_folder(folder):
    with with_files(folder) as exporter:
        yield exporter


@situation("at least 0", "degraded")
def an_old_report(folder):
    with with_files(folder, a=file_of([Person("old", 400, 150, "Inactive")], age=timedelta(days=100))) as exporter:
        yield exporter


@situation("at least 4", "degraded")
def a_stale_report(folder):
    aws = one_account(age=timedelta(hours=9))
    with running(folder, aws=aws) as exporter:
        yield exporter


@situation("not known", "not tried yet")
def never_refreshed(folder):
    """AWS does not answer, so no refresh has ended yet."""
    with running(folder, aws=one_account(**{GET: HANG}), ready=False) as exporter:
        yield exporter


@situation("[0-9]", "degraded")
def confirmation_refused(folder):
    aws = one_account(**{LIST_KEYS: refused(ACCOUNT, LIST_KEYS)})
    with running(folder, aws=aws, config=WITH_TAGS) as exporter:
        yield exporter


@situation("[0-9]", "degraded")
def tags_unread(folder):
    aws = one_account(**{TAGS: refused(ACCOUNT, TAGS)})
    with running(folder, aws=aws, config=WITH_TAGS) as exporter:
        yield exporter


@situation("at least [0-9]", "degraded")
def tags_unread_that_rules_need(folder):
    rules = "rotation: { rules: [ { match: { tags: { team: data } }, max_age: 30d } ] }\n"
    aws = one_account([Person("young", 40, 1, team="data")], **{TAGS: refused(ACCOUNT, TAGS)})
    with running(folder, aws=aws, config=WITH_TAGS + rules) as exporter:
        yield exporter


@situation("at least 0", "degraded")
def a_row_that_cannot_be_read(folder):
    text, age = file_of([Person("young", 1)])
    with with_files(folder, a=(f"{text}\nx,y\n", age)) as exporter:
        yield exporter


@situation("at least 0", "degraded")
def a_key_of_unknown_age(folder):
    text, age = file_of([Person("young", 1), Person("ageless", 2)])
    [*rows, last] = text.split("\n")
    last = re.sub("true,[^,]*", "true,N/A", last)
    with with_files(folder, a=("\n".join([*rows, last]), age)) as exporter:
        yield exporter


@situation("at least 0", "ok", "failing: malformed_report")
def one_bad_file(folder):
    with with_files(folder, good=file_of([Person("young", 1)]), bad=("<html>\n", timedelta(minutes=1))) as exporter:
        yield exporter


@situation("[0-9]+", "ok")
def two_files_of_one_account(folder):
    old = file_of([Person("young", 30)], age=timedelta(hours=3))
    with with_files(folder, new=file_of(PEOPLE), old=old) as exporter:
        yield exporter


@situation("at least [0-9]+", "failing: access_denied")
def failing_after_a_good_report(folder):
    aws = one_account()
    with running(folder, "--refresh.interval=1s", aws=aws, config=WITH_TAGS) as exporter:
        exporter.wait_until_ready()
        aws.fault[IDENTITY] = error(403, "AccessDenied", "The security token included in the request is denied")
        exporter.wait_for_page("it fails", lambda page: not page.is_refreshed())
        yield exporter


@situation("[0-9]+", "ok")
def reload_failed(folder):
    """The exporter uses another configuration than the file's, which is invalid."""
    aws = one_account()
    with running(folder, "--web.enable-lifecycle", aws=aws, config=WITH_TAGS) as exporter:
        exporter.wait_until_ready()
        (folder / "config.yaml").write_text("rotation: { max_age: 90 }\n")
        assert exporter.reload() == 500
        yield exporter


@situation("not known")
def accounts_not_listed(folder):
    aws = one_account()
    aws.answers["ListAccounts"] = Answer(400, json.dumps({
        "__type": "AccessDeniedException",
        "Message": "You don't have permissions to access this resource.",
    }).encode())  # fmt: skip
    aws.answers["DescribeOrganization"] = aws.answers["ListAccounts"]
    with running(folder, aws=aws, config="organization: { role_name: iam-key-exporter }\n", ready=False) as exporter:
        wait_for("the look for accounts", lambda: "could not be listed" in exporter.get("/").text)
        yield exporter


# Text from other people, and names of the greatest length that AWS allows.
SCRIPT = "<script>document.title='owned'</script>"
HOSTILE = Person(
    "=o'neil+\u202e,x",
    100,
    team=f'"><img src=x onerror=alert(1)>{SCRIPT}{"t" * 200}',
    owner="\u202eevil" * 40,
    path=f"/{SCRIPT}\"'&lt;{'p' * 120}/",
)


@situation("2", "ok")
def long_and_hostile_names(folder):
    account = "111111111111"
    people = [HOSTILE, Person("u" * 64, 100, 2, team="a team with a name of some words", owner="x" * 256)]
    with fleet(folder, {account: ("n" * 50, answers_of(account, people))}) as exporter:
        yield exporter


@situation("[0-9]+", "ok")
def demo(folder):
    with running(folder, "demo") as exporter:
        exporter.wait_until_ready()
        yield exporter

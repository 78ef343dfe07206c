"""The demo's page with changes: an organization in which all is well, and what can be unknown of one."""

import re

from harness import MadeUpPage, wait_for

SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
DAY = 86_400
# What is a finding if it is not 0.
FINDINGS = {
    "iam_access_key_unrotated",
    "iam_access_keys_not_judged",
    "iam_owner_root_access_keys",
    "iam_service_specific_credential_unrotated",
    "iam_unrotated_keys_total",
    "iam_unrotated_service_credentials",
}
FINDING_STATUS = re.compile('status="(unrotated|due_soon|not_judged)"')
CONTROL_RESULTS = {"iam_control_violations", "iam_control_violation", "iam_control_undecided"}
# In version 7.0 of the benchmark it is 2.8.
ONE_CONTROL = "password_length"


class Lines:
    """The samples of a page: names, labels as they are written, and values."""

    def __init__(self, text):
        self.samples = [match.groups("") for line in text.splitlines() if (match := SAMPLE.fullmatch(line))]
        self.accounts = self.labels("iam_account_info", "account_id")
        self.controls = self.labels("iam_control_info", "control")

    def labels(self, name, label):
        """The values of a label of a metric."""
        texts = [labels for own, labels, _ in self.samples if own == name]
        return sorted({re.search(f'{label}="(.*?)"', text)[1] for text in texts})

    def drop(self, is_dropped):
        self.samples = [one for one in self.samples if not is_dropped(*one[:2])]

    def change(self, name, of, value):
        """Gives each sample of the metric, whose labels have this text, the value that the function makes of it."""
        self.samples = [
            (own, labels, value(float(old)) if own == name and of in labels else old)
            for own, labels, old in self.samples
        ]

    def add(self, name, labels, value):
        self.samples.append((name, labels, value))

    def __str__(self):
        samples = [f"{name}{{{labels}}} {value}" for name, labels, value in self.samples]
        return "\n".join(samples) + "\n"


def well(lines):
    """Nothing is a finding, and everything is known."""
    lines.drop(lambda name, _: name in CONTROL_RESULTS)
    for account in lines.accounts:
        for control in lines.controls:
            lines.add("iam_control_violations", f'account_id="{account}",control="{control}"', 0)
    lines.samples = [
        (name, labels, 0 if name in FINDINGS or FINDING_STATUS.search(labels) else value)
        for name, labels, value in lines.samples
    ]


def unread(lines, accounts):
    for account in accounts:
        own = f'account_id="{account}"'
        lines.drop(lambda name, labels, own=own: own in labels and name != "iam_account_info")
        lines.add("iam_refresh_success", own, 0)
    lines.change("iam_exporter_accounts", 'state="failing"', lambda _: len(accounts))


def not_decided(lines, accounts, controls, reason, missing):
    for account in accounts:
        for control in controls:
            own = f'account_id="{account}",control="{control}"'
            lines.drop(lambda name, labels, own=own: name in CONTROL_RESULTS and own in labels)
            lines.add("iam_control_undecided", f'{own},reason="{reason}",missing="{missing}"', 1)


def nothing(_):
    """No change."""


def every_account_unread(lines):
    unread(lines, lines.accounts)


def one_account_unread(lines):
    unread(lines, lines.accounts[:1])


def one_account_failing(lines):
    lines.change("iam_refresh_success", lines.accounts[0], lambda _: 0)
    lines.change("iam_exporter_accounts", 'state="failing"', lambda _: 1)


def one_report_old(lines):
    name = "iam_credential_report_generated_timestamp_seconds"
    lines.change(name, lines.accounts[0], lambda made: made - 3 * DAY)


def one_control_not_decided(lines):
    missing = "iam:GetAccountPasswordPolicy"
    not_decided(lines, lines.accounts, [ONE_CONTROL], "access_denied", missing)


def one_row_of_root_missing(lines):
    [own] = lines.accounts[:1]
    lines.drop(lambda name, labels: name == "iam_owner_root_access_keys" and own in labels)
    of_root = [control for control in lines.controls if control.startswith("root_")]
    not_decided(lines, [own], of_root, "no_row", "<root_account>")


def one_row_of_root_missing_but_not_its_key(lines):
    """`GetAccountSummary` says that there is a key."""
    [own] = lines.accounts[:1]
    lines.change("iam_owner_root_access_keys", own, lambda _: 1)
    not_decided(lines, [own], ["root_not_used"], "no_row", "<root_account>")


def api_keys_of_one_account_not_listed(lines):
    lines.change("iam_exporter_service_credentials_available", lines.accounts[0], lambda _: 0)


def three_rows_rejected(lines):
    lines.change("iam_credential_report_rejected_rows", lines.accounts[0], lambda _: 3)


def one_key_not_judged(lines):
    """An API key, or a key that the report does not show: `iam_owner_access_keys` does not have it."""
    lines.change("iam_access_keys_not_judged", lines.accounts[0], lambda _: 1)


def tags_of_one_account_not_read(lines):
    lines.change("iam_exporter_tags_available", lines.accounts[0], lambda _: 0)


def tags_of_one_account_not_requested(lines):
    """A report file has no tags, and no rule needs them."""
    own = lines.accounts[0]
    lines.drop(lambda name, labels: name == "iam_exporter_tags_available" and own in labels)


def one_account_name_not_read(lines):
    lines.change("iam_exporter_account_name_available", lines.accounts[0], lambda _: 0)


def accounts_not_listed(lines):
    lines.change("iam_exporter_discovery_success", "", lambda _: 0)


def one_account_unidentified(lines):
    """An account whose id is not known has no series."""
    lines.change("iam_exporter_unidentified_accounts", "", lambda _: 1)
    lines.change("iam_exporter_accounts", 'state="failing"', lambda _: 1)


def one_shard_missing(lines):
    lines.change("iam_exporter_shards", "", lambda _: 2)


# Each is about the first account, if it is about one.
SITUATIONS = {
    change.__name__: change
    for change in [
        nothing,
        every_account_unread,
        one_account_unread,
        one_account_failing,
        one_report_old,
        one_control_not_decided,
        one_row_of_root_missing,
        one_row_of_root_missing_but_not_its_key,
        api_keys_of_one_account_not_listed,
        three_rows_rejected,
        one_key_not_judged,
        tags_of_one_account_not_read,
        tags_of_one_account_not_requested,
        one_account_name_not_read,
        accounts_not_listed,
        one_account_unidentified,
        one_shard_missing,
    ]
}


class ChangedPage(MadeUpPage):
    """Serves the exporter's page in a situation. All is well except for that. `part` of the accounts are on it."""

    def __init__(self, exporter, part=slice(None)):
        self.exporter = exporter
        every = Lines(exporter.get("/metrics").text).accounts
        self.accounts = every[part]
        self.others = [account for account in every if account not in self.accounts]
        self.made = self.make("nothing")
        super().__init__()

    def text(self):
        """Made before, because a busy machine can take longer than a scrape may."""
        return self.made

    def make(self, situation):
        lines = Lines(self.exporter.get("/metrics").text)
        lines.drop(lambda _, labels: any(f'account_id="{other}"' in labels for other in self.others))
        lines.accounts = self.accounts
        well(lines)
        SITUATIONS[situation](lines)
        lines.add("situation", f'name="{situation}"', 1)
        return str(lines)

    def begin(self, situation, prometheus):
        """Waits until Prometheus knows of the situation, and of no other."""
        begin_together({self: situation}, prometheus)


# Instead of a situation.
DOWN = "down"


def begin_together(situations, prometheus):
    """Begins a situation on each page. Waits until Prometheus knows of them, and of no other."""
    for page, situation in situations.items():
        page.made = None if situation == DOWN else page.make(situation)
    expected = {page.address: name for page, name in situations.items() if name != DOWN}

    def are_known():
        found = prometheus.query("situation")
        return {labels["instance"]: labels["name"] for labels, _ in found} == expected

    wait_for(" and ".join(situations.values()), are_known)

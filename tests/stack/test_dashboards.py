"""The dashboards, with the queries that Grafana would send to a real Prometheus.

It scrapes two replicas of the demo organization, so that a panel that counts a key twice fails. The tests do the work
of Grafana between the JSON file and Prometheus: variables, tables from several queries, and column names.
"""

import json
import re
from contextlib import ExitStack, contextmanager

import pytest
import yaml
from asking import (
    BOARDS,
    BUILT_IN,
    FOLDER,
    VARIABLE,
    ask,
    ask_over_time,
    defaults,
    options,
    panel_of,
    panels,
    strings,
    variables,
)
from changed_page import DOWN, SITUATIONS, ChangedPage, begin_together
from harness import ROOT, Exporter, Prometheus, dead_endpoint, npm, wait_for

REPLICAS = 2
# These are not about keys. They have a line for each process, and requests that each replica really sends.
OF_PROCESSES = {"Exporters", "Newest data", "Failed refreshes"}
OF_PROCESSES |= {"Requests to AWS", "Requests to AWS that failed"}
# A row for each account and a column for each control.
MATRIX = "Accounts and controls"
# A row for each control of a version.
OF_CONTROLS = {"Controls"}


# --- The dashboards as parameters of tests ---


def each(of):
    """The results of `of` for every dashboard, as parameters of a test."""
    return [
        pytest.param(name, *found, id="-".join([name, *map(identifier, found)]))
        for name, board in BOARDS.items()
        for found in of(board)
    ]


def identifier(value):
    return str(value.get("title") or value.get("name") or value["refId"])


def each_board(_):
    return [()]


def each_panel(board):
    return [(panel,) for panel in panels(board)]


def each_table(board):
    """All tables with a row for each series. Matrices have their own tests."""
    return [(p,) for p in panels(board) if p["type"] == "table" and p["title"] != MATRIX]


def each_target(board):
    return [(panel, target) for panel in panels(board) for target in panel["targets"]]


def each_target_of_keys(board):
    return [(p, target) for p, target in each_target(board) if p["title"] not in OF_PROCESSES]


def each_target_without_details(board):
    """The queries for which a discreet exporter has all data, and those of owners."""
    return [
        (panel, target)
        for panel, target in each_target_of_keys(board)
        if panel["title"] != "Users"
        and not re.search("iam_user_[^t]|iam_access_key_info", target["expr"])
    ]


def each_query_variable(board):
    return [(v,) for v in variables(board).values() if v["type"] == "query"]


# --- Tables ---


def value_field(panel, target):
    """The name of the column with a query's values."""
    return "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"


def organize(panel):
    """The final names of the columns."""
    *_, step = [step for step in panel["transformations"] if step["id"] == "organize"]
    return step["options"]


# --- What is scraped ---


def scraped(folder, jobs):
    """A Prometheus after several scrapes of the exporters."""
    addresses = {name: exporter.url.removeprefix("http://") for name, exporter in jobs.items()}
    prometheus = Prometheus(folder, addresses)
    try:
        wait_for(
            "six scrapes of every exporter",
            lambda: len(prometheus.query("count_over_time(up[1m]) >= 6")) == len(jobs),
        )
    except AssertionError:
        prometheus.stop()
        raise
    return prometheus


@pytest.fixture(scope="module")
def prometheus(demo, tmp_path_factory):
    """Two jobs scrape the demo organization, like two replicas."""
    jobs = {f"replica-{number}": demo for number in range(REPLICAS)}
    with scraped(tmp_path_factory.mktemp("replicas"), jobs) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def alone(demo, tmp_path_factory):
    """One replica of the demo organization."""
    with scraped(tmp_path_factory.mktemp("alone"), {"alone": demo}) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def discreet(tmp_path_factory):
    """The demo organization without optional details: tags, ids, ARNs and more."""
    left_out = "iam_user_.*|iam_access_key_info"
    folder = tmp_path_factory.mktemp("discreet")
    with Exporter(folder, "demo", f"--metrics.denylist={left_out}") as exporter:
        exporter.wait_until_ready()
        with scraped(tmp_path_factory.mktemp("discreet"), {"discreet": exporter}) as prometheus:
            yield prometheus


@pytest.fixture(scope="module")
def untagged(tmp_path_factory):
    """One account without tags: a first installation."""
    folder = tmp_path_factory.mktemp("untagged")
    config = folder / "config.yaml"
    config.write_text("labels: { user_tags: [] }\n")
    arguments = ["demo", "--accounts=1", f"--config.file={config}"]
    with Exporter(folder, *arguments) as exporter:
        page = exporter.wait_until_ready()
        assert not page.family("iam_user_tags")
        with scraped(tmp_path_factory.mktemp("untagged"), {"untagged": exporter}) as prometheus:
            prometheus.page = page
            yield prometheus


@pytest.fixture(scope="module")
def keys(demo):
    """The page's data about every key, by account, user and slot."""
    page = demo.page()
    read = {
        name: {
            (labels["account_id"], labels["user"], labels["key"]): value
            for labels, value in page.family(f"iam_access_key_{name}")
        }
        for name in ["age_days", "active", "unrotated", "last_used_timestamp_seconds"]
        + ["rotation_due_timestamp_seconds", "exemption_end_timestamp_seconds"]
    }
    assert all(read.values())
    return read


@pytest.fixture(scope="module")
def teams(demo):
    """The team of every user. Empty if there is none."""
    found = {
        (labels["account_id"], labels["user"]): labels["tag_team"]
        for labels, _ in demo.page().family("iam_user_tags")
    }
    assert "" in found.values() and len(set(found.values())) > 2
    return found


def by_key(series):
    return {(labels["account_id"], labels["user"], labels["key"]): v for labels, v in series}


# --- Queries ---


def test_there_are_three_dashboards():
    assert set(BOARDS) == {"fleet", "account", "cis"}


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_every_query_has_an_answer(prometheus, name, panel, target):
    board = BOARDS[name]
    chosen = defaults(prometheus, board)
    if target["range"]:
        assert ask_over_time(prometheus, board, target, chosen)
    else:
        assert ask(prometheus, board, target, chosen)


@pytest.mark.parametrize("name, variable", each(each_query_variable))
def test_every_variable_offers_something(prometheus, name, variable):
    board = BOARDS[name]
    found = options(prometheus, board, variable["name"], defaults(prometheus, board))
    assert found
    assert len(set(found)) == len(found)
    assert all(text and value for text, value in found)


def test_accounts_are_offered_by_name(prometheus, demo):
    accounts = {
        (f"{labels['account_name']} {labels['account_id']}", labels["account_id"])
        for labels, _ in demo.page().family("iam_account_info")
    }
    for board in BOARDS.values():
        assert set(options(prometheus, board, "account", {})) == accounts


@pytest.mark.parametrize("name, panel, target", each(each_target_of_keys))
def test_a_second_replica_changes_nothing(prometheus, alone, name, panel, target):
    board = BOARDS[name]
    chosen = defaults(alone, board)
    at = alone.value("vector(time())")

    def answer(server):
        series = ask(server, board, target, chosen, at)
        return {frozenset(labels.items()): value for labels, value in series}

    # The two were scraped at different moments, and an age can grow by a hundredth of a day in between.
    assert answer(prometheus) == pytest.approx(answer(alone), rel=1e-9, abs=0.011)


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_every_query_takes_several_names_with_special_characters(prometheus, name, panel, target):
    board = BOARDS[name]
    odd = ["two+keys,o'neil@example.com", "back\\slash (and) [brackets]"]
    chosen = {
        variable: odd if variables(board)[variable].get("multi") else value
        for variable, value in defaults(prometheus, board).items()
    }
    ask(prometheus, board, target, chosen)


# --- Numbers ---


def number(prometheus, board, title, **choice):
    """The value of a panel with one number."""
    [target] = panel_of(board, title)["targets"]
    chosen = defaults(prometheus, BOARDS[board], **choice)
    [(_, value)] = ask(prometheus, BOARDS[board], target, chosen)
    return value


def rows(prometheus, board, title, ref="A", **choice):
    """The rows for a query of a table."""
    [target] = [t for t in panel_of(board, title)["targets"] if t["refId"] == ref]
    chosen = defaults(prometheus, BOARDS[board], **choice)
    return ask(prometheus, BOARDS[board], target, chosen)


def owners(demo, metric, **labels):
    """The values of a metric by owner, if the labels match."""
    found = demo.page().family(metric)
    assert found
    return [v for own, v in found if all(own[label] == value for label, value in labels.items())]


def test_the_unrotated_keys_are_those_of_the_exporter(prometheus, keys):
    unrotated = {key for key, value in keys["unrotated"].items() if value == 1}
    assert number(prometheus, "fleet", "Unrotated keys") == len(unrotated)
    assert by_key(rows(prometheus, "fleet", "Keys to rotate")).keys() == unrotated


def test_a_key_is_overdue_since_it_was_due(prometheus, keys):
    due = keys["rotation_due_timestamp_seconds"]
    now = prometheus.value("vector(time())")
    for key, days in by_key(rows(prometheus, "fleet", "Keys to rotate")).items():
        assert days == pytest.approx((now - due[key]) / 86400, abs=0.001)


def test_an_account_has_its_unrotated_keys(prometheus, demo):
    for labels, value in demo.page().family("iam_unrotated_keys_total"):
        one = [labels["account_id"]]
        assert number(prometheus, "fleet", "Unrotated keys", account=one) == value
        assert number(prometheus, "account", "Unrotated keys", account=one[0]) == value
        [(_, of_account)] = rows(prometheus, "fleet", "By account", account=one)
        assert of_account == value
        listed = rows(prometheus, "fleet", "Keys to rotate", account=one)
        assert len(listed) == value
        [(_, over_time)] = rows(prometheus, "fleet", "Unrotated keys over time", account=one)
        assert over_time == value


def test_the_lists_of_keys_ask_for_the_accounts_that_have_some(prometheus, demo):
    board = BOARDS["fleet"]
    chosen = defaults(prometheus, board)
    expected = {
        labels["account_id"]
        for labels, value in demo.page().family("iam_owner_access_keys")
        if labels["status"] == "unrotated" and value > 0
    }
    assert set(chosen["accounts_unrotated"]) == expected


def test_where_no_account_has_unrotated_keys_none_is_listed(prometheus):
    assert rows(prometheus, "fleet", "Keys to rotate", accounts_unrotated=[]) == []


def test_a_team_has_its_own_keys_only(prometheus, keys, teams):
    for team in set(teams.values()) - {""}:
        own = {
            key
            for key, value in keys["unrotated"].items()
            if value == 1 and teams.get(key[:2], "") == team
        }
        assert number(prometheus, "fleet", "Unrotated keys", team=[team]) == len(own)
        listed = rows(prometheus, "fleet", "Keys to rotate", team=[team])
        assert by_key(listed).keys() == own
        assert {labels["tag_team"] for labels, _ in listed} == ({team} if own else set())
        [(_, over_time)] = rows(prometheus, "fleet", "Unrotated keys over time", team=[team])
        assert over_time == len(own)


def test_keys_without_a_team_are_counted(prometheus, keys, teams):
    unrotated = [key for key, value in keys["unrotated"].items() if value == 1]
    expected = {}
    for key in unrotated:
        team = teams.get(key[:2]) or "no team"
        expected[team] = expected.get(team, 0) + 1
    shown = rows(prometheus, "fleet", "By team")
    assert {labels["tag_team"]: value for labels, value in shown if value} == expected


def test_the_owners_have_all_the_keys(prometheus, demo):
    shown = {title: ref for title, ref in zip(["unrotated", "due_soon", "exempt"], "ACF")}
    for status, ref in shown.items():
        listed = rows(prometheus, "fleet", "Owners", ref)
        expected = sum(owners(demo, "iam_owner_access_keys", status=status))
        assert sum(value for _, value in listed) == expected > 0
    never = rows(prometheus, "fleet", "Owners", "E")
    assert sum(v for _, v in never) == sum(owners(demo, "iam_owner_access_keys_never_used"))


def test_every_active_key_is_in_one_bar_of_ages(prometheus, keys):
    for account in {account for account, _, _ in keys["active"]}:
        targets = panel_of("account", "Age of active keys")["targets"]
        bars = [
            rows(prometheus, "account", "Age of active keys", t["refId"], account=account)[0][1]
            for t in targets
        ]
        assert sum(bars) == sum(v for key, v in keys["active"].items() if key[0] == account)
        assert sum(bar > 0 for bar in bars) > 3


def test_the_keys_that_are_due_soon_are_listed(prometheus, keys):
    now = prometheus.value("vector(time())")
    soon = {
        key for key, due in keys["rotation_due_timestamp_seconds"].items()
        if 0 <= due - now <= 14 * 86400
    }
    assert by_key(rows(prometheus, "fleet", "Keys due soon")).keys() == soon
    assert number(prometheus, "fleet", "Due soon") == len(soon) > 0


def test_every_exempt_key_is_listed_with_its_reason(prometheus, keys):
    ends = keys["exemption_end_timestamp_seconds"]
    listed = rows(prometheus, "fleet", "Exemptions")
    assert by_key(listed).keys() == ends.keys()
    assert all(labels["reason"] for labels, _ in listed)
    # The last day of the exemption, not the midnight after it.
    last = {key: end * 1000 - 1000 for key, end in ends.items() if end != float("inf")}
    assert by_key(rows(prometheus, "fleet", "Exemptions", "B")) == last
    assert number(prometheus, "fleet", "Exempt keys") == len(ends)
    for account in {key[0] for key in ends}:
        listed = rows(prometheus, "account", "Exemptions", account=account)
        assert by_key(listed).keys() == {key for key in ends if key[0] == account}


def test_a_key_that_was_never_used_is_listed(prometheus, keys):
    never = {
        key
        for key, active in keys["active"].items()
        if active == 1 and key not in keys["last_used_timestamp_seconds"]
    }
    assert number(prometheus, "fleet", "Never used") == len(never)
    assert by_key(rows(prometheus, "fleet", "Keys never used")).keys() == never


def test_every_root_user_with_a_key_or_without_mfa_is_listed(prometheus, demo, keys):
    active = {}
    for (account, user, _), value in keys["active"].items():
        active[account] = active.get(account, 0) + (value if user == "<root_account>" else 0)
    unprotected = {
        labels["account_id"]
        for labels, value in demo.page().family("iam_user_mfa_active")
        if labels["user"] == "<root_account>" and value == 0
    }
    expected = {a: n for a, n in active.items() if n > 0 or a in unprotected}
    shown = rows(prometheus, "fleet", "Root users")
    assert {labels["account_id"]: value for labels, value in shown} == expected
    assert number(prometheus, "fleet", "Root keys") == sum(active.values()) > 0


def test_the_account_lists_each_of_its_keys(prometheus, keys):
    account = min(account for account, _, _ in keys["age_days"])
    own = {key: days for key, days in keys["age_days"].items() if key[0] == account}
    listed = by_key(rows(prometheus, "account", "Keys", "C", account=account))
    assert listed == pytest.approx(own, abs=0.011)


def test_the_account_lists_its_unrotated_keys_first(prometheus, keys):
    """This number sorts the table, lowest first."""
    account = min(account for account, _, _ in keys["age_days"])
    due_in = by_key(rows(prometheus, "account", "Keys", account=account))
    unrotated = {key for key in due_in if keys["unrotated"][key] == 1}
    first = sorted(due_in, key=due_in.get)[: len(unrotated)]
    assert set(first) == unrotated != set()


def test_the_statuses_of_an_account_are_those_of_the_owners(prometheus, demo):
    words = {1: "unrotated", 2: "due_soon", 3: "ok", 4: "exempt", 5: "inactive", 6: "not_judged"}
    account = demo.page().family("iam_account_info")[0][0]["account_id"]
    listed = rows(prometheus, "account", "Keys", "B", account=account)
    for value, status in words.items():
        expected = sum(owners(demo, "iam_owner_access_keys", status=status, account_id=account))
        assert sum(1 for _, shown in listed if shown == value) == expected


def test_one_user_can_be_chosen(prometheus, keys):
    account, user, _ = min(keys["age_days"])
    own = {key for key in keys["age_days"] if key[:2] == (account, user)}
    for ref in "AB":
        listed = rows(prometheus, "account", "Keys", ref, account=account, user=[user])
        assert by_key(listed).keys() == own


@pytest.mark.parametrize("name, panel, target", each(each_target_without_details))
def test_a_panel_does_without_tags(prometheus, discreet, name, panel, target):
    board = BOARDS[name]

    def answer(server):
        series = ask(server, board, target, defaults(server, board))
        return {
            frozenset((k, v) for k, v in labels.items() if not k.startswith("tag_"))
            for labels, _ in series
        }

    assert answer(discreet) == answer(prometheus)


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_one_account_without_tags_is_enough(untagged, name, panel, target):
    """Lists of keys or root users can be empty. No query fails, and every number has a value."""
    board = BOARDS[name]
    found = ask(untagged, board, target, defaults(untagged, board))
    assert found or panel["type"] == "table"


def test_without_tags_the_one_account_and_no_team_have_all_the_keys(untagged):
    [(labels, expected)] = untagged.page.family("iam_unrotated_keys_total")
    assert number(untagged, "fleet", "Unrotated keys") == expected > 0
    assert len(rows(untagged, "fleet", "Keys to rotate")) == expected
    [(team, unrotated)] = rows(untagged, "fleet", "By team")
    assert (team, unrotated) == ({"tag_team": "no team"}, expected)
    [(account, unrotated)] = rows(untagged, "fleet", "By account")
    assert account["account_id"] == labels["account_id"] and account["account_name"]
    assert unrotated == expected
    [(owner, unrotated)] = rows(untagged, "fleet", "Owners")
    assert owner["account_id"] == labels["account_id"]
    assert unrotated == expected


def test_without_tags_as_many_keys_are_unrotated(prometheus, discreet):
    assert number(discreet, "fleet", "Unrotated keys") == number(
        prometheus, "fleet", "Unrotated keys"
    )


# --- Controls of the CIS benchmark ---


@pytest.fixture(scope="module")
def violations(demo):
    """The violations on the page of every decided control, by account and control."""
    found = demo.page().family("iam_control_violations")
    return {(labels["account_id"], labels["control"]): value for labels, value in found}


@pytest.fixture(scope="module")
def undecided(demo, violations):
    """The accounts and controls that are not decided at all."""
    found = demo.page().family("iam_control_undecided")
    pairs = {(labels["account_id"], labels["control"]) for labels, _ in found}
    assert pairs - violations.keys()
    return pairs - violations.keys()


@pytest.fixture(scope="module")
def controls(demo):
    """The labels of every control."""
    found = {labels["control"]: labels for labels, _ in demo.page().family("iam_control_info")}
    assert len(found) > 10
    return found


VERSIONS = {o["value"]: o["text"] for o in variables(BOARDS["cis"])["benchmark"]["options"]}


def numbered(controls, version):
    """The controls of a version, by their numbers in it, in the order of the benchmark."""
    numbers = {labels[version]: name for name, labels in controls.items() if labels[version]}
    return dict(sorted(numbers.items(), key=lambda one: [int(n) for n in one[0].split(".")]))


def matrix(prometheus, **choice):
    """The cells of the matrix by account and number, and the numbers in the order of the columns.

    A cell without a value is shown as -1, which is not decided. Each column has a cell of the account `none`, which has no row.
    """
    found = rows(prometheus, "cis", MATRIX, **choice)
    numbers = {labels["order"]: labels["number"] for labels, _ in found}
    cells = [(labels, value) for labels, value in found if labels["account_id"] != "none"]
    accounts = [labels["account_id"] for labels, _ in rows(prometheus, "cis", MATRIX, "B", **choice)]
    values = {(account, number): -1 for account in accounts for number in numbers.values()}
    values |= {(labels["account_id"], labels["number"]): value for labels, value in cells}
    assert len(values) == len(accounts) * len(numbers)
    return values, [numbers[order] for order in sorted(numbers)]


def test_panels_select_only_the_violations_of_the_chosen_controls():
    """A join would look up those of all controls, for each account."""
    text = json.dumps(BOARDS["cis"])
    selectors = re.findall(r"iam_control_violations(\{.*?\})?", text)
    assert len(selectors) > 20
    assert all('control=~\\"$controls\\"' in selector for selector in selectors)


def test_every_version_can_be_chosen_and_the_newest_is_at_first(controls):
    labels = {label for one in controls.values() for label in one if label.startswith("cis_")}
    assert VERSIONS.keys() == labels
    assert all(text == value[4:].replace("_", ".") for value, text in VERSIONS.items())
    benchmark = variables(BOARDS["cis"])["benchmark"]
    assert benchmark["current"]["value"] == next(iter(VERSIONS)) == max(labels)
    assert benchmark["query"] == ", ".join(f"{text} : {value}" for value, text in VERSIONS.items())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_matrix_has_the_numbers_of_the_version(
    prometheus, controls, violations, undecided, version
):
    values, columns = matrix(prometheus, benchmark=version)
    own = numbered(controls, version)
    assert columns == list(own)
    numbers = {control: number for number, control in own.items()}
    known = {(a, numbers[c]): value for (a, c), value in violations.items() if c in numbers}
    unknown = {(a, numbers[c]): -1 for a, c in undecided if c in numbers}
    assert values == known | unknown


def test_the_matrix_names_every_account(prometheus, demo):
    def names(series):
        return {labels["account_id"]: labels["account_name"] for labels, _ in series}

    shown = rows(prometheus, "cis", MATRIX, "B")
    assert names(shown) == names(demo.page().family("iam_account_info"))


def test_an_account_that_was_never_read_is_in_the_matrix(tmp_path):
    """Otherwise the account would be missing without a trace."""
    reserved, endpoint = dead_endpoint()
    config = tmp_path / "config.yaml"
    role = "arn:aws:iam::123456789012:role/exporter"
    account = f"{{ id: '123456789012', name: lost, role_arn: '{role}' }}"
    config.write_text(f"accounts: [{account}]\n")
    with reserved, Exporter(tmp_path, f"--config.file={config}", endpoint=endpoint) as exporter:
        exporter.wait_for_page("the refresh failed", lambda p: p.family("iam_refresh_success"))
        (tmp_path / "prometheus").mkdir()
        with scraped(tmp_path / "prometheus", {"lost": exporter}) as prometheus:
            values, columns = matrix(prometheus)
            assert set(values.values()) == {-1} and len(columns) == 10
            assert rows(prometheus, "cis", MATRIX, "B")[0][1] == -1
            assert [age for _, age in rows(prometheus, "cis", MATRIX, "C")] == [1e6]


def test_the_controls_add_up(prometheus, controls, violations, undecided):
    def of(name):
        return [v for (_, control), v in violations.items() if control == name]

    for version in VERSIONS:
        shown = {}
        for ref in "ABCDEF":
            listed = rows(prometheus, "cis", "Controls", ref, benchmark=version)
            shown[ref] = {labels["control"]: value for labels, value in listed}
        own = numbered(controls, version).values()
        assert shown["A"].keys() == set(own)
        for control in own:
            assert shown["C"].get(control, 0) == sum(v > 0 for v in of(control))
            assert shown["D"].get(control, 0) == sum(of(control))
            assert shown["E"].get(control, 0) == of(control).count(0)
            assert shown["F"][control] == sum(c == control for _, c in undecided)


def test_the_numbers_at_the_top_are_those_of_the_matrix(prometheus):
    for version in VERSIONS:
        values, _ = matrix(prometheus, benchmark=version)
        violated = {pair: v for pair, v in values.items() if v > 0}

        def shown(title):
            return number(prometheus, "cis", title, benchmark=version)

        assert shown("Violated controls") == len({n for _, n in violated}) > 0
        assert shown("Violations") == sum(violated.values())
        assert shown("Accounts affected") == len({a for a, _ in violated})
        assert shown("Not decided") == sum(v == -1 for v in values.values())


def test_a_control_can_be_chosen_by_its_number(prometheus, demo, controls):
    for version in ["cis_v1_2", "cis_v7_0"]:
        board = BOARDS["cis"]
        chosen = {"account": None, "benchmark": version}
        offered = dict(reversed(one) for one in options(prometheus, board, "control", chosen))
        own = numbered(controls, version)
        assert offered == {n: f"{n} {controls[c]['title']}" for n, c in own.items()}
        [at] = [n for n, c in own.items() if c == "console_mfa"]
        listed = rows(prometheus, "cis", "Findings", benchmark=version, control=[at])
        expected = {
            (labels["account_id"], labels["user"]): value
            for labels, value in demo.page().family("iam_control_violation")
            if labels["control"] == "console_mfa"
        }
        assert {(labels["account_id"], labels["user"]): v for labels, v in listed} == expected
        assert matrix(prometheus, benchmark=version, control=[at])[1] == [at]


def test_what_is_not_decided_is_listed_with_the_reason(prometheus, demo, controls):
    def reasons(series):
        names = ["account_id", "control", "reason", "missing"]
        return {tuple(labels[name] for name in names) for labels, _ in series}

    for version in VERSIONS:
        own = numbered(controls, version).values()
        listed = rows(prometheus, "cis", "Not decided controls", benchmark=version)
        on_page = reasons(demo.page().family("iam_control_undecided"))
        assert reasons(listed) == {one for one in on_page if one[1] in own}


def test_every_control_has_a_section_in_the_runbooks(controls):
    text = (ROOT / "docs/runbooks.md").read_text().partition("## Controls of the CIS benchmark\n")[2]
    assert sorted(re.findall(r"^### (.+)$", text, re.MULTILINE)) == sorted(controls)


# --- API keys ---


@pytest.fixture(scope="module")
def api_keys(demo):
    """The age of every API key, and whether it is unrotated, by account, user, service and id."""
    page = demo.page()
    read = {
        name: by_api_key(page.family(f"iam_service_specific_credential_{name}"))
        for name in ["age_days", "unrotated", "active", "expiry_timestamp_seconds"]
    }
    assert all(read.values())
    return read


def by_api_key(series):
    labels = ["account_id", "user", "service_name", "credential_id"]
    return {tuple(own[label] for label in labels): value for own, value in series}


def test_the_fleet_lists_the_api_keys_that_are_unrotated(prometheus, api_keys):
    unrotated = {key for key, value in api_keys["unrotated"].items() if value == 1}
    assert by_api_key(rows(prometheus, "fleet", "API keys to rotate")).keys() == unrotated != set()


def test_the_account_lists_each_of_its_api_keys(prometheus, api_keys):
    for account in {key[0] for key in api_keys["age_days"]}:
        listed = by_api_key(rows(prometheus, "account", "API keys", account=account))
        own = {key: days for key, days in api_keys["age_days"].items() if key[0] == account}
        assert listed == pytest.approx(own, abs=0.011)
        status = by_api_key(rows(prometheus, "account", "API keys", "B", account=account))
        for key, value in status.items():
            assert (value == 1) == (api_keys["unrotated"][key] == 1)
            assert (value == 3) == (api_keys["active"][key] == 0)


# --- Display ---


def fields(prometheus, board, panel):
    """The columns of a table, from the responses to its queries, before they are arranged."""
    found = {"Time"}
    for target in panel["targets"]:
        series = ask(prometheus, board, target, defaults(prometheus, board))
        found |= {label for labels, _ in series for label in labels} | {value_field(panel, target)}
    return found


@pytest.mark.parametrize("name, panel", each(each_table))
def test_every_column_of_a_table_has_a_heading_or_is_hidden(prometheus, name, panel):
    arranged = organize(panel)
    shown, hidden = set(arranged["renameByName"]), set(arranged["excludeByName"])
    assert not shown & hidden
    assert shown | hidden == fields(prometheus, BOARDS[name], panel)
    assert list(arranged["indexByName"]) == list(arranged["renameByName"])
    assert len(set(arranged["renameByName"].values())) == len(shown)


@pytest.mark.parametrize("name, panel", each(each_table))
def test_the_queries_of_a_table_fill_the_same_rows(prometheus, name, panel):
    """Grafana joins results that agree in all labels that the responses have in common."""
    board = BOARDS[name]
    answers = [ask(prometheus, board, t, defaults(prometheus, board)) for t in panel["targets"]]
    common = set.intersection(*({key for labels, _ in a for key in labels} for a in answers))
    first, *others = [
        [tuple(labels.get(key, "") for key in sorted(common)) for labels, _ in answer]
        for answer in answers
    ]
    assert len(set(first)) == len(first)
    for other in others:
        assert len(set(other)) == len(other)
        assert set(other) <= set(first)


def legends(prometheus, board, panel):
    return {
        re.sub(r"\{\{(\w+)\}\}", lambda m, own=labels: own.get(m[1], ""), target["legendFormat"])
        for target in panel["targets"]
        for labels, _ in ask(prometheus, board, target, defaults(prometheus, board))
    }


@pytest.mark.parametrize("name, panel", each(each_panel))
def test_settings_are_for_columns_and_series_that_exist(prometheus, name, panel):
    if panel["type"] == "table":
        named = set(organize(panel)["renameByName"].values())
    else:
        named = legends(prometheus, BOARDS[name], panel)
    queries = {target["refId"] for target in panel["targets"]}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        assert matcher["options"] in {"byName": named, "byFrameRefID": queries}[matcher["id"]]
    assert {sort["displayName"] for sort in panel["options"].get("sortBy", [])} <= named


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_a_legend_names_labels_that_the_series_have(prometheus, name, panel, target):
    labels = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
    board = BOARDS[name]
    for series, _ in ask(prometheus, board, target, defaults(prometheus, board)):
        assert labels <= series.keys()


@pytest.mark.parametrize("name, panel", each(each_panel))
def test_a_click_takes_its_values_from_what_is_shown(prometheus, name, panel):
    links = " ".join(strings(panel["fieldConfig"]))
    board = BOARDS[name]
    assert set(re.findall(r"\$\{__data\.fields\.(\w+)", links)) <= fields(prometheus, board, panel)
    of_series = set(re.findall(r"\$\{__field\.labels\.(\w+)", links))
    for target in panel["targets"]:
        for series, _ in ask(prometheus, board, target, defaults(prometheus, board)):
            assert of_series <= series.keys()


# --- The JSON files ---


@pytest.mark.parametrize("name", each(each_board))
def test_panels_have_ids_and_titles_of_their_own(name):
    board = BOARDS[name]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in panels(board)}) == len(panels(board))


@pytest.mark.parametrize("name", each(each_board))
def test_panels_do_not_overlap(name):
    taken = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name, panel", each(each_panel))
def test_a_panel_says_what_it_shows(name, panel):
    assert re.search(r"\w.*\.$", panel["description"])


@pytest.mark.parametrize("name", each(each_board))
def test_the_variables_are_those_that_are_used(name):
    board = BOARDS[name]
    of_grafana = {"__data", "__field", "__url_time_range", *BUILT_IN}
    used = {
        match["bare"] or match["name"]
        for part in (board["panels"], board["links"], board["templating"])
        for text in strings(part)
        for match in VARIABLE.finditer(text.replace("$__all", ""))
    }
    assert used - of_grafana == variables(board).keys()


# Colours for an unknown value.
NOT_GREEN = {"orange", "red", "text", "transparent"}


@pytest.mark.parametrize("name, panel", each(each_panel))
def test_nothing_is_green_that_is_not_known(name, panel):
    """The first colour is also that of a missing value."""
    settings = [panel["fieldConfig"]["defaults"]]
    settings += [
        {one["id"]: one["value"] for one in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    ]
    for own in settings:
        if "thresholds" in own:
            assert own["thresholds"]["steps"][0]["color"] in NOT_GREEN
        for mapping in own.get("mappings", []):
            if mapping["type"] == "special":
                assert "green" not in mapping["options"]["result"].get("color", "")
    assert "green" not in str(panel["fieldConfig"]["defaults"].get("color"))
    for target in panel["targets"]:
        assert "vector(0)" not in target["expr"]


# --- What is not known ---

# What is green on each dashboard if all is well, in one account and in all.
IN_ALL = {"Not read", "Oldest report"}
OF_CONTROLS_IN_ALL = {"Violated controls", "Violations", "Accounts affected", "Not decided"}
OF_TEAMS = {"Unrotated keys", "Due soon"}
JUDGED = OF_TEAMS | {"Not judged", "Old API keys"}
OF_KEYS = JUDGED | {"Root keys"}
WELL = {
    "fleet": OF_KEYS | IN_ALL | {"No API data"},
    "account": OF_KEYS | {"Last refresh", "Report age", "Missing data"},
    "cis": OF_CONTROLS_IN_ALL | IN_ALL,
}
# The dashboards of all accounts.
IN_FLEET = ["fleet", "cis"]
# What of it is not green in a situation.
NOT_KNOWN = {
    "nothing": {},
    "every_account_unread": WELL,
    "one_account_unread": {
        "fleet": WELL["fleet"] - {"Oldest report"},
        "account": WELL["account"],
        "cis": WELL["cis"] - {"Oldest report"},
    },
    "one_account_failing": {
        "fleet": {"Not read"},
        "account": {"Last refresh"},
        "cis": {"Not read"},
    },
    "one_report_old": {
        "fleet": WELL["fleet"] - {"Not read"},
        "account": WELL["account"] - {"Last refresh"},
        "cis": WELL["cis"] - {"Not read"},
    },
    "one_control_not_decided": {"cis": OF_CONTROLS_IN_ALL},
    "one_row_of_root_missing": {
        "fleet": OF_KEYS,
        "account": OF_KEYS | {"Missing data"},
        "cis": OF_CONTROLS_IN_ALL,
    },
    "one_row_of_root_missing_but_not_its_key": {
        "fleet": OF_KEYS,
        "account": OF_KEYS | {"Missing data"},
        "cis": OF_CONTROLS_IN_ALL,
    },
    "api_keys_of_one_account_not_listed": {
        "fleet": {"Not judged", "Old API keys", "No API data"},
        "account": {"Not judged", "Old API keys", "Missing data"},
    },
    "three_rows_rejected": {"fleet": JUDGED, "account": JUDGED | {"Missing data"}},
    "one_key_not_judged": {"fleet": JUDGED, "account": JUDGED},
    "tags_of_one_account_not_read": {"fleet": JUDGED, "account": JUDGED | {"Missing data"}},
    "tags_of_one_account_not_requested": {},
    "one_account_name_not_read": {"fleet": JUDGED, "account": JUDGED | {"Missing data"}},
    "accounts_not_listed": {
        "fleet": WELL["fleet"] - {"Oldest report"},
        "cis": WELL["cis"] - {"Oldest report"},
    },
    "one_account_unidentified": {
        "fleet": WELL["fleet"] - {"Oldest report"},
        "cis": WELL["cis"] - {"Oldest report"},
    },
    "one_shard_missing": {
        "fleet": WELL["fleet"] - {"Oldest report"},
        "cis": WELL["cis"] - {"Oldest report"},
    },
}
# There may be accounts that are not on the page.
NOT_ALL_LISTED = {"accounts_not_listed", "one_account_unidentified", "one_shard_missing"}


@pytest.fixture(scope="module")
def changed(demo, tmp_path_factory):
    """A page that can be changed, and a Prometheus that scrapes it."""
    with ChangedPage(demo) as page:
        with Prometheus(tmp_path_factory.mktemp("changed"), {"changed": page.address}) as prometheus:
            yield page, prometheus


def color(settings, value):
    """The color that Grafana gives to a value; None is no value."""
    for mapping in settings.get("mappings", []):
        if mapping["type"] == "value" and value is not None and value == int(value):
            if found := mapping["options"].get(str(int(value))):
                return found["color"]
    steps = settings["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or (value is not None and value >= step["value"])]
    return reached[-1]["color"]


def green_numbers(prometheus, name, **choice):
    """The titles of the numbers that are green."""
    chosen = defaults(prometheus, BOARDS[name], **choice)
    found = set()
    for panel in panels(BOARDS[name]):
        if panel["type"] == "stat":
            [target] = panel["targets"]
            answer = ask(prometheus, BOARDS[name], target, chosen)
            assert len(answer) <= 1
            value = answer[0][1] if answer else None
            if color(panel["fieldConfig"]["defaults"], value) == "green":
                found.add(panel["title"])
    return found


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_number_is_green_that_is_not_known(changed, situation, name):
    page, prometheus = changed
    page.begin(situation, prometheus)
    choice = {"account": page.accounts[0]} if name == "account" else {}
    expected = WELL[name] - NOT_KNOWN[situation].get(name, set())
    assert green_numbers(prometheus, name, **choice) == expected


@pytest.mark.parametrize("name", ["fleet", "account"])
def test_no_number_of_a_team_is_green_if_not_all_tags_are_known(changed, name):
    page, prometheus = changed
    choice = {"team": ["payments"]} | ({"account": page.accounts[0]} if name == "account" else {})
    page.begin("nothing", prometheus)
    assert green_numbers(prometheus, name, **choice) == WELL[name]
    page.begin("tags_of_one_account_not_requested", prometheus)
    assert green_numbers(prometheus, name, **choice) == WELL[name] - OF_TEAMS - {"Missing data"}


def test_an_account_says_why_its_keys_are_not_all_known(changed):
    page, prometheus = changed
    [mapping, _] = panel_of("account", "Missing data")["fieldConfig"]["defaults"]["mappings"]
    texts = {value: own["text"] for value, own in mapping["options"].items()}
    for situation, text in [
        ("nothing", "none"),
        ("one_report_old", "old report"),
        ("three_rows_rejected", "rejected rows"),
        ("one_row_of_root_missing", "root user"),
        ("one_row_of_root_missing_but_not_its_key", "root user"),
        ("tags_of_one_account_not_read", "tags"),
        ("one_account_name_not_read", "account name"),
        ("api_keys_of_one_account_not_listed", "API keys"),
    ]:
        page.begin(situation, prometheus)
        value = number(prometheus, "account", "Missing data", account=page.accounts[0])
        assert texts[str(int(value))] == text


def test_a_key_that_is_not_judged_counts_once(changed):
    """Not all of them are in `iam_owner_access_keys`."""
    page, prometheus = changed
    page.begin("one_key_not_judged", prometheus)
    for name, choice in [("fleet", {}), ("account", {"account": page.accounts[0]})]:
        assert number(prometheus, name, "Not judged", **choice) == 1


def text_of(name, title, value):
    """The text that a number shows instead of a value."""
    [mapping, _] = panel_of(name, title)["fieldConfig"]["defaults"]["mappings"]
    return mapping["options"][str(int(value))]["text"]


@pytest.mark.parametrize("name", IN_FLEET)
def test_the_fleet_says_why_it_may_lack_accounts(changed, name):
    page, prometheus = changed
    for situation, text in [
        ("accounts_not_listed", "not listed"),
        ("one_account_unidentified", "1 account"),
        ("one_shard_missing", "none known"),
    ]:
        page.begin(situation, prometheus)
        assert text_of(name, "Not read", number(prometheus, name, "Not read")) == text


@contextmanager
def two_exporters(demo, folder, *parts):
    """Two pages with these parts of the accounts, and a Prometheus that scrapes them as two jobs."""
    with ExitStack() as running:
        pages = [running.enter_context(ChangedPage(demo, part)) for part in parts]
        jobs = {f"exporter-{number}": page.address for number, page in enumerate(pages)}
        yield *pages, running.enter_context(Prometheus(folder, jobs))


@pytest.fixture(scope="module")
def two_installations(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-installations")
    with two_exporters(demo, folder, slice(2), slice(2, None)) as found:
        yield found


@pytest.mark.parametrize("name", IN_FLEET)
def test_accounts_of_an_exporter_that_is_down_are_not_known(two_installations, name):
    first, second, prometheus = two_installations
    begin_together({first: "nothing", second: "nothing"}, prometheus)
    assert green_numbers(prometheus, name) == WELL[name]
    begin_together({first: "nothing", second: DOWN}, prometheus)
    assert green_numbers(prometheus, name) == {"Oldest report"}
    assert text_of(name, "Not read", number(prometheus, name, "Not read")) == "none known"
    # The others are known.
    assert green_numbers(prometheus, name, account=first.accounts) == WELL[name] - {"Not read"}


def test_no_control_passes_if_an_exporter_is_down(two_installations):
    first, second, prometheus = two_installations
    for situation, verdict in [("nothing", 0), (DOWN, 1)]:
        begin_together({first: "nothing", second: situation}, prometheus)
        assert {value for _, value in rows(prometheus, "cis", "Controls", "B")} == {verdict}


@pytest.mark.parametrize("name", IN_FLEET)
def test_failing_accounts_of_all_installations_are_counted(two_installations, name):
    *pages, prometheus = two_installations
    begin_together(dict.fromkeys(pages, "one_account_failing"), prometheus)
    assert number(prometheus, name, "Not read") == 2


@pytest.mark.parametrize("name", IN_FLEET)
def test_a_replica_can_be_down(demo, tmp_path, name):
    with two_exporters(demo, tmp_path, slice(None), slice(None)) as (first, second, prometheus):
        for situation in ["nothing", DOWN]:
            begin_together({first: "nothing", second: situation}, prometheus)
            assert green_numbers(prometheus, name) == WELL[name]


@pytest.mark.parametrize("situation", ["one_account_unidentified", "accounts_not_listed"])
def test_what_an_exporter_did_not_know_is_not_known_when_it_is_down(demo, tmp_path, situation):
    with two_exporters(demo, tmp_path, slice(None), slice(0)) as (first, second, prometheus):
        for second_one in ["nothing", situation, DOWN]:
            begin_together({first: "nothing", second: second_one}, prometheus)
            for name in IN_FLEET:
                expected = WELL[name] if second_one == "nothing" else {"Oldest report"}
                assert green_numbers(prometheus, name) == expected


def test_no_number_is_green_if_none_of_the_chosen_controls_is_decided(changed):
    page, prometheus = changed
    page.begin("one_control_not_decided", prometheus)
    assert green_numbers(prometheus, "cis", control=["2.8"]) == IN_ALL
    assert number(prometheus, "cis", "Not decided", control=["2.8"]) == len(page.accounts)
    values, columns = matrix(prometheus, control=["2.8"])
    assert (set(values.values()), columns) == ({-1}, ["2.8"])
    assert [total for _, total in rows(prometheus, "cis", MATRIX, "B", control=["2.8"])] == [-1] * 3
    # The others are green as before.
    assert green_numbers(prometheus, "cis", control=["2.9"]) == WELL["cis"]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_control_passes_of_which_not_each_account_is_known(changed, situation):
    page, prometheus = changed
    page.begin(situation, prometheus)
    accounts = len(page.accounts)
    own = {labels["control"]: labels["number"] for labels, _ in rows(prometheus, "cis", "Controls")}
    assert len(own) == 10
    unknown = {
        "every_account_unread": dict.fromkeys(own, accounts),
        "one_account_unread": dict.fromkeys(own, 1),
        "one_report_old": dict.fromkeys(own, 1),
        "one_control_not_decided": {"password_length": accounts},
        "one_row_of_root_missing": {c: 1 for c in own if c.startswith("root_")},
        "one_row_of_root_missing_but_not_its_key": {"root_not_used": 1},
    }.get(situation, {})

    def shown(ref):
        return {labels["control"]: v for labels, v in rows(prometheus, "cis", "Controls", ref)}

    is_listed = situation not in NOT_ALL_LISTED
    assert shown("F") == {control: unknown.get(control, 0) for control in own}
    assert shown("B") == {control: int(control in unknown or not is_listed) for control in own}
    for control, passed in shown("E").items():
        assert passed == accounts - unknown.get(control, 0)
    assert number(prometheus, "cis", "Not decided") == (sum(unknown.values()) if is_listed else -1)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_cell_is_green_that_is_not_known(changed, situation):
    page, prometheus = changed
    page.begin(situation, prometheus)
    first, *others = page.accounts
    settings = panel_of("cis", MATRIX)["fieldConfig"]["defaults"]
    values, columns = matrix(prometheus)
    shown = {pair: color(settings, value) for pair, value in values.items()}
    totals = {labels["account_id"]: v for labels, v in rows(prometheus, "cis", MATRIX, "B")}
    green = {pair for pair, own in shown.items() if own == "green"}
    well = {(account, control) for account in page.accounts for control in columns}
    one = {pair for pair in well if pair[0] == first}
    of_root = {(first, control) for control in ["2.4", "2.5", "2.6", "2.7"]}
    unknown = {
        "every_account_unread": well,
        "one_account_unread": one,
        "one_report_old": one,
        "one_control_not_decided": {pair for pair in well if pair[1] == "2.8"},
        "one_row_of_root_missing": of_root,
        "one_row_of_root_missing_but_not_its_key": {(first, "2.7")},
    }.get(situation, set())
    assert green == well - unknown
    touched = {account for account, _ in unknown}
    assert totals == {account: -int(account in touched) for account in page.accounts}
    old = {pair for pair, value in values.items() if value == -2}
    assert old == (one if situation == "one_report_old" else set())


def test_the_accounts_whose_api_keys_are_not_known_are_counted(changed):
    page, prometheus = changed
    for situation, count in [
        ("nothing", 0),
        ("every_account_unread", len(page.accounts)),
        ("one_account_unread", 1),
        ("one_report_old", 1),
        ("api_keys_of_one_account_not_listed", 1),
    ]:
        page.begin(situation, prometheus)
        assert number(prometheus, "fleet", "No API data") == count


# These have a series for each key or user.
OF_EACH = r"\biam_(?:access_key|user)_\w+(?:\{[^}]*\})?"


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_no_graph_asks_for_each_key(name, panel, target):
    """For a month and many keys, the query would take longer than Grafana waits."""
    assert not (target.get("range") and re.search(OF_EACH, target["expr"]))


@pytest.mark.parametrize("name, panel, target", each(each_target))
def test_no_panel_looks_into_all_accounts_for_keys(name, panel, target):
    some = re.compile(r'account_id="\$account"|account_id=~"\$accounts_\w+"|user="<root_account>"')
    assert [found for found in re.findall(OF_EACH, target["expr"]) if not some.search(found)] == []


@pytest.mark.parametrize("name, panel", each(each_table))
def test_a_table_has_a_limit(name, panel):
    """Each query is cut to 500 rows. The exceptions are those about processes and about the users of one account."""
    short = panel["title"] in OF_PROCESSES | OF_CONTROLS
    for target in panel["targets"]:
        assert "k(500," in target["expr"] or short
    assert short or "500" in panel["description"]


# --- Links ---


def urls(board):
    """All links of a dashboard."""
    found = []

    def look(value):
        if isinstance(value, dict):
            found.extend(inner for key, inner in value.items() if key == "url")
            value = list(value.values())
        if isinstance(value, list):
            for inner in value:
                look(inner)

    look([board["links"], board["panels"]])
    return sorted(set(found))


def each_url(board):
    return [({"title": url},) for url in urls(board)]


def anchors(document):
    """The fragments of the headings of a Markdown page."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("name, link", each(each_url))
def test_a_link_leads_somewhere(name, link):
    url = link["title"]
    if url == "${runbooks:raw}#${__data.fields.control:percentencode}":
        return  # test_every_control_has_a_section_in_the_runbooks
    if runbook := re.fullmatch(r"\$\{runbooks:raw\}(?:#(.+))?", url):
        assert runbook[1] is None or runbook[1] in anchors(ROOT / "docs/runbooks.md")
        return
    if status_page := re.fullmatch(r"\$\{status_page:raw\}(?:\?(.+))?", url):
        parameters = dict(one.split("=") for one in (status_page[1] or "q=").split("&"))
        assert parameters.keys() <= {"q", "show", "account", "user"}
        assert parameters.get("show", "all") in {"unrotated", "due_soon", "exempt", "all", "every"}
        return
    uid, parameters = re.fullmatch(r"/d/([\w-]+)\?(.+)", url).groups()
    [target] = [board for board in BOARDS.values() if board["uid"] == uid]
    for parameter in parameters.split("&"):
        if parameter != "${__url_time_range}":
            kept = re.fullmatch(r"\$\{(\w+):queryparam\}", parameter)
            given = re.fullmatch(r"var-(\w+)=\$\{[\w.]+:percentencode\}", parameter)
            assert (kept or given)[1] in variables(target)


def test_each_dashboard_leads_to_the_other_the_status_page_and_the_runbooks():
    for board in BOARDS.values():
        found = " ".join(urls(board))
        others = {other["uid"] for other in BOARDS.values()} - {board["uid"]}
        assert all(f"/d/{uid}?" in found for uid in others)
        assert "${runbooks:raw}#" in found
        assert "${status_page:raw}?account=" in found


# --- Grafana's types and the list of dashboards ---


def test_provisioning_reads_the_dashboards_where_the_readme_puts_them():
    found = yaml.safe_load((FOLDER / "provisioning/dashboards/iam-key-exporter.yml").read_text())
    [provider] = found["providers"]
    assert (found["apiVersion"], provider["type"]) == (1, "file")
    path = provider["options"]["path"]
    assert f" {path} fleet.json account.json cis.json" in (FOLDER / "README.md").read_text()


def test_provisioning_makes_a_data_source_that_the_dashboards_can_choose():
    found = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())
    [source] = found["datasources"]
    assert found["apiVersion"] == 1
    for board in BOARDS.values():
        assert variables(board)["datasource"]["query"] == source["type"]


def test_the_dashboards_are_of_grafanas_own_types(npm_packages):
    """`npm test` in tests/npm prints the line of each error."""
    npm("test")

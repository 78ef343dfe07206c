"""The dashboards, drawn by Grafana's own libraries with data from a real Prometheus."""

import json
import re

import pytest
from changed_page import SITUATIONS, ChangedPage
from drawing import DASHBOARDS, Drawing, build
from harness import Prometheus
from situations import situation, stop

BOARDS = ["fleet", "account", "cis"]


@pytest.fixture(scope="module")
def app():
    build()


@pytest.fixture(scope="module")
def demo_organization(app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn-demo")
    with (
        situation(folder, "demo") as (_, prometheus),
        Drawing(folder / "browser", prometheus) as drawing,
    ):
        yield drawing


@pytest.fixture(scope="module")
def first_installation(app, tmp_path_factory):
    """One account without tags."""
    folder = tmp_path_factory.mktemp("drawn-one")
    with (
        situation(folder, "one-account") as (_, prometheus),
        Drawing(folder / "browser", prometheus) as drawing,
    ):
        yield drawing


@pytest.fixture(scope="module")
def stopped(app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn-stopped")
    with (
        situation(folder, "demo") as (exporter, prometheus),
        Drawing(folder / "browser", prometheus) as drawing,
    ):
        stop(exporter, prometheus)
        yield drawing


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_panel_is_empty_or_failed(demo_organization, board, theme):
    panels = demo_organization.draw(board, theme=theme)
    assert demo_organization.failures() == []
    drawn = json.loads((DASHBOARDS / f"{board}.json").read_text())["panels"]
    assert len(panels) == sum(panel["type"] != "row" for panel in drawn) > 5
    assert {panel["title"]: panel["state"] for panel in panels if panel["state"] != "Done"} == {}
    said_so = {panel["title"] for panel in panels if "no data" in panel["text"].lower()}
    assert {panel["title"] for panel in panels if panel["rows"] == 0} | said_so == set()


@pytest.mark.parametrize("board", BOARDS)
def test_what_is_known_to_be_well_is_green(demo_organization, board):
    """This gives meaning to the tests that expect no green after the exporter has stopped."""
    assert any(panel["greens"] for panel in demo_organization.draw(board))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_green_once_the_exporter_has_stopped(stopped, board, theme):
    panels = stopped.draw(board, theme=theme)
    assert stopped.failures() == []
    assert {panel["title"]: panel["greens"] for panel in panels if panel["greens"]} == {}


@pytest.mark.parametrize("board", BOARDS)
def test_no_number_is_shown_once_the_exporter_has_stopped(stopped, board):
    """The only number is the time since there was one. Above all, there is no 0."""
    for panel in stopped.draw(board):
        if panel["type"] == "stat" and panel["title"] != "Newest data":
            assert "no data" in panel["text"].lower(), panel["title"]


@pytest.fixture(scope="module")
def changed(app, demo, tmp_path_factory):
    """A page that can be changed, a Prometheus that scrapes it, and a browser."""
    folder = tmp_path_factory.mktemp("drawn-changed")
    with (
        ChangedPage(demo) as page,
        Prometheus(folder, {"changed": page.address}) as prometheus,
        Drawing(folder / "browser", prometheus) as drawing,
    ):
        yield page, prometheus, drawing


# On *CIS IAM*, what still is green while something of every control is not known. In the matrix and the list of
# controls nothing is.
STILL_GREEN = {
    "every_account_unread": set(),
    "one_report_old": {"Not read"},
    "one_account_unread": {"Oldest report"},
}


@pytest.mark.parametrize("situation", STILL_GREEN)
def test_nothing_is_green_of_controls_that_are_not_known(changed, situation):
    page, prometheus, drawing = changed
    page.begin(situation, prometheus)
    panels = {panel["title"]: panel for panel in drawing.draw("cis")}
    assert drawing.failures() == []
    matrix = panels.pop("Accounts and controls")
    assert {title for title, panel in panels.items() if panel["greens"]} == STILL_GREEN[situation]
    assert "passed" not in panels["Controls"]["text"]
    if situation == "every_account_unread":
        assert matrix["greens"] == []
        assert matrix["text"].count("not decided") > 20
    else:
        # The other accounts are as they were.
        assert {"one_report_old": "old report"}.get(situation, "not decided") in matrix["text"]


@pytest.mark.parametrize("board", ["fleet", "cis"])
@pytest.mark.parametrize("width", [1440, 1920])
def test_no_number_is_green_if_a_shard_is_missing(changed, board, width):
    """Only the age of the oldest report that is there."""
    page, prometheus, drawing = changed
    page.begin("one_shard_missing", prometheus)
    panels = {panel["title"]: panel for panel in drawing.draw(board, width)}
    assert drawing.failures() == []
    numbers = [panel for panel in panels.values() if panel["type"] == "stat"]
    assert {panel["title"] for panel in numbers if panel["greens"]} == {"Oldest report"}
    assert "none known" in panels["Not read"]["text"]
    assert {panel["title"]: panel["cuts"] for panel in numbers if panel["cuts"]} == {}


def test_nothing_is_green_of_chosen_controls_that_are_not_decided(changed):
    page, prometheus, drawing = changed
    page.begin("one_control_not_decided", prometheus)
    panels = {panel["title"]: panel for panel in drawing.draw("cis", **{"var-control": "2.8"})}
    green = {title for title, panel in panels.items() if panel["greens"]}
    assert green == {"Not read", "Oldest report"}
    assert panels["Accounts and controls"]["text"].count("not decided") == len(page.accounts)
    assert "passed" not in panels["Controls"]["text"]


@pytest.mark.parametrize("width", [1440, 1920])
def test_an_account_says_what_is_missing(changed, width):
    page, prometheus, drawing = changed
    page.begin("three_rows_rejected", prometheus)
    drawn = drawing.draw("account", width, **{"var-account": page.accounts[0]})
    panels = {panel["title"]: panel for panel in drawn}
    assert "rejected rows" in panels["Missing data"]["text"]
    assert panels["Missing data"]["greens"] == []
    for title in ["Unrotated keys", "Due soon", "Not judged", "Old API keys"]:
        assert "none known" in panels[title]["text"]
        assert panels[title]["greens"] == []


def test_what_is_wrong_with_a_dashboard_is_seen(stopped, tmp_path):
    """A made-up 0, a title without room, and a query that fails."""
    board = json.loads((DASHBOARDS / "fleet.json").read_text())
    panels = {panel["title"]: panel for panel in board["panels"]}
    panels["Unrotated keys"]["targets"][0]["expr"] += " or vector(0)"
    panels["Never used"]["title"] = "Active keys that nobody ever used"
    panels["Due soon"]["targets"][0]["expr"] += ")"
    (tmp_path / "broken.json").write_text(json.dumps(board))
    stopped.server.dashboards = tmp_path
    try:
        seen = {panel["title"]: panel for panel in stopped.draw("broken")}
        assert any("parse error" in failure for failure in stopped.failures())
    finally:
        stopped.server.dashboards = DASHBOARDS
    assert seen["Unrotated keys"]["greens"] == ["the text 0"]
    assert seen["Active keys that nobody ever used"]["cuts"]
    assert seen["Due soon"]["state"] == "Error"
    assert not seen["Exempt keys"]["greens"] and not seen["Exempt keys"]["cuts"]


def test_the_fleet_says_that_the_exporter_is_gone(stopped):
    panels = {panel["title"]: panel["text"] for panel in stopped.draw("fleet")}
    assert "gone" in panels["Exporters"]


@pytest.mark.parametrize("board, title", [("fleet", "Keys to rotate"), ("account", "Keys")])
def test_a_key_whose_owner_is_not_known_says_so(demo_organization, board, title):
    texts = {panel["title"]: panel["text"] for panel in demo_organization.draw(board)}
    assert re.search(r"<root_account>.*not known", texts[title], re.DOTALL)


@pytest.mark.parametrize("board", BOARDS)
def test_one_account_without_tags_is_drawn(first_installation, board):
    panels = {panel["title"]: panel for panel in first_installation.draw(board)}
    assert first_installation.failures() == []
    assert {panel["state"] for panel in panels.values()} == {"Done"}
    if board == "fleet":
        # Single bars have names, too.
        assert "no team" in panels["By team"]["text"]
        assert "production" in panels["By account"]["text"]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("width", [1440, 1920])
def test_there_is_room_for_every_title_and_heading(demo_organization, board, width):
    panels = demo_organization.draw(board, width)
    assert {panel["title"]: panel["cuts"] for panel in panels if panel["cuts"]} == {}


@pytest.mark.parametrize("width", [1440, 1920])
def test_the_first_screen_says_which_keys_whose_and_since_when(demo_organization, width):
    """Every heading of the list of keys is visible, and its first rows are on the first screen."""
    demo_organization.draw("fleet", width)
    demo_organization.look(width, 900)
    demo_organization.settle()
    title = "one.innerText.startsWith('Keys to rotate')"
    panel = f"[...document.querySelectorAll('[data-viz-panel-key]')].find((one) => {title})"
    headings = demo_organization.browser.execute_script(
        f"""
        const panel = {panel}, box = panel.getBoundingClientRect();
        return [...panel.querySelectorAll('[role=columnheader]')].map((one) => {{
            const own = one.getBoundingClientRect();
            return [one.innerText, own.left >= box.left && own.right <= box.right + 1];
        }});
        """
    )
    names = ["User", "Account", "Team", "Owner", "Overdue", "Age", "Last used", "Key", "Key ID"]
    assert headings == [[name, True] for name in names]
    rows = demo_organization.browser.execute_script(
        f"""
        const rows = [...{panel}.querySelectorAll('[role=row]')].slice(1);
        return rows.filter((one) => one.getBoundingClientRect().bottom < 900).length;
        """
    )
    assert rows >= 8


def test_what_is_not_decided_is_grey_and_says_so(demo_organization):
    panels = {panel["title"]: panel for panel in demo_organization.draw("cis")}
    assert "not decided" in panels["Accounts and controls"]["text"]
    assert not [green for panel in panels.values() for green in panel["greens"] if "decided" in green]


@pytest.mark.parametrize("version", ["cis_v1_2", "cis_v5_0"])
def test_the_columns_of_the_matrix_are_numbers_of_the_version_in_order(demo_organization, version):
    panels = demo_organization.draw("cis", 1920, **{"var-benchmark": version})
    [matrix] = [panel for panel in panels if panel["title"] == "Accounts and controls"]
    # The heading of the last column may be to the right of the window.
    numbers = re.findall(r"^\d+\.\d+$", matrix["text"], re.MULTILINE)
    order = [tuple(map(int, number.split("."))) for number in numbers]
    assert order == sorted(set(order)) and len(order) > 10


def test_a_number_of_the_matrix_leads_to_the_findings_of_its_account_and_control(demo_organization):
    demo_organization.draw("cis")
    links = demo_organization.browser.execute_script(
        "return [...document.querySelectorAll('a[href*=var-control]')].map((one) => one.href)"
    )
    found = re.compile(r"/d/iam-cis\?.*var-benchmark=cis_v7_0&var-account=(\d{12})&var-control=(2\.\d+)&")
    cells = [match.groups() for match in map(found.search, links) if match]
    assert len(set(cells)) == len(cells) >= 30

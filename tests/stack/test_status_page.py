"""The status page in a real browser: light and dark, wide and narrow, with JavaScript and without."""

import contextlib
import csv
import io
import os
import re
import time
from datetime import timedelta
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, urljoin, urlsplit
from xml.sax.saxutils import escape

import pytest
import requests
from browser import Browser
from fake_aws import ACCOUNT, FakeAws, Key, User, error, result, time_ago
from harness import ROOT, Exporter, wait_for
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

RUNBOOKS = ROOT / "docs/runbooks.md"
ROWS = "#keys tbody tr"


class RunbookHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><html lang=en><title>Runbooks</title><link rel=icon href='data:,'>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def runbooks():
    """Where the runbooks are published."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), RunbookHandler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/runbooks.md"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(runbooks, tmp_path_factory):
    """The address of the demo organization's page."""
    folder = tmp_path_factory.mktemp("demo")
    with Exporter(folder, "demo", f"--web.runbook-url={runbooks}") as exporter:
        exporter.wait_until_ready()
        yield f"{exporter.url}/"


@pytest.fixture(scope="module")
def with_javascript(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def without_javascript(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser"), javascript=False) as browser:
        yield browser


@pytest.fixture(scope="module")
def axe(npm_packages):
    """The program that looks for what makes a page hard to use for some."""
    return (npm_packages / "axe-core/axe.min.js").read_text()


@pytest.fixture(params=["with_javascript", "without_javascript"])
def browser(request):
    """A browser, wide and light, that complains of nothing while the test runs."""
    browser = request.getfixturevalue(request.param)
    browser.look(1280, "light")
    yield browser
    assert browser.complaints() == []


def column(browser, index):
    """The first line of each cell of a column of the keys."""
    cells = browser.all(f"{ROWS} > :nth-child({index})")
    return [cell.text.split("\n")[0] for cell in cells]


def is_no_wider_than(browser, width):
    """Tables may be wider than the window, the page may not."""
    return browser.devtools("Page.getLayoutMetrics")["cssContentSize"]["width"] <= width


def sections():
    """The anchors of the runbooks, as Markdown is published."""
    titles = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


# --- How it looks ---


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_in_light_and_dark_on_wide_and_narrow_screens(browser, page, scheme, width):
    browser.look(width, scheme)
    browser.get(page)
    assert browser.one("h1").text == "IAM access keys"
    assert browser.one(".trust").text.startswith("3 of 3 accounts read")
    unrotated = int(browser.one(".tiles li:first-child strong").text)
    assert unrotated > 100
    assert len(browser.all(ROWS)) == min(unrotated, 200)
    ground = browser.one("body").value_of_css_property("background-color")
    red, green, blue = map(int, re.findall(r"\d+", ground)[:3])
    assert (red + green + blue < 200) == (scheme == "dark")
    assert is_no_wider_than(browser, width)


@pytest.mark.parametrize("query", ["", "?show=all&accounts=1", "?q=nobody-has-this-name"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(with_javascript, axe, page, scheme, width, query):
    browser = with_javascript
    browser.look(width, scheme)
    browser.get(page + query)
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "axe.run({reporter: 'v2'}).then(arguments[0], error => arguments[0](String(error)))"
    )
    assert found["violations"] == []
    # It did look.
    assert {"color-contrast", "label", "html-has-lang"} <= {rule["id"] for rule in found["passes"]}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, page):
    browser.get(page)
    seen = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        seen.append(element.get_attribute("id") or element.text.split("\n")[0])
        assert element.value_of_css_property("outline-style") == "solid", seen
    assert seen[0] == "Skip to the keys"
    for stop in ["q", "show", "Search", "User", "Age in days", "Last used", "3 of 3 accounts read"]:
        assert stop in seen


# --- What it does ---


def test_a_search_shows_what_matches(browser, page):
    browser.get(page)
    field = browser.one("#q")
    field.send_keys("PAYMENTS-oncall production", Keys.ENTER)
    wait_for("the answer", lambda: "q=PAYMENTS-oncall" in browser.current_url)
    rows = browser.all(ROWS)
    assert rows
    for row in rows:
        assert "payments-oncall" in row.text and "production" in row.text
    assert browser.one("#q").get_attribute("value") == "PAYMENTS-oncall production"
    # And back.
    browser.find_element(By.LINK_TEXT, "Reset").click()
    wait_for("all of them", lambda: len(browser.all(ROWS)) > len(rows))


def test_a_search_for_nobody_says_so(browser, page):
    browser.get(page + "?q=nobody-has-this-name")
    assert browser.all(ROWS) == []
    answer = browser.one("#keys .empty").text
    assert "No key is unrotated of those that you ask for" in answer
    assert "3 of 3 accounts read" in answer


@pytest.mark.parametrize("choice", ["unrotated", "due soon", "exempt"])
def test_a_choice_shows_keys_of_that_state(browser, page, choice):
    browser.get(page)
    Select(browser.one("#show")).select_by_value(choice.replace(" ", "_"))
    browser.one("#keys form button").click()
    wait_for("the answer", lambda: f"show={choice.replace(' ', '_')}" in browser.current_url)
    assert set(column(browser, 9)) == {choice}


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("User", 1, str.lower),
        ("Account", 4, str.lower),
        ("Age in days", 6, lambda text: int(text.replace(",", ""))),
        # Never, of which there is no date, comes before any.
        ("Last used", 7, lambda text: "" if text == "never" else text),
    ],
)
def test_a_column_sorts_in_both_orders(browser, page, name, index, value):
    browser.get(page + "?show=unrotated")
    for _ in range(2):
        head = browser.find_element(By.LINK_TEXT, name)
        before = browser.current_url
        head.click()
        wait_for("another order", lambda: browser.current_url != before)
        order = browser.one("#keys th[aria-sort]").get_attribute("aria-sort")
        values = [value(text) for text in column(browser, index)]
        assert len(set(values)) > 2
        assert values == sorted(values, reverse=order == "descending"), name
        assert browser.one("#keys th[aria-sort]").text.startswith(name)
    assert browser.current_url.endswith("#keys")


def test_pages_follow_each_other(browser, page):
    browser.get(page + "?show=all")
    first = column(browser, 1)
    assert len(first) == 200
    assert "Page 1 of 2" in browser.one("nav").text
    browser.find_element(By.LINK_TEXT, "Next").click()
    wait_for("the second page", lambda: "page=2" in browser.current_url)
    assert "Page 2 of 2" in browser.one("nav").text
    assert 0 < len(browser.all(ROWS)) < 200
    browser.find_element(By.LINK_TEXT, "Previous").click()
    wait_for("the first page", lambda: "page=2" not in browser.current_url)
    assert column(browser, 1) == first


def test_every_key_leads_to_its_page_and_from_there_to_the_runbook(browser, page, runbooks):
    # Not the first ones, which may be root's.
    browser.get(page + "?sort=user&q=platform")
    user = column(browser, 1)[0]
    browser.all(f"{ROWS} th a")[0].click()
    wait_for("the key", lambda: "/key?" in browser.current_url)
    assert browser.one("h1").text.startswith(f"Key 1 of {user}")
    commands = [command.text for command in browser.all("pre")]
    assert commands[0] == "aws sts get-caller-identity --query Account --output text"
    assert all("ACCESS_KEY_ID" not in command for command in commands)
    assert any(f"--user-name {user} --access-key-id AKIADEMO" in command for command in commands)
    links = [link.get_attribute("href") for link in browser.all("a")]
    anchors = {link.removeprefix(f"{runbooks}#") for link in links if link.startswith(f"{runbooks}#")}
    assert "rotate-a-key" in anchors and anchors <= sections()
    browser.find_element(By.LINK_TEXT, "More on rotating a key").click()
    wait_for("the runbook", lambda: browser.title == "Runbooks")
    assert browser.current_url == f"{runbooks}#rotate-a-key"


def test_every_link_leads_somewhere(tmp_path):
    with Exporter(tmp_path, "demo") as exporter:
        exporter.wait_until_ready()
        found, todo = {}, ["/", "/?show=every&q=billing", "/?account=100000112648"]
        seen_kinds = {}
        while todo:
            path = todo.pop()
            answer = requests.get(exporter.url + path, timeout=10)
            assert answer.status_code == 200, path
            found[path] = answer.text
            if "text/html" not in answer.headers["Content-Type"]:
                continue
            for link in map(unescape, re.findall(r'href="([^"]+)"', answer.text)):
                url, _, anchor = urljoin(exporter.url + path, link).partition("#")
                if not url.startswith(exporter.url):
                    assert url.startswith("https://console.aws.amazon.com/iam/home") or "/runbooks" in path
                    continue
                target = url.removeprefix(exporter.url)
                # A few of each kind.
                kind = re.sub(r"=[^&]*", "", target)
                many = seen_kinds.setdefault(kind, set())
                if target not in found and target not in todo and len(many) < 3:
                    many.add(target)
                    todo.append(target)
                if anchor and target in found:
                    assert f'id="{anchor}"' in found[target], (path, link)
        assert {"/runbooks", "/metrics", "/-/ready"} <= set(found) and len(found) > 30


def test_every_section_that_the_page_can_link_to_exists():
    sources = (ROOT / "src/web/status").glob("*.rs")
    named = {name for path in sources for name in re.findall(r'"(iam[a-z]+)"', path.read_text())}
    assert len(named) > 7
    assert named <= sections()


def test_the_file_has_the_keys_of_the_page(browser, page):
    browser.get(page + "?q=platform&sort=user")
    link = browser.find_element(By.LINK_TEXT, "Download these keys as CSV").get_attribute("href")
    response = requests.get(link, timeout=10)
    assert "attachment" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["user"] for row in rows] == column(browser, 1)
    ages = [int(age.replace(",", "")) for age in column(browser, 6)]
    assert [int(float(row["age_days"])) for row in rows] == ages
    assert {row["account_state"] for row in rows} == {"ok"}
    assert all(row["as_of"] >= row["report_generated"] > "2" for row in rows)


# --- What others wrote ---

SCRIPT = "<script>document.title='owned'</script>"
HOSTILE = "=o'neil+\u202e,x"
PATH = f"/{SCRIPT}\"'&lt;{'p' * 120}/"
TAGS = {"team": f'"><img src=x onerror=alert(1)>{SCRIPT}{"t" * 200}', "owner": "\u202eevil" * 40}


@pytest.fixture
def hostile_page(tmp_path):
    """The address of a page whose one key has an owner who tries everything."""
    created = time_ago(timedelta(days=100))
    arn = f"arn:aws:iam::{ACCOUNT}:user{PATH}{HOSTILE}"
    users = [User(HOSTILE, arn, created, [Key("AKIAHOSTILE", created)])]
    tags = "".join(
        f"<member><Key>{key}</Key><Value>{escape(value)}</Value></member>"
        for key, value in TAGS.items()
    )
    user = f"<member><UserName>{escape(HOSTILE)}</UserName><Tags>{tags}</Tags></member>"
    details = f"<IsTruncated>false</IsTruncated><UserDetailList>{user}</UserDetailList>"
    config = tmp_path / "config.yaml"
    config.write_text("labels: { user_tags: [team, owner] }\nconfirm: { enabled: false }\n")
    with FakeAws(users) as aws:
        aws.answers["GetAccountAuthorizationDetails"] = result(
            "GetAccountAuthorizationDetails", details
        )
        with Exporter(tmp_path, f"--config.file={config}", endpoint=aws.endpoint) as exporter:
            exporter.wait_until_ready()
            yield f"{exporter.url}/"


@pytest.mark.parametrize("width", [1280, 400])
def test_what_others_wrote_is_shown_as_text_and_wraps(browser, hostile_page, width):
    browser.look(width, "light")
    browser.get(f"{hostile_page}?q=%22%3E%3Cscript%3E")
    assert browser.one("#q").get_attribute("value") == '"><script>'
    browser.get(hostile_page)
    assert browser.title == "1 unrotated key · iam-key-exporter"
    assert browser.all("img") == [] and browser.all("script") == []
    assert [cell.text for cell in browser.all("#keys tbody th bdi")] == [HOSTILE, PATH]
    shown = [tag.text for tag in browser.all("#keys .owner bdi")]
    assert sorted(shown) == sorted(TAGS.values())
    assert browser.one("#keys tbody tr").size["width"] < 1400
    assert is_no_wider_than(browser, width)


def test_no_cell_of_the_file_is_a_formula(hostile_page):
    text = requests.get(f"{hostile_page}keys.csv", timeout=10).content.decode()
    [row] = csv.DictReader(io.StringIO(text))
    assert row["user"] == f"'{HOSTILE}"


# --- What it does not know ---

REPORT = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n"


def denied(folder):
    aws = FakeAws([])
    aws.answers["GetCredentialReport"] = error(403, "AccessDenied")
    aws.answers["GenerateCredentialReport"] = error(403, "AccessDenied")
    return aws, []


def empty_folder(folder):
    (folder / "reports").mkdir()
    return None, [f"--source.reports={folder}/reports"]


def one_bad_file(folder):
    reports = folder / "reports"
    reports.mkdir()
    row = "young,arn:aws:iam::123456789012:user/young,true,{},false,N/A\n"
    (reports / "good.csv").write_text(REPORT + row.format(time_ago(timedelta(days=1))))
    (reports / "bad.csv").write_text("<html>\n")
    for file in reports.iterdir():
        age(file, 60)
    return None, [f"--source.reports={reports}"]


def a_row_that_cannot_be_read(folder):
    reports = folder / "reports"
    reports.mkdir()
    row = "young,arn:aws:iam::123456789012:user/young,true,{},false,N/A\n"
    (reports / "a.csv").write_text(REPORT + row.format(time_ago(timedelta(days=1))) + "x,y\n")
    age(reports / "a.csv", 60)
    return None, [f"--source.reports={reports}"]


def an_old_report(folder):
    reports = folder / "reports"
    reports.mkdir()
    row = "old,arn:aws:iam::123456789012:user/old,false,{},false,N/A\n"
    (reports / "a.csv").write_text(REPORT + row.format(time_ago(timedelta(days=400))))
    age(reports / "a.csv", 100 * 86_400)
    return None, [f"--source.reports={reports}"]


def age(file, seconds):
    then = time.time() - seconds
    os.utime(file, (then, then))


UNKNOWN = {
    denied: ("not known:", "failing: access_denied"),
    empty_folder: ("not known:", None),
    one_bad_file: ("at least 0", "failing: malformed_report"),
    a_row_that_cannot_be_read: ("at least 0", "degraded"),
    an_old_report: ("at least 0", "degraded"),
}


@pytest.mark.parametrize("situation", UNKNOWN, ids=lambda situation: situation.__name__)
def test_what_is_not_known_is_never_0_or_ok(with_javascript, axe, tmp_path, situation):
    browser, (number, state) = with_javascript, UNKNOWN[situation]
    aws, arguments = situation(tmp_path)
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(aws).endpoint if aws else None
        exporter = stack.enter_context(Exporter(tmp_path, *arguments, endpoint=endpoint))
        wait_for("every try", lambda: exporter.get("/-/ready").status_code == 200)
        for width in [1440, 1024, 390]:
            browser.look(width, "light")
            browser.get(f"{exporter.url}/")
            assert browser.one(".tiles li:first-child strong").text == number
            assert browser.title.startswith(number)
            assert "No key is unrotated." not in browser.one("#keys").text
            badges = [badge.text for badge in browser.all("#accounts .badge")]
            assert state is None or state in badges, badges
            assert state is None or situation is one_bad_file or "ok" not in badges
            assert is_no_wider_than(browser, width)
            browser.execute_script(axe)
            found = browser.execute_async_script(
                "axe.run({reporter: 'v2'}).then(arguments[0], error => arguments[0](String(error)))"
            )
            assert found["violations"] == []
        rows = list(csv.DictReader(io.StringIO(requests.get(f"{exporter.url}/keys.csv", timeout=10).text)))
        if number.startswith("not known") or situation is one_bad_file:
            assert "not_read" in {row["status"] for row in rows}


def test_an_account_that_was_never_read_says_so_when_asked_for(tmp_path):
    _, arguments = one_bad_file(tmp_path)
    with Exporter(tmp_path, *arguments) as exporter:
        wait_for("every try", lambda: exporter.get("/-/ready").status_code == 200)
        for query in ["?account=bad", "?q=bad"]:
            text = requests.get(f"{exporter.url}/{query}", timeout=10).text
            assert "Account bad was never read: " in re.sub(r"</?bdi>", "", text), text
            assert "Nothing is known of its keys." in text
            [row] = csv.DictReader(io.StringIO(requests.get(f"{exporter.url}/keys.csv{query}", timeout=10).text))
            assert (row["account_id"], row["status"]) == ("bad", "not_read")
        text = requests.get(f"{exporter.url}/?account=999999999999", timeout=10).text
        assert "The exporter knows of no account" in text and "not known: unrotated keys" in text
        answer = requests.get(f"{exporter.url}/key?account=bad&user=x&key=1", timeout=10)
        assert answer.status_code == 404 and "was never read" in answer.text


# --- A link from an alert, a phone, paper ---


def test_exact_parameters_choose_exactly_these_keys_everywhere(browser, page):
    browser.get(page + "?tag=team:payments&tag=owner:payments-oncall&show=unrotated")
    rows = browser.all(ROWS)
    number = browser.one(".tiles li:first-child strong").text
    assert len(rows) == int(number) > 3
    assert all("payments-oncall" in row.text for row in rows)
    assert browser.title.startswith(f"{number} unrotated keys, team=payments, owner=payments-oncall")
    first = browser.all(f"{ROWS} th a")[0].get_attribute("href")
    [account, user, key] = [parse_qs(urlsplit(first).query)[name][0] for name in ["account", "user", "key"]]
    browser.get(f"{page}?account={account}&user={quote(user)}&key={key}")
    [row] = browser.all(ROWS)
    assert row.text.startswith(user)
    browser.get(f"{page}?account={account}&tag=team:")
    assert all(text == "none" or not text.startswith("team") for text in column(browser, 3))


def test_on_a_phone_each_key_is_a_card_with_all_it_needs(browser, page):
    browser.look(390, "light")
    browser.get(page)
    card = browser.all(ROWS)[1]
    for label in ["User", "Due", "Owner", "Account", "Key", "Age in days", "Last used", "Limit", "State"]:
        cells = card.find_elements(By.CSS_SELECTOR, f'[data-label="{label}"]')
        assert len(cells) == 1 and cells[0].size["width"] <= 390, label
    assert card.size["height"] > 200
    assert is_no_wider_than(browser, 390)


def test_a_sheet_of_an_account_prints_with_every_key_and_no_controls(with_javascript, page):
    browser = with_javascript
    browser.get(page)
    account = browser.all("#accounts tbody th small")[0].text
    browser.get(f"{page}?account={account}&show=every")
    keys = len(browser.all(ROWS))
    statuses = set(column(browser, 9))
    assert {"ok", "inactive", "unrotated"} <= statuses and keys > 200
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    try:
        assert not any(form.is_displayed() for form in browser.all("form"))
        cells = browser.all(f"{ROWS}:first-child > *")
        assert len(cells) == 9 and all(cell.is_displayed() for cell in cells)
        assert "As of 2" in browser.one("header").text and "iam-key-exporter" in browser.one("footer").text
    finally:
        browser.devtools("Emulation.setEmulatedMedia", media="")


def test_due_dates_are_a_calendar(page):
    answer = requests.get(f"{page}due.ics?tag=team:payments", timeout=10)
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    lines = answer.text.split("\r\n")
    assert lines[0] == "BEGIN:VCALENDAR" and lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") > 10
    assert all(len(line.encode()) <= 75 for line in lines)
    uids = [line for line in lines if line.startswith("UID:")]
    assert len(set(uids)) == lines.count("BEGIN:VEVENT")


def test_a_mistake_is_a_page_with_a_way_back(browser, page):
    browser.get(f"{page}?show=old")
    assert "show must be unrotated, due_soon, exempt, all or every" in browser.one("main").text
    browser.one("main a").click()
    wait_for("the page", lambda: browser.all(ROWS))
    # The console tells of the answer 400.
    browser.complaints()

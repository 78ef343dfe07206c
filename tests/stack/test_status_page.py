"""The status page in a real browser: light and dark, wide and narrow, with JavaScript and without."""

import csv
import io
import re
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from xml.sax.saxutils import escape

import pytest
import requests
from browser import Browser
from fake_aws import ACCOUNT, FakeAws, Key, User, result, time_ago
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
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        seen.append(element.get_attribute("id") or element.text.split("\n")[0])
        assert element.value_of_css_property("outline-style") == "solid", seen
    assert seen[0] == "Skip to the keys"
    for stop in ["q", "show", "Search", "User", "Age in days", "Last used", "What to do"]:
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
    assert "None of these keys matches" in browser.one("#keys").text


@pytest.mark.parametrize("choice", ["unrotated", "due soon", "exempt"])
def test_a_choice_shows_keys_of_that_state(browser, page, choice):
    browser.get(page)
    Select(browser.one("#show")).select_by_value(choice.replace(" ", "_"))
    browser.one("form button").click()
    wait_for("the answer", lambda: f"show={choice.replace(' ', '_')}" in browser.current_url)
    states = set(column(browser, 9))
    assert {state.removesuffix(" What to do") for state in states} == {choice}


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("User", 1, str.lower),
        ("Account", 2, str.lower),
        ("Age in days", 5, float),
        ("Due", 6, str),
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
        assert values == sorted(values, reverse=order == "descending")
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


def test_every_key_leads_to_a_runbook(browser, page, runbooks):
    browser.get(page + "?show=all")
    links = {link.get_attribute("href") for link in browser.all(f"{ROWS} td:last-child a")}
    anchors = {link.removeprefix(f"{runbooks}#") for link in links}
    assert {"iamaccesskeyunrotated", "iamrootaccesskeyactive"} <= anchors <= sections()
    browser.all(f"{ROWS} td:last-child a")[1].click()
    wait_for("the runbook", lambda: browser.title == "Runbooks")
    assert browser.current_url == f"{runbooks}#iamaccesskeyunrotated"


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
    assert [row["age_days"] for row in rows] == column(browser, 5)


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
    shown = [tag.text for tag in browser.all(".owner bdi")]
    assert sorted(shown) == sorted(TAGS.values())
    assert browser.one("#keys tbody tr").size["width"] < 1400
    assert is_no_wider_than(browser, width)


def test_no_cell_of_the_file_is_a_formula(hostile_page):
    text = requests.get(f"{hostile_page}keys.csv", timeout=10).content.decode()
    [row] = csv.DictReader(io.StringIO(text))
    assert row["user"] == f"'{HOSTILE}"

"""The status page in a real browser: light and dark, wide and narrow, with JavaScript and without."""

import csv
import io
import re
import tomllib
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
import requests
from alerting import rendered_rules
from browser import Browser, sheets
from fake_aws import ACCOUNT
from harness import ROOT, Exporter, Prometheus, scrape_config, wait_for
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from status_situations import HOSTILE, SITUATIONS

RUNBOOKS = ROOT / "docs/runbooks.md"
ROWS = "#keys tbody tr"


def unrotated_keys(browser):
    """The numbers in the first tile: of access keys, and of API keys if there are any."""
    return [int(number) for number in re.findall(r"\d+", browser.one(".tiles li:first-child").text)]


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
    """The address of the published runbooks."""
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
    """The program that looks for accessibility faults."""
    return (npm_packages / "axe-core/axe.min.js").read_text()


@pytest.fixture(params=["with_javascript", "without_javascript"])
def browser(request):
    """A wide and light browser. Its console has no messages at the end of the test."""
    browser = request.getfixturevalue(request.param)
    browser.look(1280, "light")
    yield browser
    assert browser.complaints() == []


def column(browser, index):
    """The first line of each cell in a column of the list of keys."""
    cells = browser.all(f"{ROWS} > :nth-child({index})")
    return [cell.text.split("\n")[0] for cell in cells]


def is_no_wider_than(browser, width):
    """Tables may be wider than the window, but the page may not."""
    return browser.devtools("Page.getLayoutMetrics")["cssContentSize"]["width"] <= width


def sections():
    """The anchors of the runbooks, by the rules of GitHub."""
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
    unrotated = sum(unrotated_keys(browser))
    assert unrotated > 100
    assert len(browser.all(ROWS)) == min(unrotated, 200)
    ground = browser.one("body").value_of_css_property("background-color")
    red, green, blue = map(int, re.findall(r"\d+", ground)[:3])
    assert (red + green + blue < 200) == (scheme == "dark")
    assert is_no_wider_than(browser, width)


def violations(browser, axe):
    """The accessibility faults of the page."""
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "axe.run({reporter: 'v2'}).then(arguments[0], error => arguments[0](String(error)))"
    )
    # It did check.
    assert {"color-contrast", "html-has-lang"} <= {rule["id"] for rule in found["passes"]}
    return found["violations"]


@pytest.mark.parametrize("query", ["?show=all&accounts=1", "?q=nobody-has-this-name", "runbooks", "key", "KEY"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(with_javascript, axe, page, scheme, width, query):
    browser = with_javascript
    browser.look(width, scheme)
    browser.get(page + query)
    if query == "KEY":
        browser.get(page)
        browser.get(browser.all(f"{ROWS} th a")[0].get_attribute("href"))
    assert violations(browser, axe) == []
    assert is_no_wider_than(browser, width)
    # The console reports the status 400 of a page that names no key.
    browser.complaints()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, page):
    browser.get(page)
    seen = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        seen.append(element.get_attribute("id") or element.text.split("\n")[0])
        assert element.value_of_css_property("outline-style") == "solid", seen
    assert seen[0] == "Skip to the keys"
    for stop in ["q", "show", "Search", "User", "Age in days", "Last used", "3 accounts"]:
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
    # Goes back.
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
        ("Age in days", 6, lambda text: float(text.replace(",", ""))),
        # A key without a date comes first.
        ("Last used", 7, lambda text: "" if text in ("never", "not known") else text),
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
    # The first keys may be root's.
    browser.get(page + "?sort=user&q=platform&kind=access_key")
    user = column(browser, 1)[0]
    browser.all(f"{ROWS} th a")[0].click()
    wait_for("the key", lambda: "/key?" in browser.current_url)
    assert browser.one("h1").text.startswith(f"Key 1 of {user}")
    commands = [command.text for command in browser.all("pre")]
    assert commands[0] == "aws sts get-caller-identity --query Account --output text"
    assert all("ACCESS_KEY_ID" not in command for command in commands)
    assert any(f"--user-name={user} --access-key-id AKIADEMO" in command for command in commands)
    links = [link.get_attribute("href") for link in browser.all("a")]
    anchors = {link.removeprefix(f"{runbooks}#") for link in links if link.startswith(f"{runbooks}#")}
    assert "rotate-a-key" in anchors and anchors <= sections()
    browser.find_element(By.LINK_TEXT, "More on rotating a key").click()
    wait_for("the runbook", lambda: browser.title == "Runbooks")
    assert browser.current_url == f"{runbooks}#rotate-a-key"


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
    # Only ages near the limit have decimals.
    ages = [int(float(age.replace(",", ""))) for age in column(browser, 6)]
    assert [int(float(row["age_days"])) for row in rows] == ages
    assert {row["account_state"] for row in rows} == {"ok"}
    assert all(row["as_of"] >= row["report_generated"] > "2" for row in rows)
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert {row["exporter_version"] for row in rows} == {version}


# --- Text from other people ---

@pytest.fixture
def hostile_page(tmp_path):
    """The address of a page with users whose names try to inject HTML, CSV formulas and more."""
    with SITUATIONS["long_and_hostile_names"].start(tmp_path) as exporter:
        yield f"{exporter.url}/"


@pytest.mark.parametrize("width", [1280, 400])
def test_what_others_wrote_is_shown_as_text_and_wraps(browser, hostile_page, width):
    browser.look(width, "light")
    browser.get(f"{hostile_page}?q=%22%3E%3Cscript%3E")
    assert browser.one("#q").get_attribute("value") == '"><script>'
    browser.get(f"{hostile_page}?q=neil")
    assert browser.title.startswith("1 unrotated access key, ")
    assert browser.all("img") == [] and browser.all("script") == []
    assert [cell.text for cell in browser.all("#keys tbody th bdi")] == [HOSTILE.name, HOSTILE.path]
    shown = [tag.text for tag in browser.all("#keys .owner bdi")]
    assert sorted(shown) == sorted([HOSTILE.team, HOSTILE.owner])
    assert browser.one("#keys tbody tr").size["width"] < 1400
    assert is_no_wider_than(browser, width)


def test_no_cell_of_the_file_is_a_formula(hostile_page):
    rows = file(f"{hostile_page}keys.csv?q=neil")
    assert [row["user"] for row in rows] == [f"'{HOSTILE.name}"]


# --- Unknown data ---

WIDTHS = [1440, 1024, 390]


@pytest.fixture(scope="module", params=SITUATIONS.values(), ids=lambda situation: situation.name)
def situation(request, tmp_path_factory):
    """The exporter in this situation."""
    with request.param.start(tmp_path_factory.mktemp(request.param.name)) as exporter:
        yield request.param, exporter


def file(url):
    """The rows of a file."""
    text = requests.get(url, timeout=10).content.decode()
    return list(csv.DictReader(io.StringIO(text)))


def unread(exporter):
    """The accounts of this exporter without a report."""
    rows = [row for row in file(f"{exporter.url}/keys.csv?show=every") if row["status"] == "not_read"]
    return [row for row in rows if "on the other shards" not in row["rule"]]


def test_what_is_not_known_is_never_0_or_ok_or_no_key(with_javascript, situation):
    browser, (expected, exporter) = with_javascript, situation
    browser.look(1440, "light")
    browser.get(f"{exporter.url}/")
    number = browser.one(".tiles li:first-child strong").text
    assert re.fullmatch(expected.number, number)
    is_known = number[0].isdigit()
    assert browser.title.startswith("Unrotated keys not known" if number == "not known" else f"{number} unrotated access key")
    tiles = [tile.text for tile in browser.all(".tiles strong")]
    assert is_known or not any(tile.isdigit() for tile in tiles[:3])
    keys = browser.one("#keys").text
    assert ("No key is unrotated." in keys) == (number == "0")
    assert is_known == (not unread(exporter)) or number.startswith("at least")
    # Every account with a problem has a badge, and no other account does.
    badges = {badge.get_attribute("textContent") for badge in browser.all("#accounts .badge")}
    assert badges == expected.badges
    # The first line reports success only if all is well.
    line = browser.one(".trust").text.removesuffix(" · service-specific credentials, such as API keys: not in report files")
    line = line.replace(" of shard 0 of 2 read. Other accounts are on the other shards", " read")
    all_is_well = re.fullmatch(r"(\d+) of \1 accounts? read · oldest report [^·]*", line)
    assert bool(all_is_well) == (badges == {"ok"})
    tile = browser.one(".tiles li:last-child")
    assert (tile.get_attribute("class") == "") == (badges == {"ok"}), tile.text


def test_every_number_leads_to_that_many_rows(with_javascript, situation):
    browser, (_, exporter) = with_javascript, situation
    wrong = None
    # Refreshes go on meanwhile, and change some of them. A wrong number is wrong each time.
    for _ in range(5):
        listed = list(numbers(browser, exporter).items())[:60]
        assert listed
        differ = {url for url, number in listed if rows_behind(url) != number}
        wrong = differ if wrong is None else wrong & differ
        if not wrong:
            return
    assert not wrong


def numbers(browser, exporter):
    """The number in each link to a list, by the link."""
    browser.get(f"{exporter.url}/")
    links = browser.all(".tiles a, .trust a, .causes a, #owners td a, #accounts td a")
    texts = {link.get_attribute("href"): link.get_attribute("textContent").strip() for link in links}
    found = {url: re.match(r"(?:at least |refreshes of )?([0-9][0-9,]*)\b", text) for url, text in texts.items()}
    return {url: int(match[1].replace(",", "")) for url, match in found.items() if match}


def rows_behind(url):
    """The number of rows in the list that the link leads to, on all of its pages."""
    url, _, section = url.partition("#")
    text = requests.get(url, timeout=10).text
    caption = rf'<caption id="{section}-caption">[^<]*?: (?:[0-9,]+ to [0-9,]+ of )?([0-9,]+)'
    found = re.search(caption, text)
    return int(found[1].replace(",", "")) if found else 0


def test_an_account_that_was_never_read_says_so_in_every_query(situation):
    _, exporter = situation
    for row in unread(exporter)[:3]:
        if not row["account_id"]:
            continue
        for name in filter(None, {row["account_id"], row["account_name"]}):
            text = requests.get(f"{exporter.url}/?account={name}", timeout=10).text
            assert "Nothing is known of its keys." in text and "<title>Unrotated keys not known" in text
            assert "No key is" not in text and "<strong>0</strong>" not in text
            text = requests.get(f"{exporter.url}/?q={name}", timeout=10).text
            assert "was never read" in text and "Nothing is known of its keys." in text
        of_account = file(f"{exporter.url}/keys.csv?account={row['account_id']}")
        assert {each["status"] for each in of_account} == {"not_read"}
        # Keys that a search would find may be missing in any account.
        found = file(f"{exporter.url}/keys.csv?q={row['account_id']}")
        assert ("not_read", row["account_id"]) in {(each["status"], each["account_id"]) for each in found}
        for query in [f"account={row['account_id']}", f"q={row['account_id']}"]:
            text = requests.get(f"{exporter.url}/due.ics?{query}", timeout=10).text
            # A file has its name until its report says which account it is of.
            label = row["account_name"] if row["account_id"] == "unknown" and row["account_name"] else row["account_id"]
            # More than five accounts share an event.
            number = re.search(r"SUMMARY:Not all keys of (\d+) accounts are known", text)
            assert f"SUMMARY:Keys of account {label} are not known" in text or number and int(number[1]) > 5
        answer = requests.get(f"{exporter.url}/key?account={row['account_id']}&user=x&key=1", timeout=10)
        assert answer.status_code == 404 and "was never read" in answer.text


def test_a_search_by_a_tag_finds_nothing_for_sure_only_if_the_tags_are_known(situation):
    expected, exporter = situation
    text = requests.get(f"{exporter.url}/?tag=team:nobody", timeout=10).text
    rows = file(f"{exporter.url}/keys.csv?tag=team:nobody")
    doubts = [row for row in rows if "tags not read" in row["rule"]]
    assert bool(doubts) == ("tags not read" in text)
    assert not doubts or "<title>0 " not in text
    assert doubts or not expected.name.startswith("tags_unread")


@pytest.mark.parametrize("search", ["id=AKIANOBODY", "q=NOBODY77"])
@pytest.mark.parametrize("show", ["unrotated", "every"])
def test_a_search_by_a_key_id_finds_nothing_for_sure_only_if_the_ids_are_known(situation, show, search):
    _, exporter = situation
    asked = f"show={show}&kind=access_key"
    # Refreshes go on meanwhile, and make more ids known.
    before = without_id(exporter, asked)
    rows = file(f"{exporter.url}/keys.csv?{asked}&{search}")
    text = requests.get(f"{exporter.url}/?{asked}&{search}", timeout=10).text
    after = without_id(exporter, asked)
    assert before & after <= {row["account_id"] for row in rows if row["status"] == "not_all_known"}
    told = {row["account_id"] for row in rows if "of unknown id that may be meant" in row["rule"]}
    assert told <= before | after
    assert not before & after or "Some data is missing" in text


def without_id(exporter, asked):
    """The accounts with a key whose id is not known, among these keys."""
    keys = [row for row in file(f"{exporter.url}/keys.csv?{asked}") if row["user"]]
    return {row["account_id"] for row in keys if not row["access_key_id"]}


def test_an_account_that_nobody_knows_is_in_no_file_as_one_without_keys(situation):
    _, exporter = situation
    [row] = file(f"{exporter.url}/keys.csv?account=000000000000")
    assert (row["account_id"], row["status"]) == ("000000000000", "not_read")
    text = requests.get(f"{exporter.url}/due.ics?account=000000000000", timeout=10).text
    assert "SUMMARY:Keys of account 000000000000 are not known" in text


def test_the_page_and_the_file_have_the_words_of_aws_if_accounts_could_not_be_listed(tmp_path):
    words = "ListAccounts: AccessDeniedException: You don't have permissions to access this resource"
    with SITUATIONS["accounts_not_listed"].start(tmp_path) as exporter:
        assert words in requests.get(f"{exporter.url}/", timeout=10).text
        assert any(words in row["rule"] for row in file(f"{exporter.url}/keys.csv"))


def test_a_page_of_a_key_says_what_is_not_known_of_its_account(situation):
    expected, exporter = situation
    for row in file(f"{exporter.url}/keys.csv?show=every"):
        if row["account_state"] in ["degraded", "failing"] and row["user"]:
            key = f"key={row['key']}" if row["key"] else f"id={row['access_key_id']}"
            url = f"{exporter.url}/key?account={row['account_id']}&user={quote(row['user'])}&{key}"
            text = requests.get(url, timeout=10).text
            assert "Not all is known of this account: " in text or "Refreshes of this account have failed" in text
            return
    assert not {"degraded", "failing"} & expected.badges or not file(f"{exporter.url}/keys.csv?show=every")


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_accessible_and_no_wider_than_the_window(with_javascript, axe, situation, width):
    browser, (expected, exporter) = with_javascript, situation
    browser.look(width, "light")
    browser.get(f"{exporter.url}/")
    assert violations(browser, axe) == []
    assert is_no_wider_than(browser, width)
    # Every column fits on the paper.
    is_cut = "return [...document.querySelectorAll('.table')].some(table => table.scrollWidth > table.clientWidth)"
    assert expected.name == "long_and_hostile_names" or not browser.execute_script(is_cut)


def test_every_colour_can_be_read_in_the_dark(with_javascript, axe, tmp_path):
    with SITUATIONS["mixed"].start(tmp_path) as exporter:
        with_javascript.look(1024, "dark")
        with_javascript.get(f"{exporter.url}/?show=every")
        assert violations(with_javascript, axe) == []


def test_every_link_leads_somewhere(situation):
    _, exporter = situation
    found, todo, seen_kinds = {}, ["/", "/?show=every", "/?show=all&page=2&q=e&accounts=1"], {}
    while todo and len(found) < 30:
        path = todo.pop(0)
        answer = requests.get(exporter.url + path, timeout=10)
        is_ready = path != "/-/ready" or answer.status_code == 503
        assert answer.status_code == 200 or is_ready, path
        found[path] = answer.text
        if "text/html" not in answer.headers["Content-Type"]:
            continue
        for link in map(unescape, re.findall(r'href="([^"]+)"', answer.text)):
            url, _, anchor = urljoin(exporter.url + path, link).partition("#")
            if not url.startswith(exporter.url):
                assert url.startswith("https://console.aws.amazon.com/iam/home") or "/runbooks" in path
                continue
            target = url.removeprefix(exporter.url)
            # One of each kind is enough.
            kind = re.sub(r"=[^&]*", "", target)
            many = seen_kinds.setdefault(kind, set())
            if target not in found and target not in todo and not many:
                many.add(target)
                todo.append(target)
            if anchor and target in found:
                assert f'id="{anchor}"' in found[target], (path, link)
    assert {"/runbooks", "/metrics", "/-/ready"} <= set(found)


# --- A link from an alert, a phone, paper ---


OWNER = ["account_id", "tag_team", "tag_owner"]
# Alerts whose value is the number of keys on the page that they link to.
COUNTED = {"IamOwnerKeysUnrotated", "IamOwnerKeysDueSoon", "IamOwnerKeysNeverUsed", "IamOwnerExemptionEnding"}
LISTED = {*COUNTED, "IamRootAccessKeyActive"}


def test_alerts_lead_to_exactly_their_keys(tmp_path):
    """Uses the rules as they are, and a Prometheus that fills in their templates."""
    with Exporter(tmp_path, "demo") as exporter:
        exporter.wait_until_ready()
        values = {
            "interval": "1s",
            "wait": "3s",
            "urls": {"status": exporter.url},
        }
        rules = rendered_rules(tmp_path / "rules", values)
        config = scrape_config({"iam-key-exporter": exporter.url.removeprefix("http://")})
        config += f"rule_files: ['{rules}', '{rules.replace('rules/*', 'optional/each-key')}']\n"
        with Prometheus(tmp_path, config=config) as prometheus:
            names = {*LISTED, "IamAccessKeyUnrotated"}
            alerts = wait_for("every alert", lambda: firing(prometheus, names), seconds=60)
        pages = {}
        for alert in alerts:
            labels, url = alert["labels"], alert["annotations"].get("status_url")
            if url in pages or labels["alertname"] not in names:
                continue
            pages[url] = text = requests.get(url, timeout=10).text
            if labels["alertname"] == "IamAccessKeyUnrotated":
                assert f"<title>Key {labels['key']} of {labels['user']} ·" in unescape(text)
                continue
            rows = file(url.replace("/?", "/keys.csv?"))
            assert rows and text.count('data-label="User"') == len(rows), url
            for label in OWNER[1:]:
                tag = f"{label.removeprefix('tag_')}={labels.get(label, '')}"
                assert all((tag in row["tags"]) == bool(labels.get(label)) for row in rows), url
            assert {row["account_id"] for row in rows} == {labels["account_id"]}
            if labels["alertname"] in COUNTED:
                # API keys are in the list, too. Page and alerts count them separately.
                access_keys = [row for row in rows if not row["service"]]
                # The alert's value has a date in its decimals.
                assert len(access_keys) == int(float(alert["value"])), url
                is_counted_apart = f"({len(access_keys)} access key" in text
                assert is_counted_apart == (len(access_keys) < len(rows)), url
        assert len(pages) > 30


def firing(prometheus, names):
    """All firing alerts, after at least some of each name fire."""
    alerts = [alert for alert in prometheus.api("alerts")["alerts"] if alert["state"] == "firing"]
    return alerts if names <= {alert["labels"]["alertname"] for alert in alerts} else None


def test_exact_parameters_choose_exactly_these_keys_everywhere(browser, page):
    browser.get(page + "?tag=team:payments&tag=owner:payments-oncall&show=unrotated")
    rows = browser.all(ROWS)
    numbers = unrotated_keys(browser)
    assert len(rows) == sum(numbers) > 3
    assert all("payments-oncall" in row.text for row in rows)
    assert browser.title.startswith(f"{numbers[0]} unrotated access keys")
    assert ", team=payments, owner=payments-oncall" in browser.title
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


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_tables_of_the_runbooks_are_tables_on_every_screen(with_javascript, page, width):
    browser = with_javascript
    browser.look(width, "light")
    browser.get(f"{page}runbooks")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('tr')].map(row => [...row.cells].map(cell => getComputedStyle(cell).display))"
    )
    assert len(rows) > 10
    assert {display for row in rows for display in row} == {"table-cell"}
    assert is_no_wider_than(browser, width)


def test_a_sheet_of_an_account_prints_with_every_key_and_no_controls(with_javascript, page):
    browser = with_javascript
    browser.get(page)
    account = browser.all("#accounts tbody th small")[0].get_attribute("textContent")
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


def test_what_is_known_of_one_account_with_a_few_keys_fits_on_one_sheet_of_paper(with_javascript, tmp_path):
    with SITUATIONS["failing_after_a_good_report"].start(tmp_path) as exporter:
        for page in ["", f"?account={ACCOUNT}&show=every"]:
            with_javascript.get(f"{exporter.url}/{page}")
            assert with_javascript.all(ROWS) and sheets(with_javascript.pdf()) == 1, page


def test_keys_to_act_on_are_on_the_first_screen_if_all_accounts_are_ok(with_javascript, tmp_path):
    with SITUATIONS["one_of_two_shards"].start(tmp_path) as exporter:
        with_javascript.look(1440, "light", 900)
        with_javascript.get(f"{exporter.url}/")
        ends = [row.rect["y"] + row.rect["height"] for row in with_javascript.all(ROWS)]
        assert sum(end <= 900 for end in ends) >= 5, ends


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
    assert "show must be unrotated, due_soon, exempt, exemption_ending, never_used, not_judged, all or every" in browser.one("main").text
    assert browser.title == "Invalid address · iam-key-exporter"
    browser.one("main a").click()
    wait_for("the page", lambda: browser.all(ROWS))
    # The console reports the status 400.
    browser.complaints()

"""A fake AWS of one account, at the socket.

It has the credential report, the users' current keys, and faults on request. For benchmarks it has AWS's latency and
rate limits.
"""

import base64
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import parse_qs

ACCOUNT = "123456789012"
ROOT_USER = "<root_account>"
GET = "GetCredentialReport"
GENERATE = "GenerateCredentialReport"
LIST_KEYS = "ListAccessKeys"
LIST_USERS = "ListUsers"
LAST_USED = "GetAccessKeyLastUsed"
IDENTITY = "GetCallerIdentity"
LIST_CREDENTIALS = "ListServiceSpecificCredentials"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True)
class Key:
    """An access key. Its times are in AWS's format. `last_used` is None if it was never used."""

    id: str
    created: str
    status: str = "Active"
    used: str | None = None
    region: str = "N/A"
    service: str = "N/A"


@dataclass(frozen=True)
class User:
    name: str
    arn: str
    created: str
    keys: list[Key]


@dataclass(frozen=True)
class Request:
    """A request and its time."""

    at: float
    action: str
    user: str = ""


# A fault: an error in place of the response.
HANG = object()
DROP = object()


def result(action, content):
    return Answer(
        200,
        f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<{action}Result>{content}</{action}Result>"
        "<ResponseMetadata><RequestId>request</RequestId></ResponseMetadata>"
        f"</{action}Response>".encode(),
    )


def error(status, code, message="Unknown"):
    # The default message is the one that AWS sends.
    return Answer(
        status,
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>request</RequestId></ErrorResponse>".encode(),
    )


# A fault: the role lacks this permission.
DENIED = error(403, "AccessDenied")


def state(state):
    return result(GENERATE, f"<State>{state}</State>")


def report(csv, age=timedelta(hours=5)):
    """A report of this age. If it is four hours old or older, every refresh asks for a new one."""
    content = base64.b64encode(csv.encode()).decode()
    return result(
        GET,
        f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>"
        f"<GeneratedTime>{time_ago(age)}</GeneratedTime>",
    )


def key_list(user, keys):
    members = "".join(
        f"<member><UserName>{user}</UserName><AccessKeyId>{key.id}</AccessKeyId>"
        f"<Status>{key.status}</Status><CreateDate>{key.created}</CreateDate></member>"
        for key in keys
    )
    return result(
        LIST_KEYS,
        f"<IsTruncated>false</IsTruncated><AccessKeyMetadata>{members}</AccessKeyMetadata>",
    )


def credential_list(credentials):
    """A list of service-specific credentials: user, service, id, status, created, and expiry or None."""
    members = "".join(
        f"<member><UserName>{user}</UserName><Status>{status}</Status>"
        f"<CreateDate>{created}</CreateDate>"
        + (f"<ExpirationDate>{expires}</ExpirationDate>" if expires else "")
        + f"<ServiceSpecificCredentialId>{id}</ServiceSpecificCredentialId>"
        f"<ServiceName>{service}.amazonaws.com</ServiceName></member>"
        for user, service, id, status, created, expires in credentials
    )
    return result(
        LIST_CREDENTIALS,
        f"<IsTruncated>false</IsTruncated>"
        f"<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials>",
    )


def user_list(users, marker):
    """A page of users, and the marker of the next page if there is one."""
    members = "".join(
        f"<member><UserName>{user.name}</UserName><Arn>{user.arn}</Arn><Path>/</Path>"
        f"<UserId>AIDA{user.name}</UserId><CreateDate>{user.created}</CreateDate></member>"
        for user in users
    )
    more = f"<Marker>{marker}</Marker>" if marker else ""
    return result(
        LIST_USERS,
        f"<IsTruncated>{str(bool(marker)).lower()}</IsTruncated>{more}<Users>{members}</Users>",
    )


def last_use(key):
    date = f"<LastUsedDate>{key.used}</LastUsedDate>" if key.used else ""
    return result(
        LAST_USED,
        f"<AccessKeyLastUsed>{date}<Region>{key.region}</Region>"
        f"<ServiceName>{key.service}</ServiceName></AccessKeyLastUsed>",
    )


def time_ago(age):
    return written(datetime.now(timezone.utc) - age)


def written(time):
    """A time in whole seconds, in AWS's format."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


HEADER = (
    "user,arn,user_creation_time,"
    "password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active,"
    "access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,"
    "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,"
    "cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)


def credential_report(users):
    """The CSV of these users, and of a root user without keys if there is none among them.

    AWS ends the last line without a newline.
    """
    if ROOT_USER not in [user.name for user in users]:
        account = users[0].arn.split(":")[4] if users else ACCOUNT
        root = User(ROOT_USER, f"arn:aws:iam::{account}:root", "2020-01-01T00:00:00+00:00", [])
        users = [root, *users]
    return "\n".join([HEADER, *map(row, users)])


def row(user):
    slots = [*user.keys, None, None][:2]
    keys = ",".join(
        f"{str(key.status == 'Active').lower()},{key.created},"
        f"{key.used or 'N/A'},{key.region},{key.service}"
        if key
        else "false,N/A,N/A,N/A,N/A"
        for key in slots
    )
    return (
        f"{user.name},{user.arn},{user.created},false,N/A,N/A,N/A,false,{keys},false,N/A,false,N/A"
    )


def with_one_key(ages):
    """Users with one active key each. `ages` has the key's age in days for each name."""
    created = {name: time_ago(timedelta(days=age)) for name, age in ages.items()}
    return [
        User(name, f"arn:aws:iam::{ACCOUNT}:user/{name}", at, [Key(f"AKIA{name.upper()}", at)])
        for name, at in created.items()
    ]


class FakeAws:
    """AWS at a local socket. Use it in a `with`. While `fault` is set, its responses replace the usual ones."""

    def __init__(self, users, report_age=timedelta(hours=5), generation=None, latency=0, rate=None):
        """`generation` is how many seconds AWS takes to make the first report. None: there is one of `report_age`.

        `latency` is the seconds of each call, `rate` the requests a second that each API allows.
        """
        self.users = users
        # The current keys by user, or None if the user is deleted. The report keeps the first ones.
        self.keys = {user.name: user.keys for user in users}
        self.report = report(credential_report(users), report_age)
        self.by_id = {key.id: key for user in users for key in user.keys}
        self.generation, self.latency, self.rate = generation, latency, rate
        # When the report was or will be ready.
        self.generated = None if generation else time.monotonic()
        # The response of each action, or a function that makes it from the request's parameters.
        self.answers = {
            IDENTITY: result(IDENTITY, f"<Account>{ACCOUNT}</Account>"),
            GENERATE: self.generate,
            GET: self.get_report,
            LIST_KEYS: self.list_keys,
            LIST_USERS: self.list_users,
            LAST_USED: self.last_used,
            LIST_CREDENTIALS: credential_list([]),
        }
        self.fault = {}
        # Every request so far, and the number of throttled ones.
        self.requests, self.throttled = [], 0
        self.buckets, self.lock = {}, Lock()
        self.closing = Event()
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # The handler writes head and body separately. The second must not wait.
            disable_nagle_algorithm = True

            def do_POST(self):
                aws.serve(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Does not wait for connections that clients keep open.
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        form = {name: value for name, [value] in parse_qs(body.decode()).items()}
        # IAM and STS use forms, other services JSON.
        form.setdefault("Action", request.headers.get("X-Amz-Target", "").rpartition(".")[2])
        form["Authorization"] = request.headers["Authorization"]
        answer = self.answer(form)
        if answer is HANG:
            self.closing.wait(timeout=600)
        if answer in (HANG, DROP):
            request.close_connection = True
            return
        request.send_response(answer.status)
        request.send_header("Content-Type", "text/xml")
        request.send_header("Content-Length", str(len(answer.body)))
        request.end_headers()
        request.wfile.write(answer.body)

    def answer(self, form):
        action = form["Action"]
        with self.lock:
            self.requests.append(Request(time.monotonic(), action, form.get("UserName", "")))
            is_allowed = self.rate is None or self.take(action)
            self.throttled += not is_allowed
        time.sleep(self.latency)
        if not is_allowed:
            return error(400, "Throttling")
        answer = self.fault.get(action) or self.answers.get(action, DENIED)
        return answer(form) if callable(answer) else answer

    def take(self, action):
        """Takes a token from the API's bucket, which holds the tokens of a second. Returns False if it is empty."""
        now = time.monotonic()
        tokens, since = self.buckets.get(action, (self.rate, now))
        tokens = min(self.rate, tokens + (now - since) * self.rate)
        self.buckets[action] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    def actions(self):
        """The actions of all requests, in order."""
        return [request.action for request in self.requests]

    def generate(self, _):
        if self.generated is None:
            self.generated = time.monotonic() + self.generation
        return state("COMPLETE" if time.monotonic() >= self.generated else "STARTED")

    def get_report(self, _):
        if self.generated is None:
            return error(410, "ReportNotPresent")
        if time.monotonic() < self.generated:
            return error(404, "ReportInProgress")
        return self.report

    def list_keys(self, form):
        user = form.get("UserName", "")
        keys = self.keys.get(user)
        return error(404, "NoSuchEntity") if keys is None else key_list(user, keys)

    def list_users(self, form):
        first = int(form.get("Marker", 0))
        end = first + min(int(form.get("MaxItems", 100)), 1000)
        return user_list(self.users[first:end], end if end < len(self.users) else None)

    def last_used(self, form):
        return last_use(self.by_id[form["AccessKeyId"]])

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

"""AWS at the socket: the credential report, the users' keys as they are, and faults on request."""

import base64
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs

ACCOUNT = "123456789012"
GET = "GetCredentialReport"
GENERATE = "GenerateCredentialReport"
LIST_KEYS = "ListAccessKeys"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True)
class Key:
    """An access key as AWS lists it."""

    id: str
    created: str
    status: str = "Active"


@dataclass(frozen=True)
class Request:
    """What came, and when."""

    at: float
    action: str
    user: str = ""


# Instead of an answer.
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


def error(status, code):
    # The message is what AWS really sends.
    return Answer(
        status,
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<Error><Type>Sender</Type><Code>{code}</Code><Message>Unknown</Message></Error>"
        "<RequestId>request</RequestId></ErrorResponse>".encode(),
    )


# What the role may not do.
DENIED = error(403, "AccessDenied")


def state(state):
    return result(GENERATE, f"<State>{state}</State>")


def report(csv, age=timedelta(hours=5)):
    """A report of this age: from four hours on, every refresh asks for a newer one."""
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


def time_ago(age):
    """The time that was so long ago, in whole seconds, as AWS writes it."""
    return f"{datetime.now(timezone.utc) - age:%Y-%m-%dT%H:%M:%SZ}"


HEADER = (
    "user,arn,user_creation_time,"
    "password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active,"
    "access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,"
    "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,"
    "cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)


def credential_report(keys):
    """The CSV of users with one active key each."""
    lines = [HEADER]
    for name, [key] in keys.items():
        lines.append(
            f"{name},arn:aws:iam::{ACCOUNT}:user/{name},{key.created},false,N/A,N/A,N/A,false,"
            f"true,{key.created},N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        )
    # AWS ends the last line without a newline.
    return "\n".join(lines)


class FakeAws:
    """To be used in a `with`. While `fault` is set, its answers replace those of its actions."""

    def __init__(self, users, report_age=timedelta(hours=5)):
        """Users with one active key each, by name and the key's age in days."""
        # The keys as they are now, by user, None where the user is gone. The report keeps saying
        # what they were at first.
        self.keys = {
            name: [Key(f"AKIA{name.upper()}", time_ago(timedelta(days=age)))]
            for name, age in users.items()
        }
        self.fault = {}
        # Every request so far.
        self.requests = []
        self.answers = {
            "GetCallerIdentity": result("GetCallerIdentity", f"<Account>{ACCOUNT}</Account>"),
            GENERATE: state("COMPLETE"),
            GET: report(credential_report(self.keys), report_age),
        }
        self.closing = Event()
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                aws.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Does not wait at the end for connections that the exporter keeps open.
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        form = {name: value for name, [value] in parse_qs(body.decode()).items()}
        action, user = form["Action"], form.get("UserName", "")
        self.requests.append(Request(time.monotonic(), action, user))
        healthy = self.list_keys(user) if action == LIST_KEYS else self.answers.get(action, DENIED)
        answer = self.fault.get(action, healthy)
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

    def actions(self):
        """What was asked for, in order."""
        return [request.action for request in self.requests]

    def list_keys(self, user):
        keys = self.keys.get(user)
        return error(404, "NoSuchEntity") if keys is None else key_list(user, keys)

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

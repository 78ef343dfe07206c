"""AWS at the socket: the calls that lead to a credential report, and faults on request."""

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


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


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


def state(state):
    return result(GENERATE, f"<State>{state}</State>")


def report(csv):
    """A report that AWS made five hours ago: too old to be kept, so every refresh asks for it."""
    generated = datetime.now(timezone.utc) - timedelta(hours=5)
    content = base64.b64encode(csv.encode()).decode()
    return result(
        GET,
        f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>"
        f"<GeneratedTime>{generated:%Y-%m-%dT%H:%M:%SZ}</GeneratedTime>",
    )


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
    """The CSV of users with one active key each, by name and age in days."""
    lines = [HEADER]
    for name, age in users.items():
        time = f"{datetime.now(timezone.utc) - timedelta(days=age):%Y-%m-%dT%H:%M:%SZ}"
        lines.append(
            f"{name},arn:aws:iam::{ACCOUNT}:user/{name},{time},false,N/A,N/A,N/A,false,"
            f"true,{time},N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        )
    # AWS ends the last line without a newline.
    return "\n".join(lines)


class FakeAws:
    """To be used in a `with`. While `fault` is set, its answers replace those of its actions."""

    def __init__(self, csv):
        self.fault = {}
        # When each request came, and for which action.
        self.requests = []
        self.answers = {
            "GetCallerIdentity": result("GetCallerIdentity", f"<Account>{ACCOUNT}</Account>"),
            GENERATE: state("COMPLETE"),
            GET: report(csv),
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
        [action] = parse_qs(body.decode())["Action"]
        self.requests.append((time.monotonic(), action))
        # The role may read the report and nothing else.
        healthy = self.answers.get(action, error(403, "AccessDenied"))
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

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

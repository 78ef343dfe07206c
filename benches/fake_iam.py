"""AWS as a reader of one account meets it: each call takes its time, each API answers so many requests
a second, and a credential report has to be generated first."""

import time
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs

import population
from fake_aws import error, key_list, report, result, state


class FakeIam:
    """To be used in a `with`."""

    def __init__(self, users, latency, rate, generation):
        """The users of an account, the seconds that a call takes, the requests a second that each API
        answers, and the seconds in which a report is generated."""
        self.users = users
        self.keys = {user.name: user.keys for user in users}
        self.by_id = {key.id: key for user in users for key in user.keys}
        self.latency, self.rate, self.generation = latency, rate, generation
        self.report = report(population.report(users), age=timedelta(0))
        self.generated = None
        # Requests so far, by API; and those that came too fast.
        self.calls, self.throttled = Counter(), Counter()
        self.buckets, self.lock = {}, Lock()
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are written one after the other: the second must not wait.
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                form = {name: value for name, [value] in parse_qs(body.decode()).items()}
                answer = aws.answer(form)
                self.send_response(answer.status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Does not wait at the end for connections that clients keep open.
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, form):
        action = form["Action"]
        with self.lock:
            self.calls[action] += 1
            is_allowed = self.take(action)
            self.throttled[action] += not is_allowed
        time.sleep(self.latency)
        return self.healthy(action, form) if is_allowed else error(400, "Throttling")

    def take(self, action):
        """Takes a token from the API's bucket, which holds those of a second. False: there is none."""
        now = time.monotonic()
        tokens, since = self.buckets.get(action, (self.rate, now))
        tokens = min(self.rate, tokens + (now - since) * self.rate)
        self.buckets[action] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    def healthy(self, action, form):
        match action:
            case "GetCallerIdentity":
                return result(action, f"<Account>{population.ACCOUNT}</Account>")
            case "GenerateCredentialReport":
                if self.generated is None:
                    self.generated = time.monotonic() + self.generation
                return state("COMPLETE" if time.monotonic() >= self.generated else "STARTED")
            case "GetCredentialReport":
                if self.generated is None:
                    return error(410, "ReportNotPresent")
                if time.monotonic() < self.generated:
                    return error(404, "ReportInProgress")
                return self.report
            case "ListUsers":
                return self.page_of_users(
                    int(form.get("Marker", 0)), int(form.get("MaxItems", 100))
                )
            case "ListAccessKeys":
                return key_list(form["UserName"], self.keys[form["UserName"]])
            case "GetAccessKeyLastUsed":
                return last_used(self.by_id[form["AccessKeyId"]])
        return error(403, "AccessDenied")

    def page_of_users(self, first, most):
        next_one = first + min(most, 1000)
        members = "".join(
            f"<member><UserName>{user.name}</UserName><Arn>{user.arn}</Arn><Path>/</Path>"
            f"<UserId>AIDA{user.name}</UserId><CreateDate>{user.created}</CreateDate></member>"
            for user in self.users[first:next_one]
        )
        is_truncated = next_one < len(self.users)
        marker = f"<Marker>{next_one}</Marker>" if is_truncated else ""
        return result(
            "ListUsers",
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{marker}<Users>{members}</Users>",
        )

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def last_used(key):
    date = f"<LastUsedDate>{key.used}</LastUsedDate>" if key.used else ""
    return result(
        "GetAccessKeyLastUsed",
        f"<AccessKeyLastUsed>{date}<Region>{key.region}</Region>"
        f"<ServiceName>{key.service}</ServiceName></AccessKeyLastUsed>",
    )

"""A forwarding proxy between Prometheus and the exporter."""

import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


class PlainRelay:
    """Forwards requests without `Accept-Encoding`, which Prometheus always sends. Use it in a `with`."""

    def __init__(self, url):
        self.target = urlsplit(url).netloc
        # The path of each request, and the encoding of its response.
        self.asked = []
        self.answered = []
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                relay.forward(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def forward(self, request):
        self.asked.append(request.headers.get("Accept-Encoding"))
        headers = {k: v for k, v in request.headers.items() if k != "Accept-Encoding"}
        upstream = http.client.HTTPConnection(self.target, timeout=10)
        # Without this, http.client adds its own Accept-Encoding.
        upstream.putrequest("GET", request.path, skip_host=True, skip_accept_encoding=True)
        for header in headers.items():
            upstream.putheader(*header)
        upstream.endheaders()
        answer = upstream.getresponse()
        self.answered.append(answer.headers.get("Content-Encoding"))
        body = answer.read()
        upstream.close()
        request.send_response(answer.status)
        request.send_header("Content-Type", answer.headers["Content-Type"])
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def __enter__(self):
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

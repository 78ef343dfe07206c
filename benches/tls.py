"""How fast a page of 10,000 keys is served over TLS to a client with a password, beside nginx.

nginx serves the same bytes with the same certificate. The exporter checks a password with bcrypt once and remembers the
result. nginx would check the hash for each request, so it gets the plain password instead, which costs it nothing.
"""

import base64
import tempfile
from pathlib import Path

import urllib3
from bench import KEYS_PER_USER, medians, save
from certificates import Authority
from harness import Exporter
from scrape import ACCOUNTS, CONNECTIONS, ENCODINGS, KEYS, ratios
from wrk import load, nginx_beside

ROUNDS, SECONDS = 7, 3
USER, PASSWORD = "prometheus", "secret"
# The hash of the password, with a cost of 10.
HASH = "$2y$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u"

# wrk does not check the certificate, either.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        certificate, key = Authority(folder, "servers").issue("server")
        (folder / "web.yml").write_text(
            f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}\n"
            f"basic_auth_users: {{{USER}: {HASH}}}\n"
        )
        users = folder / "users"
        users.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        # nginx's workers run as another user.
        for file in (folder, certificate, key, users):
            file.chmod(0o755)
        access = (
            f"ssl_certificate {certificate}; ssl_certificate_key {key};"
            f" auth_basic keys; auth_basic_user_file {users};"
        )
        save("tls", {"rounds": ROUNDS, "seconds": SECONDS, "loads": loads(folder, access)})


def loads(folder, access):
    number = round(KEYS / KEYS_PER_USER / ACCOUNTS)
    demo = ("demo", f"--accounts={ACCOUNTS}", f"--users={number}")
    with Exporter(folder, *demo, f"--web.config.file={folder / 'web.yml'}") as exporter:
        exporter.url = exporter.url.replace("http://", "https://")
        exporter.options = {"auth": (USER, PASSWORD), "verify": str(folder / "servers.crt")}
        exporter.wait_until_ready()
        with nginx_beside(exporter, access=access) as nginx:
            servers = {"exporter": exporter, "nginx": nginx}
            return [
                by_turns(servers, encoding, connections)
                for encoding in ENCODINGS
                for connections in CONNECTIONS
            ]


def by_turns(servers, encoding, connections):
    """Puts the same load on both servers alternately, several times."""
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = [f"Authorization: Basic {credentials}"]
    rounds = [
        {
            name: load(f"{server.url}/metrics", encoding, connections, SECONDS, headers)
            for name, server in servers.items()
        }
        for _ in range(ROUNDS)
    ]
    return {
        "encoding": encoding,
        "connections": connections,
        **{name: medians([each[name] for each in rounds]) for name in servers},
        "ratio": medians([ratios(each["exporter"], each["nginx"]) for each in rounds]),
    }


if __name__ == "__main__":
    main()

"""Clients that send nothing, send little or read little, from their own addresses.

They run in a separate process, so that they do not slow down the process that measures. In Linux all of 127.0.0.0/8 is
local, so each client can have its own address.
"""

import json
import selectors
import socket
import subprocess
import sys
import time

REQUEST = "GET {} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {}\r\n\r\n"
KINDS = ("silent", "half-sent", "slow", "idle", "reader")
# The header of a TLS record without the record.
HANDSHAKE = b"\x16\x03\x01\x02\x00"
# Keeps the kernel from receiving much of a response before the client reads it.
RECEIVE_BUFFER = 4096
TICK = 0.1


class Crowd:
    """Holds this number of connections open. Use it in a `with`.

    It opens closed connections again, with a limit a second and a limit in all.
    """

    def __init__(self, url, kind, count, sources=("127.0.0.2",), **options):
        host, port = url.partition("//")[2].split(":")
        settings = {
            **{"host": host, "port": int(port), "kind": kind, "count": count, "sources": sources},
            **options,
        }
        self.child = subprocess.Popen(
            [sys.executable, __file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_there(self):
        """Waits until every connection was opened once."""
        assert self.child.stdout.readline() == "there\n"

    def stop(self):
        """Stops. Returns how many connections were opened."""
        if self.child.poll() is None:
            said, _ = self.child.communicate("\n", timeout=20)
            self.opened = int(said.split()[-1])
        return self.opened

    def __enter__(self):
        self.wait_until_there()
        return self

    def __exit__(self, *_):
        self.stop()


def main(host, port, kind, count, sources, path="/metrics", encoding="gzip", rate=200, total=None):
    assert kind in (*KINDS, "handshake"), kind
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    request = REQUEST.format(path, encoding).encode()
    clients, opened, failed, last_tick = {}, 0, 0, 0.0
    # At first, all may be opened at once.
    allowed, there, before = float(count), False, time.monotonic()
    while True:
        now = time.monotonic()
        if there:
            allowed = min(allowed + rate * (now - before), rate)
        before = now
        # In small groups, so that closed connections are noticed.
        for _ in range(min(count - len(clients), int(allowed), 64)):
            if total is not None and opened >= total:
                break
            allowed -= 1
            opened += 1
            client = connect(host, port, sources[opened % len(sources)], kind)
            if client is None or not begin(client, kind, request):
                failed += 1
                continue
            clients[client] = None
            selector.register(client, selectors.EVENT_READ)
        if not there and opened >= min(count, total or count):
            there, allowed = True, 0
            print("there", flush=True)
        busy = not there or (len(clients) < count and allowed >= 64)
        for key, _ in selector.select(0 if busy else TICK / 10):
            if key.fileobj is sys.stdin:
                print(opened, flush=True)
                return
            if kind != "reader" and not read(key.fileobj):
                selector.unregister(key.fileobj)
                del clients[key.fileobj]
                key.fileobj.close()
        if now - last_tick >= TICK:
            last_tick = now
            for client in list(clients):
                if not tick(client, kind):
                    selector.unregister(client)
                    del clients[client]
                    client.close()
        if kind == "reader":
            time.sleep(0 if busy else TICK / 10)


def connect(host, port, source, kind):
    client = socket.socket()
    if kind == "reader":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    client.settimeout(5)
    # Without it, a process has only about 10,000 ports for all addresses.
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    # A closed connection leaves no state behind.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    try:
        client.bind((source, 0))
        client.connect((host, port))
    except OSError:
        client.close()
        return None
    client.setblocking(False)
    return client


def begin(client, kind, request):
    """Sends the first bytes. Returns whether the connection is still open."""
    first = {
        "silent": b"",
        "handshake": HANDSHAKE,
        "half-sent": request[:-5],
        "slow": request[:1],
        "idle": b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        "reader": request,
    }[kind]
    try:
        client.send(first)
    except OSError:
        client.close()
        return False
    return True


def read(client):
    """Reads the available bytes. Returns whether the connection is still open."""
    try:
        return bool(client.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


def tick(client, kind):
    """Sends or reads a little. Returns whether the connection is still open."""
    try:
        if kind == "slow":
            client.send(b"G")
        if kind == "reader":
            return bool(client.recv(100))
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

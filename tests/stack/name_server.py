"""A name server on UDP that knows one name. Arguments: address, port and name. It prints each question as a line."""

import socket
import struct
import sys

A = 1
NAME_ERROR = 3


def question(packet):
    """The name and the type of the question, and the position after it."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode())
        at += 1 + length
    [kind] = struct.unpack("!H", packet[at + 1 : at + 3])
    return ".".join(labels), kind, at + 5


def answer(packet, known):
    name, kind, end = question(packet)
    print(name, flush=True)
    code = 0 if name == known else NAME_ERROR
    records = [socket.inet_aton("127.0.0.1")] if name == known and kind == A else []
    head = packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
    body = b"".join(struct.pack("!HHHIH", 0xC00C, A, 1, 60, 4) + record for record in records)
    return head + packet[12:end] + body


if __name__ == "__main__":
    address, port, known = sys.argv[1:]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, int(port)))
    print("listening", flush=True)
    while True:
        packet, client = server.recvfrom(4096)
        server.sendto(answer(packet, known), client)

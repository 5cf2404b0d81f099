"""Asks the name server at 127.0.0.11, as a program in this network namespace may.

ask.py once udp|tcp SIZE TYPE NAME [ADDRESS]: the answer's code, whether it was cut off, how many records it has, its length.
ask.py serve ADDRESS: a name server on every address, port 53, which answers every question for an address by this one.
ask.py flood: much of what nobody should send, and does not end.
many RATE SECONDS NAME...: so many questions a second, each answer a line: name, nanoseconds of the monotonic
clock before and after, code, address.
"""

import itertools
import random
import socket
import struct
import sys
import threading
import time

SERVER = ("127.0.0.11", 53)


def question(name, kind, size, number):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    extra = b"\0" + struct.pack(">HHIH", 41, size, 0, 0) if size else b""
    head = struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 1 if size else 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + extra


def whole(stream, length):
    data = b""
    while len(data) < length:
        data += stream.recv(length - len(data)) or sys.exit("the stream ended")
    return data


def once(way, size, kind, name, address=SERVER[0]):
    message = question(name, int(kind), int(size), 4711)
    if way == "udp":
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asking.settimeout(30)
        asking.connect((address, 53))
        asking.send(message)
        answer = asking.recv(65535)
    else:
        asking = socket.create_connection((address, 53), 30)
        # Two at once, the first of them in pieces.
        framed = struct.pack(">H", len(message)) + message
        asking.sendall(framed[:1])
        asking.sendall(framed[1:] + framed)
        for _ in range(2):
            answer = whole(asking, struct.unpack(">H", whole(asking, 2))[0])
    number, flags, _, count = struct.unpack(">HHHH", answer[:8])
    assert number == 4711 and flags & 0x8000
    print(flags & 15, flags >> 9 & 1, count, len(answer))


def many(rate, seconds, names):
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.connect(SERVER)
    asking.settimeout(15)
    total = int(rate) * int(seconds)
    since = {}

    def read():
        for _ in range(total):
            try:
                answer = asking.recv(4096)
            except TimeoutError:
                return
            after = time.monotonic_ns()
            number, flags, _, count = struct.unpack(">HHHH", answer[:8])
            name, before = since.pop(number)
            address = socket.inet_ntoa(answer[-4:]) if count else "-"
            print(name, before, after, flags & 15, address)

    reader = threading.Thread(target=read)
    reader.start()
    begun = time.monotonic()
    for turn, number in zip(range(total), itertools.cycle(range(65536))):
        late = begun + turn / int(rate) - time.monotonic()
        if late > 0:
            time.sleep(late)
        name = random.choice(names)
        since[number] = (name, time.monotonic_ns())
        asking.send(question(name, 1, 0, number))
    reader.join()
    for name, before in since.values():
        print(name, before, "lost")
    if since:
        # Which socket could not take what came to it: the last column.
        print(open("/proc/thread-self/net/udp").read(), file=sys.stderr)


def flood():
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.connect(SERVER)
    streams = []
    ask = question("silent.example", 1, 0, 7)
    for turn in range(600):
        asking.send(random.choice([ask, ask[: turn % 40], random.randbytes(turn)]))
        stream = socket.create_connection(SERVER, 30)
        framed = struct.pack(">H", len(ask)) + ask
        try:
            stream.sendall([b"", framed[:9], b"\xff\xff", framed * 3, random.randbytes(turn + 1)][turn % 5])
        except OSError:
            pass
        streams.append(stream)
    print("asked", flush=True)
    time.sleep(1000)


def serve(address):
    def answer(message):
        end = message.index(0, 12) + 5
        record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        return message[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + message[12:end] + record

    def talk(stream):
        while True:
            message = answer(whole(stream, struct.unpack(">H", whole(stream, 2))[0]))
            stream.sendall(struct.pack(">H", len(message)) + message)

    def streams():
        while True:
            threading.Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

    listener = socket.create_server(("0.0.0.0", 53))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("0.0.0.0", 53))
    threading.Thread(target=streams, daemon=True).start()
    print("serves", flush=True)
    while True:
        message, client = datagrams.recvfrom(4096)
        datagrams.sendto(answer(message), client)


if sys.argv[1] == "once":
    once(*sys.argv[2:])
elif sys.argv[1] == "flood":
    flood()
elif sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    many(sys.argv[2], sys.argv[3], sys.argv[4:])

"""Holds a server to docs/protocol.md: sends what a client must not send, and what it may but rarely does.

    python3 conformance.py --url kv://dev@127.0.0.1:7777 --key-file dev.key [--suite 1] [--v1-key-file v1.key]

Every check opens connections of its own, so that one failure does not hide another. Prints one line per check and
exits with 1 if any failed. "Closes" allows the one ERR with request id 0 that [P-11.12] permits.
"""

import argparse
import hashlib
import os
import pathlib
import socket
import struct
import sys
import urllib.parse

import kv_reference as kv
from kv_reference import EXT_BY_NAME as EXT
from kv_reference import OPCODE_BY_NAME as OP

TIMEOUT = 10
CHECKS = []


def check(rule, suites=(0, 1, 2)):
    def register(function):
        CHECKS.append((rule, suites, function))
        return function
    return register


class Closed(Exception):
    """The server closed; `last` is the ERR code it gave with request id 0, if any."""

    def __init__(self, last=None):
        super().__init__(last)
        self.last = last


def u32(x):
    return struct.pack(">I", x)


def u64(x):
    return struct.pack(">Q", x)


class Raw:
    """A connection as bytes."""

    def __init__(self, target):
        self.socket = socket.create_connection(target.address, TIMEOUT)

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before is still to be read

    def read(self, n):
        out = b""
        while len(out) < n:
            try:
                more = self.socket.recv(n - len(out))
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                raise Closed()
            out += more
        return out

    def frame(self):
        head = self.read(16)
        got = kv.HEADER.unpack(head)
        return head + self.read(32 + got[5] + got[6] + got[7])

    def must_close(self, last=None):
        """Nothing more comes, but the end."""
        try:
            data = self.read(1)
        except Closed:
            return
        raise AssertionError(f"the server answered {data!r}... instead of closing")


class Session(Raw):
    """A version 2 session whose frames may be forged."""

    def __init__(self, target, until="READY", hello_change=None):
        super().__init__(target)
        self.target = target
        items = {1: b"\x02\x02", 2: bytes([target.suite]), 3: u32(0), 5: os.urandom(32), 6: b"localhost", 8: b"kv-conformance/1"}
        if target.secret:
            items[4] = target.key_id.encode()
        self.x25519 = os.urandom(32)
        if target.suite == 2:
            items[7] = kv.x25519(self.x25519, kv.X25519_BASE)
        items.update(hello_change or {})
        self.hello = kv.frame(2, OP["HELLO"], 0, 0, b"", b"", kv.fields(sorted((t, d) for t, d in items.items() if d is not None)), kv.ZERO_TAG)
        if until == "nothing":
            return
        self.write(self.hello)
        if until == "HELLO":
            return
        self.welcome_received()
        if until == "WELCOME":
            return
        self.send("AUTH", 0, value=self.proof)
        name, rid, ext, key, value = self.receive()
        assert (name, rid, ext, key) == ("READY", 0, {}, b""), name
        self.ready = kv.parse_typed(value)

    def welcome_received(self):
        welcome = self.frame()
        got = kv.parse_header(welcome)
        assert (got["version"], got["opcode"], got["request_id"], got["flags"]) == (2, OP["WELCOME"], 0, 0), got
        self.welcome = kv.parse_welcome(welcome[48:])
        self.proof, keys = b"", None
        if self.target.suite:
            shared = kv.x25519(self.x25519, self.welcome["share"]) if self.target.suite == 2 else None
            th = kv.transcript_hash(self.hello, welcome)
            keys = kv.key_schedule(self.target.secret, shared, None, self.target.suite, th)
            assert welcome[16:48] == kv.hmac(keys["s_conf"], b"kv/2 server" + th), "WELCOME's tag"
            self.proof = kv.hmac(keys["c_conf"], b"kv/2 client" + th)
        else:
            assert welcome[16:48] == kv.checksum_tag(welcome[:16], welcome[48:]), "WELCOME's checksum"
        self.out, self.inn = kv.Direction(self.target.suite, "c2s", keys), kv.Direction(self.target.suite, "s2c", keys)
        self.assembler = kv.Assembler()

    def send(self, opcode, request_id, flags=0, ext=b"", key=b"", value=b""):
        self.write(self.out.seal(OP.get(opcode, opcode), request_id, flags, ext, key, value))

    def forge(self, change):
        """A GET whose header is changed before the tag is made, so that the tag is right."""
        body = b"k"
        flags = 2 if self.target.suite == 2 else 0
        head = bytearray(kv.header(2, OP["GET"], 1, flags, 0, 1, 0))
        change(head)
        if self.target.suite == 2:
            body = kv.aes256_ctr(self.out.cipher_key, self.out.nonce(), body)
        self.write(bytes(head) + self.out.tag(bytes(head), body) + body)
        self.out.seq += 1

    def receive(self):
        """The next message: (name, request id, extensions, key, value). PINGs are answered."""
        while True:
            got, ext, key, value = self.inn.open(self.frame())
            name = kv.OPCODE_NAMES[got["opcode"]]
            if name == "SERVER_PING":
                self.send("PONG", 0, value=value)
                continue
            if name == "SERVER_KEY_UPDATE":
                assert value == u32(self.inn.epoch + 1)
                self.inn.update()
                continue
            event = self.assembler.feed(got, ext, key, value)
            if event and event[0] == "message":
                m = event[1]
                if name == "ERR" and m["request_id"] == 0:
                    raise Closed(kv.parse_error_body(m["value"])[0])
                return name, m["request_id"], dict(kv.parse_extensions(m["ext"])), m["key"], m["value"]

    def error(self, request_id, code, index=None):
        name, rid, ext, key, value = self.receive()
        assert (name, rid) == ("ERR", request_id), f"{name} #{rid} instead of ERR #{request_id}"
        got = kv.parse_error_body(value)[0]
        names = {row[0]: row[1] for row in kv.ERRORS}
        assert names.get(got) == code, f"{names.get(got)} instead of {code}"
        assert key == (b"" if index is None else u32(index)), f"the key of ERR is {key.hex()}"
        return ext

    def closes(self):
        try:
            name, rid, *_ = self.receive()
        except Closed:
            return
        raise AssertionError(f"{name} #{rid} instead of closing")

    def alive(self, request_id=7777):
        self.send("ECHO", request_id, value=b"alive")
        got = self.receive()
        assert (got[0], got[1], got[4]) == ("OK", request_id, b"alive"), got


# Before a session exists


@check("P-3.1 wrong magic: closes, silent")
def _(target):
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + bytes(200), b"\xca\xff" + bytes(60)):
        raw = Raw(target)
        raw.write(data)
        raw.must_close()


@check("P-4.2 an unsupported version is named in an ERR of version 1")
def _(target):
    for version in (0, 3, 77, 255):
        raw = Raw(target)
        raw.write(kv.header(version, 1, 5, 0, 0, 1, 0) + bytes(32) + b"k")
        got = raw.frame()
        head = kv.parse_header(got)
        assert (head["version"], head["opcode"], head["request_id"]) == (1, OP["ERR"], 0), head
        text = got[48:].decode()
        assert text.startswith("UNSUPPORTED_VERSION: supported versions ") and text.endswith("-2"), text
        raw.must_close()


@check("P-4.2 a HELLO without a common version")
def _(target):
    session = Session(target, "HELLO", {1: b"\x03\x09"})
    got = session.frame()
    assert kv.parse_header(got)["opcode"] == OP["ERR"] and got[48:].startswith(b"UNSUPPORTED_VERSION: ")
    session.must_close()


@check("P-5.2 HELLO with a tag: closes")
def _(target):
    session = Session(target, "nothing")
    session.write(session.hello[:16] + b"\x01" + session.hello[17:])
    session.must_close()


@check("P-5.1 HELLO with request id, flags, key or extensions: closes")
def _(target):
    for opcode, rid, flags, ext, key in ((16, 1, 0, b"", b""), (16, 0, 4, b"", b""), (16, 0, 0, b"\x30\x00", b""), (16, 0, 0, b"", b"k")):
        session = Session(target, "nothing")
        session.write(kv.frame(2, opcode, rid, flags, ext, key, session.hello[48:], kv.ZERO_TAG))
        session.must_close()


@check("P-5.3 another frame than HELLO first: closes")
def _(target):
    for opcode in (1, 2, 17, 18, 24, 99, 128, 144, 200):
        raw = Raw(target)
        raw.write(kv.frame(2, opcode, 0 if opcode == 18 else 1, 0, b"", b"k", b"", kv.ZERO_TAG))
        raw.must_close()


@check("P-5.4 a body above 4 KiB before authentication: closes without waiting for it")
def _(target):
    raw = Raw(target)
    raw.write(kv.header(2, 16, 0, 0, 0, 0, 4097) + bytes(32))
    raw.must_close()
    session = Session(target, "WELCOME")
    session.write(kv.header(2, 17, 0, 0, 0, 0, 4097) + bytes(32))
    session.must_close()


@check("P-5.6 malformed fields: closes")
def _(target):
    good = Session(target, "nothing").hello[48:]
    for value in (b"", good + b"\x00", good[:-1], good + kv.fields([(5, bytes(32))]), kv.fields([(1, b"\x02")]) + good[5:]):
        session = Session(target, "nothing")
        session.write(kv.frame(2, 16, 0, 0, b"", b"", value, kv.ZERO_TAG))
        session.must_close()


@check("P-5.6 unknown fields are skipped and covered by the transcript")
def _(target):
    Session(target, hello_change={0: b"early", 9: b"", 250: bytes(500)}).alive()


@check("P-5.8 no common suite: closes")
def _(target):
    session = Session(target, "HELLO", {2: b"\x63\x62"})
    session.must_close()


@check("P-5.8 unknown suites are skipped")
def _(target):
    Session(target, hello_change={2: bytes([99, target.suite, 98])}).alive()


@check("P-5.10 an X25519 share of small order: closes", suites=(2,))
def _(target):
    session = Session(target, "HELLO", {7: bytes(32)})
    session.must_close()


@check("P-5.14 a wrong proof in AUTH: closes", suites=(1, 2))
def _(target):
    for proof in (bytes(32), b"", bytes(31), bytes(33)):
        session = Session(target, "WELCOME")
        session.send("AUTH", 0, value=proof)
        session.closes()


@check("P-5.15 an unknown key id looks like a wrong key", suites=(1, 2))
def _(target):
    session = Session(target, "HELLO", {4: b"nobody-has-this-id"})
    assert kv.parse_header(session.frame())["opcode"] == OP["WELCOME"]
    session.write(kv.frame(2, OP["AUTH"], 0, 0, b"", b"", bytes(32), b"\x11" * 32))
    session.must_close()


@check("P-5.3 a request in the place of AUTH: closes")
def _(target):
    session = Session(target, "WELCOME")
    session.send("GET", 1, key=b"k")
    session.closes()


@check("P-5.17 requests right behind AUTH are answered behind READY")
def _(target):
    session = Session(target, "WELCOME")
    session.send("AUTH", 0, value=session.proof)
    session.send("ECHO", 1, value=b"early")
    assert session.receive()[0] == "READY"
    assert session.receive()[4] == b"early"


@check("P-2.4 one byte at a time")
def _(target):
    session = Session(target)
    session.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sealed = session.out.seal(OP["ECHO"], 1, value=b"slowly")
    for i in range(len(sealed)):
        session.write(sealed[i : i + 1])
    assert session.receive()[4] == b"slowly"


# Frames of a session


@check("P-7.2 any flipped bit: closes")
def _(target):
    for index in (2, 3, 7, 8, 9, 16, 19, 47 if target.suite else 19, 48, 50):
        session = Session(target)
        sealed = bytearray(session.out.seal(OP["SET"], 1, 0, b"", b"conformance/bit", b"value"))
        sealed[index] ^= 1
        session.write(bytes(sealed) + bytes(400))
        session.closes()
    session = Session(target)
    session.send("GET", 1, key=b"conformance/bit")
    assert session.receive()[0] == "NOTFOUND", "a frame with a flipped bit was applied"


@check("P-7.1 a frame sent twice: closes", suites=(1, 2))
def _(target):
    session = Session(target)
    sealed = session.out.seal(OP["ECHO"], 1, value=b"x")
    session.write(sealed)
    assert session.receive()[0] == "OK"
    session.write(sealed)
    session.closes()


@check("P-7.1 a frame left out: closes", suites=(1, 2))
def _(target):
    session = Session(target)
    session.out.seal(OP["ECHO"], 1, value=b"lost")
    session.send("ECHO", 2, value=b"x")
    session.closes()


@check("P-7.1 a frame of another session: closes", suites=(1, 2))
def _(target):
    one, other = Session(target), Session(target)
    other.write(one.out.seal(OP["ECHO"], 1, value=b"x"))
    other.closes()


@check("P-7.1 a frame of the server sent back: closes", suites=(1, 2))
def _(target):
    session = Session(target)
    session.send("ECHO", 1, value=b"x")
    session.write(session.frame())
    session.must_close()


@check("P-3.2 a body above max_frame: closes without waiting for it")
def _(target):
    session = Session(target)
    session.write(kv.header(2, OP["SET"], 1, 0, 0, 1, session.welcome["max_frame"]) + bytes(32))
    session.closes()


@check("P-3.2 a body of exactly max_frame is taken")
def _(target):
    if target.suite == 2:
        return  # the cipher of this script is too slow for that
    session = Session(target)
    session.send("ECHO", 1, value=bytes(session.welcome["max_frame"]))
    assert len(session.receive()[4]) == session.welcome["max_frame"]


@check("P-3.4 reserved flags: closes")
def _(target):
    for bit in range(3, 8):
        session = Session(target)
        session.forge(lambda head: head.__setitem__(8, head[8] | 1 << bit))
        session.closes()


@check("P-3.5 opcodes of the other direction: closes")
def _(target):
    for opcode in (128, 131, 146, 150, 200, 255):
        session = Session(target)
        session.send(opcode, 1, key=b"k")
        session.closes()


@check("P-4.1 another version within a session: closes")
def _(target):
    for version in (0, 1, 3):
        session = Session(target)
        session.forge(lambda head: head.__setitem__(2, version))
        session.closes()


@check("P-6.9 ENCRYPTED against the suite: closes")
def _(target):
    session = Session(target)
    session.forge(lambda head: head.__setitem__(8, head[8] ^ 2))
    session.closes()


@check("P-5.3 HELLO or AUTH within a session: closes")
def _(target):
    for opcode in ("HELLO", "AUTH"):
        session = Session(target)
        session.send(opcode, 0, value=bytes(32))
        session.closes()


@check("P-10.1 a request with id 0: closes")
def _(target):
    for opcode in ("GET", "SCAN", "ECHO", "BATCH", 99):
        session = Session(target)
        session.send(opcode, 0, key=b"k" if opcode == "GET" else b"")
        session.closes()


@check("P-7.6 KEY_UPDATE, twice, and frames under the new keys", suites=(1, 2))
def _(target):
    session = Session(target)
    for epoch in (1, 2):
        session.send("KEY_UPDATE", 0, value=u32(epoch))
        session.out.update()
        session.alive(epoch)


@check("P-7.6 KEY_UPDATE with another epoch or form: closes", suites=(1, 2))
def _(target):
    for epoch in (u32(0), u32(2), u32(2**32 - 1), b"", u64(1)):
        session = Session(target)
        session.send("KEY_UPDATE", 0, value=epoch)
        session.closes()
    session = Session(target)
    session.send("KEY_UPDATE", 3, value=u32(1))
    session.closes()


@check("P-7.9 KEY_UPDATE in suite 0: closes", suites=(0,))
def _(target):
    session = Session(target)
    session.send("KEY_UPDATE", 0, value=u32(1))
    session.closes()


@check("P-11 control frames of a wrong form: closes")
def _(target):
    wrong = [("PING", 1, b"", b"", b""), ("PING", 0, b"", b"", bytes(65)), ("PING", 0, b"", b"k", b""), ("PING", 0, b"\x30\x00", b"", b""),
             ("PONG", 5, b"", b"", b""), ("CANCEL", 0, b"", b"", b""), ("CANCEL", 1, b"", b"", b"x"), ("CREDIT", 0, b"", b"", u32(1)),
             ("CREDIT", 1, b"", b"", b"x"), ("GOODBYE", 1, b"", b"", b""), ("GOODBYE", 0, b"", b"", b"x")]
    for opcode, rid, ext, key, value in wrong:
        session = Session(target)
        session.send(opcode, rid, 0, ext, key, value)
        try:
            session.closes()
        except AssertionError as error:
            raise AssertionError(f"{opcode} #{rid} {ext!r} {key!r} {value[:5]!r}: {error}") from error


@check("P-11.1 PING of 0 and of 64 bytes, PONG unasked")
def _(target):
    session = Session(target)
    session.send("PONG", 0, value=b"nobody asked")
    for size in (0, 64):
        session.send("PING", 0, value=bytes(size))
        assert session.receive() == ("SERVER_PONG", 0, {}, b"", bytes(size))


@check("P-11.6 GOODBYE is answered after what is in flight")
def _(target):
    session = Session(target)
    session.send("ECHO", 1, value=b"first")
    session.send("GOODBYE", 0)
    assert session.receive()[4] == b"first"
    assert session.receive()[0] == "SERVER_GOODBYE"
    session.must_close()


# Requests


@check("P-10.7 an unknown opcode: UNSUPPORTED, and the session stays")
def _(target):
    session = Session(target)
    for opcode in (9, 15, 25, 99, 127):
        session.send(opcode, opcode, key=b"k", value=b"v")
        session.error(opcode, "UNSUPPORTED")
    session.alive()


@check("P-9.6 an unknown opcode in pieces: one UNSUPPORTED")
def _(target):
    session = Session(target)
    value = bytes(12000)
    for flags, ext, key, piece in kv.cut(99, 5, 0, [], b"k", value, 5000):
        session.send(99, 5, flags, ext, key, piece)
    session.error(5, "UNSUPPORTED")
    session.alive()


@check("P-10.8 wrong bodies: INVALID_ARGUMENT, and the session stays")
def _(target):
    session = Session(target)
    wrong = [("GET", b"", b""), ("SET", b"", b"v"), ("DEL", b"", b""), ("INCR", b"", b""), ("TOUCH", b"", b""), ("GET", b"k", b"v"),
             ("DEL", b"k", b"v"), ("TOUCH", b"k", b"v"), ("INCR", b"k", b"x"), ("INCR", b"k", bytes(9)), ("BATCH", b"k", b""),
             ("BATCH", b"", b"x"), ("ECHO", b"k", b"v")]
    for index, (opcode, key, value) in enumerate(wrong):
        session.send(opcode, index + 1, key=key, value=value)
        try:
            session.error(index + 1, "INVALID_ARGUMENT")
        except AssertionError as error:
            raise AssertionError(f"{opcode} {key!r} {value!r}: {error}") from error
    session.alive()


@check("P-8.1 malformed extension blocks: INVALID_ARGUMENT")
def _(target):
    session = Session(target)
    ttl = kv.extensions([("TTL_MS", u64(1000))])
    for index, block in enumerate((b"\x01", ttl[:-1], ttl + ttl, ttl + b"\x05", b"\x01\x04" + bytes(4), kv.extensions([("CONTENT_TYPE", b"\0")]) + ttl)):
        session.send("SET", index + 1, 0, block, b"conformance/ext", b"v")
        session.error(index + 1, "INVALID_ARGUMENT")
    session.send("GET", 99, key=b"conformance/ext")
    assert session.receive()[0] == "NOTFOUND", "a refused SET was applied"


@check("P-8.2 critical extensions: unknown ones UNSUPPORTED, misplaced ones INVALID_ARGUMENT")
def _(target):
    session = Session(target)
    session.send("GET", 1, 0, kv.extensions([(0xC0, b"x")]), b"k")
    session.error(1, "UNSUPPORTED")
    session.send("GET", 2, 0, kv.extensions([("ATOMIC", b"")]), b"k")
    session.error(2, "INVALID_ARGUMENT")
    session.alive()


@check("P-8.3 optional extensions that are unknown or misplaced are skipped")
def _(target):
    session = Session(target)
    session.send("GET", 1, 0, kv.extensions([("TTL_MS", b"short"), (0x30, b"later"), (0x7F, b"")]), b"conformance/none")
    assert session.receive()[0] == "NOTFOUND"


@check("P-8.4 contents out of range: INVALID_ARGUMENT")
def _(target):
    session = Session(target)
    for index, (opcode, item) in enumerate((("SET", ("CONTENT_TYPE", b"\x04")), ("GET", ("RETURN", b"\x04")), ("SET", ("RETURN", b"\x80")),
                                            ("SCAN", ("LIMIT", u32(0))), ("SET", ("TTL_MS", u64(0))), ("INCR", ("TTL_MS", u64(0))))):
        session.send(opcode, index + 1, 0, kv.extensions([item]), b"conformance/range")
        try:
            session.error(index + 1, "INVALID_ARGUMENT")
        except AssertionError as error:
            raise AssertionError(f"{opcode} {item}: {error}") from error
    session.alive()


@check("P-8.7 a deadline of 0 has passed")
def _(target):
    session = Session(target)
    session.send("GET", 1, 0, kv.extensions([("DEADLINE_MS", u32(0))]), b"k")
    session.error(1, "DEADLINE_EXCEEDED")


@check("P-8.5 the end of time")
def _(target):
    session = Session(target)
    session.send("SET", 1, 0, kv.extensions([("TTL_MS", u64(2**64 - 1))]), b"conformance/ttl", b"v")
    assert session.receive()[0] == "OK"
    session.send("GET", 2, key=b"conformance/ttl")
    got = session.receive()
    assert got[0] == "OK" and EXT["TTL_MS"] in got[2], got
    session.send("DEL", 3, key=b"conformance/ttl")
    assert session.receive()[0] == "OK"


@check("P-8.9 conditions of every write")
def _(target):
    session = Session(target)
    key, ids = b"conformance/condition", iter(range(1, 100))

    def ask(opcode, version, value=b""):
        rid = next(ids)
        session.send(opcode, rid, 0, kv.extensions([("IF_VERSION", u64(version))]), key, value)
        return rid

    for opcode in ("SET", "DEL", "INCR", "TOUCH"):
        for version in (5, 2**64 - 1):
            ext = session.error(ask(opcode, version), "CONFLICT")
            assert ext == {EXT["VERSION"]: u64(0)}, ext
    for opcode in ("DEL", "TOUCH"):
        ask(opcode, 0)
        assert session.receive()[0] == "NOTFOUND"
    ask("SET", 0, b"7")
    version = session.receive()[2][EXT["VERSION"]]
    for opcode in ("SET", "DEL", "INCR", "TOUCH"):
        for other in (0, 2**63):
            assert session.error(ask(opcode, other), "CONFLICT") == {EXT["VERSION"]: version}
    for opcode in ("SET", "INCR", "TOUCH"):
        ask(opcode, int.from_bytes(version, "big"), b"8" if opcode == "SET" else b"")
        got = session.receive()
        assert got[0] == "OK" and got[2][EXT["VERSION"]] > version, got
        version = got[2][EXT["VERSION"]]
    ask("DEL", 2**64 - 1)
    assert session.receive()[0] == "OK"
    ask("SET", 0, b"again")
    assert session.receive()[2][EXT["VERSION"]] > version, "versions fell after a delete"
    ask("DEL", 2**64 - 1)
    session.receive()


@check("P-8.10 previous values and lengths")
def _(target):
    session = Session(target)
    key, length, previous, bare = b"conformance/return", EXT["VALUE_LEN"], b"\x01", b"\x03"

    def ask(opcode, returns, value=b"", content_type=None):
        items = [("RETURN", returns)] + ([("CONTENT_TYPE", content_type)] if content_type else [])
        session.send(opcode, 1, 0, kv.extensions(items), key, value)
        got = session.receive()
        return got[0], got[2].get(length), got[2].get(EXT["CONTENT_TYPE"]), got[4]

    assert ask("SET", previous, b"", b"\x01") == ("OK", None, None, b"")
    assert ask("SET", previous, b"abc", b"\x03") == ("OK", u32(0), b"\x01", b"")
    assert ask("SET", bare, b"defg") == ("OK", u32(3), b"\x03", b"")
    assert ask("GET", b"\x02") == ("OK", u32(4), None, b"")
    assert ask("DEL", previous) == ("OK", u32(4), None, b"defg")
    assert ask("DEL", previous) == ("NOTFOUND", None, None, b"")


@check("P-12.7 INCR at the edges")
def _(target):
    session = Session(target)
    key, ids = b"conformance/incr", iter(range(1, 200))

    def put(text):
        session.send("SET", next(ids), key=key, value=text)
        assert session.receive()[0] == "OK"

    def add(delta):
        rid = next(ids)
        session.send("INCR", rid, key=key, value=struct.pack(">q", delta))
        return rid

    put(b"9223372036854775806")
    add(1)
    assert session.receive()[4] == struct.pack(">q", 2**63 - 1)
    session.error(add(1), "WRONG_TYPE")
    put(b"-9223372036854775808")
    session.error(add(-1), "WRONG_TYPE")
    add(0)
    assert session.receive()[4] == struct.pack(">q", -(2**63))
    for text in (b"", b"-", b" 1", b"1 ", b"1.0", b"0x1", b"9223372036854775808", b"\xd9\xa1", b"1\x00"):
        put(text)
        session.error(add(1), "WRONG_TYPE")
        session.send("GET", next(ids), key=key)
        assert session.receive()[4] == text, "a refused INCR changed the entry"
    session.send("DEL", next(ids), key=key)
    session.receive()


# Continuation


@check("P-9.3 broken continuations: closes")
def _(target):
    def total(n):
        return kv.extensions([("TOTAL_LEN", u32(n))])

    full, SET = bytes(4096), "SET"
    first = (SET, 1, 4, total(9000), b"k", full)
    for name, frames in {
        "MORE without TOTAL_LEN": [(SET, 1, 4, b"", b"k", full)],
        "TOTAL_LEN without MORE": [(SET, 1, 0, total(4096), b"k", full)],
        "MORE on GET": [("GET", 1, 4, total(9000), b"k", full)],
        "short first piece": [(SET, 1, 4, total(9000), b"k", full[:4095])],
        "empty piece": [first, (SET, 1, 4, b"", b"", b"")],
        "short piece": [first, (SET, 1, 4, b"", b"", full[:100])],
        "too short": [first, (SET, 1, 0, b"", b"", full)],
        "too long": [first, (SET, 1, 0, b"", b"", bytes(4905))],
        "another opcode": [first, ("ECHO", 1, 0, b"", b"", bytes(4904))],
        "a key again": [first, (SET, 1, 0, b"", b"k", bytes(4904))],
        "extensions again": [first, (SET, 1, 0, total(9000), b"", bytes(4904))],
        "begun twice": [first, first],
        "a small request with the id": [first, ("GET", 1, 0, b"", b"k", b"")],
    }.items():
        session = Session(target)
        for opcode, rid, flags, ext, key, value in frames:
            session.send(opcode, rid, flags, ext, key, value)
        try:
            session.closes()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@check("P-9.4 a large SET with small requests in between, and its value back")
def _(target):
    session = Session(target)
    value = bytes(range(256)) * 48
    pieces = kv.cut(OP["SET"], 1, 0, [("CONTENT_TYPE", b"\x01")], b"conformance/large", value, 4096)
    for index, (flags, ext, key, piece) in enumerate(pieces):
        session.send("SET", 1, flags, ext, key, piece)
        if index + 1 < len(pieces):
            session.alive(100 + index)
    assert session.receive()[:2] == ("OK", 1)
    session.send("GET", 2, key=b"conformance/large")
    got = session.receive()
    assert got[4] == value and got[2][EXT["CONTENT_TYPE"]] == b"\x01"
    session.send("DEL", 3, key=b"conformance/large")
    assert session.receive()[0] == "OK"


@check("P-9.6 a message above max_message: TOO_LARGE, its pieces dropped, no further reply")
def _(target):
    session = Session(target)
    size = session.welcome["max_message"] + 1
    session.send("SET", 1, 4, kv.extensions([("TOTAL_LEN", u32(size))]), b"k", bytes(8192))
    session.error(1, "TOO_LARGE")
    session.send("SET", 1, 4, b"", b"", bytes(8192))
    session.alive(2)
    session.send("CANCEL", 1)
    session.alive(1)


@check("P-9.8 CANCEL of a message under way: END")
def _(target):
    session = Session(target)
    session.send("SET", 1, 4, kv.extensions([("TOTAL_LEN", u32(20000))]), b"conformance/cancelled", bytes(8192))
    session.send("CANCEL", 1)
    assert session.receive()[:2] == ("END", 1)
    session.send("GET", 1, key=b"conformance/cancelled")
    assert session.receive()[0] == "NOTFOUND"


@check("P-9.9 COMPRESSED without the capability: closes")
def _(target):
    session = Session(target)
    session.send("SET", 1, 1, b"", b"k", u32(1) + b"\x10a")
    session.closes()


# Streams


def fill(session, count):
    for i in range(count):
        session.send("SET", i + 1, key=b"conformance/scan/%02d" % i, value=b"%d" % i)
        assert session.receive()[0] == "OK"


def empty(session, count):
    for i in range(count):
        session.send("DEL", i + 1, key=b"conformance/scan/%02d" % i)
        session.receive()


@check("P-10.10 no ITEM without credit, CREDIT goes on, END needs none")
def _(target):
    session = Session(target)
    fill(session, 5)
    session.send("SCAN", 50, 0, kv.extensions([("CREDIT", u32(0))]), b"conformance/scan/")
    session.alive()
    session.send("CREDIT", 50, value=u32(2))
    assert [session.receive()[3][-2:] for _ in range(2)] == [b"00", b"01"]
    session.alive()
    session.send("CREDIT", 50, value=u32(3))
    assert [session.receive()[3][-2:] for _ in range(3)] == [b"02", b"03", b"04"]
    # The server may find out only with further credit that nothing is left.
    session.send("CREDIT", 50, value=u32(1))
    assert session.receive()[:2] == ("END", 50)
    session.send("CREDIT", 50, value=u32(1))
    session.alive()
    empty(session, 5)


@check("P-10.3 an id in flight: INVALID_ARGUMENT, the first goes on")
def _(target):
    session = Session(target)
    fill(session, 2)
    session.send("SCAN", 50, 0, kv.extensions([("CREDIT", u32(0))]), b"conformance/scan/")
    session.send("GET", 50, key=b"conformance/scan/00")
    session.error(50, "INVALID_ARGUMENT")
    session.send("CREDIT", 50, value=u32(1))
    assert session.receive()[:2] == ("ITEM", 50)
    session.send("CANCEL", 50)
    assert session.receive()[:2] == ("END", 50)
    empty(session, 2)


@check("P-10.12 CANCEL of what is not in flight is ignored")
def _(target):
    session = Session(target)
    session.send("CANCEL", 4711)
    session.send("CREDIT", 4711, value=u32(1))
    session.alive()


@check("P-10.4 more streams than max_streams: TOO_MANY_IN_FLIGHT")
def _(target):
    session = Session(target)
    fill(session, 1)
    count = session.welcome["max_streams"]
    for i in range(count):
        session.send("SCAN", 1000 + i, 0, kv.extensions([("CREDIT", u32(0))]), b"conformance/scan/")
    session.send("SCAN", 999, 0, kv.extensions([("CREDIT", u32(0))]), b"conformance/scan/")
    session.error(999, "TOO_MANY_IN_FLIGHT")
    session.alive()
    for i in range(count):
        session.send("CANCEL", 1000 + i)
        assert session.receive()[:2] == ("END", 1000 + i)
    empty(session, 1)


# BATCH


@check("P-12.12 an empty BATCH, 4,096 items and one more")
def _(target):
    session = Session(target)
    session.send("BATCH", 1)
    assert session.receive()[0] == "OK"
    item = (OP["GET"], 0, b"", b"conformance/none", b"")
    if target.suite != 2:
        for count, expected in ((4096, "OK"), (4097, "ERR")):
            value = kv.batch([item] * count)
            for flags, ext, key, piece in kv.cut(OP["BATCH"], 2, 0, [], b"", value, 65536):
                session.send("BATCH", 2, flags, ext, key, piece)
            got = session.receive()
            assert got[0] == expected, got[0]
            if expected == "OK":
                assert [i[1] for i in kv.parse_batch(got[4], reply=True)] == list(range(4096))
            else:
                assert kv.parse_error_body(got[4])[0] == 3
    session.alive()


@check("P-12.15 items that fail fail alone")
def _(target):
    session = Session(target)
    key = b"conformance/batch"
    items = [(OP["SET"], 0, b"", key, b"1"), (OP["SCAN"], 0, b"", b"", b""), (99, 0, b"", b"", b""), (OP["OK"], 0, b"", b"", b""),
             (OP["GET"], 0, kv.extensions([(0xC0, b"")]), key, b""), (OP["GET"], 0, b"", b"", b""), (OP["INCR"], 0, b"", key, b""),
             (OP["SET"], 0, kv.extensions([("IF_VERSION", u64(0))]), key, b""), (OP["DEL"], 0, b"", key, b"")]
    session.send("BATCH", 1, value=kv.batch(items))
    got = session.receive()
    assert got[0] == "OK", got
    replies = kv.parse_batch(got[4], reply=True)
    codes = [kv.parse_error_body(r[4])[0] if r[0] == OP["ERR"] else kv.OPCODE_NAMES[r[0]] for r in replies]
    assert codes == ["OK", 5, 5, 5, 5, 2, "OK", 1, "OK"], codes


@check("P-12.16 ATOMIC: all or nothing, for every way to fail")
def _(target):
    session = Session(target)
    key = b"conformance/atomic"
    write = (OP["SET"], 0, b"", key, b"text")
    failures = [((OP["SET"], 0, kv.extensions([("IF_VERSION", u64(77))]), key + b"2", b""), "CONFLICT"), ((OP["INCR"], 0, b"", key, b""), "WRONG_TYPE"),
                ((OP["SCAN"], 0, b"", b"", b""), "UNSUPPORTED"), ((OP["GET"], 0, b"", b"", b""), "INVALID_ARGUMENT")]
    for rid, (item, code) in enumerate(failures, 1):
        session.send("BATCH", rid, 0, kv.extensions([("ATOMIC", b"")]), b"", kv.batch([write, item]))
        try:
            ext = session.error(rid, code, index=1)
        except AssertionError as error:
            raise AssertionError(f"{code}: {error}") from error
        assert (EXT["VERSION"] in ext) == (code == "CONFLICT")
        session.send("GET", 99, key=key)
        assert session.receive()[0] == "NOTFOUND", f"{code}: a part was applied"
    session.send("BATCH", 50, 0, kv.extensions([("ATOMIC", b"")]), b"", kv.batch([write, (OP["DEL"], 0, b"", key, b""), (OP["DEL"], 0, b"", key, b"")]))
    got = session.receive()
    assert got[0] == "OK" and [r[0] for r in kv.parse_batch(got[4], reply=True)] == [OP["OK"], OP["OK"], OP["NOTFOUND"]], got


@check("P-8.11 a repeat of a named write gets the first answer, on another connection too")
def _(target):
    first, second = Session(target), Session(target)
    key, client = b"conformance/named", os.urandom(16)
    named = lambda number: kv.extensions([("IDEMPOTENCY", client + u64(number))])
    first.send("DEL", 1, key=key)
    first.receive()
    answers = []
    for session in (first, first, second):
        session.send("INCR", 2, 0, named(1), key)
        answers.append(session.receive())
    if answers[0][0] == "ERR" and kv.parse_error_body(answers[0][4])[0] == 5:
        return  # a server that keeps no answers says so
    assert answers[0][0] == "OK" and answers[0] == answers[1] == answers[2], answers
    second.send("INCR", 3, 0, named(2), key)
    assert second.receive()[4] == (2).to_bytes(8, "big")
    # P-8.14: the number of another request.
    first.send("SET", 4, 0, named(1), key, b"x")
    first.error(4, "INVALID_ARGUMENT")
    first.send("GET", 5, key=key)
    assert first.receive()[4] == b"2"


@check("P-12.24 a named BATCH: repeated as a whole, refused as a whole")
def _(target):
    session = Session(target)
    key, client = b"conformance/named-batch", os.urandom(16)
    named = lambda number: kv.extensions([("IDEMPOTENCY", client + u64(number))])
    session.send("DEL", 1, key=key)
    session.receive()
    incr, get = (OP["INCR"], 0, b"", key, b""), (OP["GET"], 0, b"", key, b"")
    answers = []
    for _ in range(2):
        session.send("BATCH", 2, 0, named(1), b"", kv.batch([incr, get]))
        answers.append(session.receive())
    if answers[0][0] == "ERR" and kv.parse_error_body(answers[0][4])[0] == 5:
        return
    assert answers[0][0] == "OK" and answers[0] == answers[1], answers
    session.send("BATCH", 3, 0, named(2), b"", kv.batch([incr, (OP["SCAN"], 0, b"", b"", b"")]))
    session.error(3, "UNSUPPORTED", index=1)
    session.send("GET", 4, key=key)
    assert session.receive()[4] == b"1"


@check("P-12.26 a BACKUP is what its count and checksum say, or is refused")
def _(target):
    session = Session(target)
    session.send("SET", 1, 0, kv.extensions([("TTL_MS", u64(60000))]), b"conformance/backup", b"value")
    session.receive()
    session.send("BACKUP", 2)
    items = []
    while True:
        name, rid, ext, key, value = session.receive()
        assert rid == 2
        if name != "ITEM":
            break
        items.append((ext, key, value))
        if len(items) % 100 == 0:
            session.send("CREDIT", 2, value=u32(100))
    if name == "ERR":
        assert not items and kv.parse_error_body(value)[0] in (5, 17)  # not this engine, or not this identity
        return
    assert name == "END" and len(items) >= 2
    (_, key, opening), (_, last, closing) = items[0], items[-1]
    assert key == last == b"" and len(opening) == 24 and len(closing) == 40
    form, taken, _ = struct.unpack(">QQQ", opening)
    assert form == 1
    digest, entries = hashlib.sha256(), items[1:-1]
    for ext, key, value in entries:
        ttl = ext.get(EXT["TTL_MS"])
        expires = taken + int.from_bytes(ttl, "big") if ttl else 0
        digest.update(struct.pack(">HI", len(key), len(value)) + ext[EXT["VERSION"]] + u64(expires) + ext.get(EXT["CONTENT_TYPE"], b"\0") + key + value)
    keys = [key for _, key, _ in entries]
    assert keys == sorted(keys) and b"conformance/backup" in keys
    assert closing == u64(len(entries)) + digest.digest()


@check("P-12.19 INFO and CLIENTS are typed values")
def _(target):
    session = Session(target)
    for index, (opcode, key) in enumerate((("INFO", b""), ("INFO", b"server"), ("CLIENTS", b""))):
        session.send(opcode, index + 1, key=key)
        got = session.receive()
        if got[0] == "ERR" and kv.parse_error_body(got[4])[0] == 17:
            continue  # this identity may not
        assert got[0] == "OK" and got[2][EXT["CONTENT_TYPE"]] == b"\x02", got
        value = kv.parse_typed(got[4])
        if opcode == "INFO":
            server = dict(dict(value)["server"])
            assert isinstance(server["name"], str) and isinstance(server["version"], str) and isinstance(server["uptime_seconds"], int)
        elif value:
            assert {"id", "peer", "identity"} <= set(dict(value[0]))
    session.send("INFO", 9, key=b"no such section")
    got = session.receive()
    assert got[0] == "ERR" and kv.parse_error_body(got[4])[0] in (2, 17)


# Version 1


class V1(Raw):
    def __init__(self, target):
        super().__init__(target)
        self.secret = target.v1

    def ask(self, opcode, rid, key=b"", value=b""):
        self.write(kv.v1_frame(self.secret, OP.get(opcode, opcode), rid, key, value))

    def answer(self):
        got = kv.v1_open(self.secret, self.frame())
        return kv.OPCODE_NAMES[got["opcode"]], got["request_id"], got["value"]


@check("P-4.10 version 1: the three commands", suites=("v1",))
def _(target):
    raw = V1(target)
    key = b"conformance/v1"
    for rid, (opcode, value, expected) in enumerate((("DEL", b"", None), ("GET", b"", ("NOTFOUND", b"")), ("SET", b"one", ("OK", b"")),
                                                     ("GET", b"", ("OK", b"one")), ("DEL", b"", ("OK", b"")), ("DEL", b"", ("NOTFOUND", b""))), 1):
        raw.ask(opcode, rid, key, value)
        name, got, answer = raw.answer()
        assert got == rid and (expected is None or (name, answer) == expected), (name, answer)


@check("P-4.8 version 1: an id that does not grow gets ERR with id 0 and closes", suites=("v1",))
def _(target):
    for second in (5, 4, 0):
        raw = V1(target)
        raw.ask("GET", 5, b"conformance/none")
        assert raw.answer()[:2] == ("NOTFOUND", 5)
        raw.ask("GET", second, b"conformance/none")
        name, rid, text = raw.answer()
        assert (name, rid) == ("ERR", 0) and text.startswith(b"INVALID_ARGUMENT: "), (name, rid, text)
        raw.must_close()


@check("P-4.7 version 1: a wrong tag closes, silent", suites=("v1",))
def _(target):
    for index in (3, 7, 16, 47, 48):
        raw = V1(target)
        sealed = bytearray(kv.v1_frame(raw.secret, OP["GET"], 1, b"k"))
        sealed[index] ^= 1
        raw.write(bytes(sealed))
        raw.must_close()


@check("P-4.6 version 1: flags or the reserved byte close", suites=("v1",))
def _(target):
    for index in (8, 9):
        raw = V1(target)
        head = bytearray(kv.header(1, OP["GET"], 1, 0, 0, 1 if index == 8 else 0, 0))
        head[index] = 1
        raw.write(bytes(head) + kv.hmac(raw.secret, bytes(head) + b"k") + b"k")
        try:
            name, rid, _ = raw.answer()
            assert (name, rid) == ("ERR", 0), name
        except Closed:
            continue
        raw.must_close()


@check("P-4.11 version 1: unknown commands and wrong bodies get ERR by name", suites=("v1",))
def _(target):
    raw = V1(target)
    for rid, (opcode, key, value, name) in enumerate(((4, b"", b"", b"UNSUPPORTED: "), (99, b"k", b"", b"UNSUPPORTED: "),
                                                      ("GET", b"", b"", b"INVALID_ARGUMENT: ")), 1):
        raw.ask(opcode, rid, key, value)
        got = raw.answer()
        assert got[:2] == ("ERR", rid) and got[2].startswith(name), got
    raw.ask("GET", 50, b"conformance/none")
    assert raw.answer()[0] == "NOTFOUND"


@check("P-4.13 version 1: the first frame is limited to 4 KiB, later ones are not", suites=("v1",))
def _(target):
    raw = V1(target)
    raw.write(kv.header(1, OP["SET"], 1, 0, 0, 1, 4096) + bytes(32))
    raw.must_close()
    raw = V1(target)
    raw.ask("GET", 1, b"conformance/none")
    raw.answer()
    raw.ask("SET", 2, b"conformance/v1", bytes(100000))
    assert raw.answer()[0] == "OK"
    raw.ask("GET", 3, b"conformance/v1")
    assert raw.answer()[2] == bytes(100000)
    raw.ask("DEL", 4, b"conformance/v1")
    raw.answer()


class Target:
    def __init__(self, arguments):
        url = urllib.parse.urlsplit(arguments.url)
        self.address = (url.hostname, url.port or 7777)
        self.key_id = url.username or "dev"
        read = lambda path: bytes.fromhex(pathlib.Path(path).read_text().strip()) if path else None
        self.secret, self.v1 = read(arguments.key_file), read(arguments.v1_key_file)
        self.suite = arguments.suite if self.secret else 0


def main():
    parser = argparse.ArgumentParser(description="checks a kv server against the specification")
    parser.add_argument("--url", default="kv://dev@127.0.0.1:7777")
    parser.add_argument("--key-file", help="without it suite 0")
    parser.add_argument("--suite", type=int, default=1, choices=[1, 2])
    parser.add_argument("--v1-key-file", help="the key of version 1, where the server has it enabled")
    parser.add_argument("--only", default="", help="checks whose rule contains this text")
    arguments = parser.parse_args()
    target = Target(arguments)
    failed = ran = 0
    for rule, suites, function in CHECKS:
        if arguments.only not in rule or not (target.suite in suites or (target.v1 and "v1" in suites)):
            continue
        ran += 1
        try:
            function(target)
            print(f"ok: {rule}")
        except (AssertionError, Closed, kv.ProtocolError, OSError, KeyError, struct.error) as error:
            failed += 1
            print(f"FAILED: {rule}: {type(error).__name__} {error}")
    print(f"{ran - failed} of {ran} checks passed")
    sys.exit(1 if failed or not ran else 0)


if __name__ == "__main__":
    main()

"""A small asyncio client for kv, version 2, suites 0 and 1, over plain TCP.

Written from docs/protocol.md alone, with nothing but Python's standard library, as a check that the page
is enough and as a start for clients in other languages. It multiplexes: any number of calls may be awaited
at the same time on one connection.

    python3 client.py --url kv://dev@127.0.0.1:7777 --key-file ~/.local/state/kv/dev.key smoke
    python3 client.py get KEY | set KEY VALUE | del KEY | incr KEY | scan [PREFIX] | info

Without --url and --key-file it looks where section 16 of the page says. Not here: TLS (Python's ssl module
cannot export keying material), suite 2, compression.

Exit codes of smoke: 0 everything is right, 1 something is not, 4 no connection, 5 not authenticated.
"""

import argparse
import asyncio
import hashlib
import hmac
import os
import pathlib
import struct
import sys
import urllib.parse
import zlib

HEADER = struct.Struct(">2sBBIBBHI")
MAGIC = b"\xca\xfe"
MORE = 4

GET, SET, DEL, SCAN, BATCH, INCR, TOUCH = 1, 2, 3, 4, 6, 7, 8
HELLO, AUTH, PING, PONG, ECHO, CANCEL, CREDIT, KEY_UPDATE, GOODBYE = range(16, 25)
INFO = 112
OK, ERR, NOTFOUND, ITEM, END = range(128, 133)
WELCOME, READY, SERVER_PING, SERVER_PONG, GOAWAY, SERVER_GOODBYE, SERVER_KEY_UPDATE = range(144, 151)
NOTICE = 160

TTL_MS, VERSION, DEADLINE_MS, CONTENT_TYPE, CREDIT_EXT, LIMIT, VALUE_LEN = 1, 2, 3, 5, 6, 0x0A, 0x0D
IF_VERSION, RETURN, TOTAL_LEN, ATOMIC, REVERSE = 0x81, 0x82, 0x83, 0x85, 0x86
IF_ABSENT, IF_PRESENT = 0, 2**64 - 1

ERROR_NAMES = {
    1: "CONFLICT", 2: "INVALID_ARGUMENT", 3: "TOO_LARGE", 4: "WRONG_TYPE", 5: "UNSUPPORTED", 6: "READ_ONLY",
    16: "AUTH_FAILED", 17: "PERMISSION_DENIED", 18: "UNSUPPORTED_VERSION", 32: "RATE_LIMITED", 33: "OVERLOADED",
    34: "SHUTTING_DOWN", 35: "TOO_MANY_IN_FLIGHT", 48: "DEADLINE_EXCEEDED", 49: "OUTCOME_UNKNOWN", 64: "OUT_OF_MEMORY",
    65: "DISK_FULL", 66: "CORRUPT", 80: "QUEUE_NOT_FOUND", 81: "MESSAGE_NOT_FOUND", 82: "LEASE_LOST", 83: "QUEUE_EXISTS",
    84: "COMPACTED", 85: "SLOW_CONSUMER", 255: "INTERNAL",
}


class KvError(Exception):
    """The server's ERR to one request."""

    def __init__(self, code, message, version=None, index=None):
        super().__init__(f"{ERROR_NAMES.get(code, code)}: {message}")
        self.code, self.message, self.version, self.index = code, message, version, index


class NotAuthenticated(Exception):
    """The handshake failed."""


class Closed(Exception):
    """The connection ended; the outcome of what was in flight is unknown."""


def u32(x):
    return struct.pack(">I", x)


def u64(x):
    return struct.pack(">Q", x)


def encode_extensions(items):
    """{tag: bytes} to a block [P-8.1]."""
    return b"".join(bytes([tag, len(data)]) + data for tag, data in sorted(items.items()))


def decode_extensions(block):
    out, at, last = {}, 0, -1
    while at < len(block):
        if at + 2 > len(block) or at + 2 + block[at + 1] > len(block) or block[at] <= last:
            raise Closed("malformed extension block in a reply")
        last = block[at]
        out[last] = block[at + 2 : at + 2 + block[at + 1]]
        at += 2 + block[at + 1]
    return out


def decode_typed(data):
    """Section 14, as Python values; a map becomes a dict."""
    at = 0

    def take(n):
        nonlocal at
        if at + n > len(data):
            raise Closed("typed value cut short")
        at += n
        return data[at - n : at]

    def num(code):
        return struct.unpack(code, take(struct.calcsize(code)))[0]

    def sized(first, base):
        return num((">B", ">H", ">I")[first - base])

    def value(depth):
        first = take(1)[0]
        if first <= 0x7F:
            return first
        if first >= 0xE0:
            return first - 256
        if 0xA0 <= first <= 0xBF:
            return take(first & 31).decode()
        if 0xD9 <= first <= 0xDB:
            return take(sized(first, 0xD9)).decode()
        if 0xC4 <= first <= 0xC6:
            return take(sized(first, 0xC4))
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if 0xCA <= first <= 0xD3:
            return num((">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q")[first - 0xCA])
        if depth == 32:
            raise Closed("typed value too deep")
        if first <= 0x8F or first in (0xDE, 0xDF):
            n = first & 15 if first <= 0x8F else num(">H" if first == 0xDE else ">I")
            return {value(depth + 1): value(depth + 1) for _ in range(n)}
        if first <= 0x9F or first in (0xDC, 0xDD):
            n = first & 15 if first <= 0x9F else num(">H" if first == 0xDC else ">I")
            return [value(depth + 1) for _ in range(n)]
        raise Closed("typed value of an unknown kind")

    result = value(0)
    if at != len(data):
        raise Closed("bytes after a typed value")
    return result


class Reply:
    """One reply: its opcode, extensions, key and value."""

    def __init__(self, opcode, ext, key, value):
        self.opcode, self.ext, self.key, self.value = opcode, ext, key, value

    def number(self, tag):
        return int.from_bytes(self.ext[tag], "big") if tag in self.ext else None

    @property
    def version(self):
        return self.number(VERSION)

    @property
    def ttl_ms(self):
        return self.number(TTL_MS)

    def error(self):
        if len(self.value) < 6:
            raise Closed("ERR cut short")
        code = int.from_bytes(self.value[:2], "big")
        index = int.from_bytes(self.key, "big") if self.key else None
        return KvError(code, self.value[6:].decode(), self.version, index)


class Direction:
    """Tags of one direction [P-7.1, P-7.10]."""

    def __init__(self, key):
        self.key, self.seq, self.epoch = key, 0, 0

    def tag(self, head, body):
        if self.key is None:
            return u32(zlib.crc32(head + body)) + bytes(28)
        tag = hmac.new(self.key, u64(self.seq) + head + body, hashlib.sha256).digest()
        self.seq += 1
        return tag

    def update(self):
        self.epoch += 1
        self.key = expand(self.key, b"kv/2 upd" + u32(self.epoch))


def expand(prk, info):
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def frame(opcode, request_id, flags, ext, key, value, direction=None):
    head = HEADER.pack(MAGIC, 2, opcode, request_id, flags, len(ext), len(key), len(value))
    body = ext + key + value
    return head + (direction.tag(head, body) if direction else bytes(32)) + body


def encode_fields(items):
    return b"".join(struct.pack(">BH", tag, len(data)) + data for tag, data in sorted(items.items()))


def decode_fields(data):
    out, at, last = {}, 0, -1
    while at < len(data):
        if at + 3 > len(data):
            raise NotAuthenticated("malformed WELCOME")
        tag, length = struct.unpack_from(">BH", data, at)
        if tag <= last or at + 3 + length > len(data):
            raise NotAuthenticated("malformed WELCOME")
        out[tag] = data[at + 3 : at + 3 + length]
        last, at = tag, at + 3 + length
    return out


class Client:
    """A session. Make it with `await Client.connect(...)`, end it with `await client.close()`."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.waiting = {}  # request id -> Future of one reply, or Queue of a stream
        self.partial = {}  # request id -> continued reply under way
        self.next_id = 0
        self.ended = None
        self.going_away = False
        self.goodbye = False  # the server said it
        self.over = asyncio.Event()
        self.pongs = asyncio.Queue()

    # Handshake, section 5

    @classmethod
    async def connect(cls, host="127.0.0.1", port=7777, key_id=None, secret=None, timeout=5):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout)
        self = cls(reader, writer)
        try:
            await asyncio.wait_for(self._handshake(host, key_id, secret), timeout)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            writer.close()
            raise NotAuthenticated("the server closed the connection during the handshake") from error
        except BaseException:
            writer.close()
            raise
        self.task = asyncio.create_task(self._read())
        return self

    async def _handshake(self, host, key_id, secret):
        suite = 1 if secret else 0  # [P-5.12]: who holds a key does not offer suite 0
        items = {1: b"\x02\x02", 2: bytes([suite]), 3: u32(0), 5: os.urandom(32), 6: host.encode(), 8: b"kv-reference-client/1"}
        if secret:
            items[4] = key_id.encode()
        hello = frame(HELLO, 0, 0, b"", b"", encode_fields(items))
        self.writer.write(hello)

        self.max_frame = 4096
        head, tag, body = await self._raw_frame()
        _, version, opcode, rid, flags, ext_len, key_len, value_len = HEADER.unpack(head)
        if (version, opcode) == (1, ERR):
            raise NotAuthenticated("refused: " + body.decode(errors="replace"))
        if (version, opcode, rid, flags, ext_len, key_len) != (2, WELCOME, 0, 0, 0, 0):
            raise NotAuthenticated("something else than WELCOME came")
        got = decode_fields(body)
        lengths = {1: 1, 2: 1, 4: 16, 5: 32}
        if any(len(got.get(t, b"")) != n for t, n in lengths.items()) or 7 in got or len(got.get(8, b"")) < 20:
            raise NotAuthenticated("malformed WELCOME")
        limits = struct.unpack_from(">5I", got[8])
        if got[1] != b"\x02" or got[2][0] != suite or any(got.get(3, b"")):
            raise NotAuthenticated("WELCOME chose what was not offered")
        if not 16384 <= limits[0] <= 16 << 20 or 0 in (limits[1], limits[2], limits[4]):
            raise NotAuthenticated("WELCOME's limits make no sense")

        th = hashlib.sha256(hello + head + bytes(32) + body + b"\x00").digest()
        proof = b""
        if secret:
            ck = b"kv/2"
            for ikm in (secret, bytes(32), bytes(32)):
                ck = hmac.new(ck, ikm, hashlib.sha256).digest()

            def key(label):
                return expand(ck, b"kv/2 " + label + b"\x00" + bytes([suite]) + th)

            expected = hmac.new(key(b"s conf"), b"kv/2 server" + th, hashlib.sha256).digest()
            proof = hmac.new(key(b"c conf"), b"kv/2 client" + th, hashlib.sha256).digest()
            self.out, self.inn = Direction(key(b"c2s mac")), Direction(key(b"s2c mac"))
        else:
            self.out, self.inn = Direction(None), Direction(None)
            expected = Direction(None).tag(head, body)
        if not hmac.compare_digest(tag, expected):
            raise NotAuthenticated("the server does not hold this key")
        self.max_frame, self.max_message, self.max_in_flight, self.max_streams, self.ping_after_ms = limits
        self.session_id = got[4]
        self.slots = asyncio.Semaphore(self.max_in_flight)

        self._send(AUTH, 0, value=proof)
        opcode, rid, flags, ext, key_, value = await self._frame()
        if (opcode, rid, flags, ext, key_) != (READY, 0, 0, b"", b""):
            raise NotAuthenticated("something else than READY came")
        self.ready = decode_typed(value)

    # Frames, sections 3 and 7

    async def _raw_frame(self):
        head = await self.reader.readexactly(16)
        magic, version, _, _, _, ext_len, key_len, value_len = HEADER.unpack(head)
        if magic != MAGIC or version not in (1, 2):
            raise Closed("not a frame of this protocol")
        if ext_len + key_len + value_len > self.max_frame:
            raise Closed("frame longer than max_frame")
        tag = await self.reader.readexactly(32)
        return head, tag, await self.reader.readexactly(ext_len + key_len + value_len)

    async def _frame(self):
        head, tag, body = await self._raw_frame()
        if not hmac.compare_digest(tag, self.inn.tag(head, body)):
            raise Closed("a frame's tag is wrong")
        _, version, opcode, rid, flags, ext_len, key_len, _ = HEADER.unpack(head)
        if version != 2 or flags & ~MORE or opcode < 128:
            raise Closed("a frame that may not come here")
        return opcode, rid, flags, body[:ext_len], body[ext_len : ext_len + key_len], body[ext_len + key_len :]

    def _send(self, opcode, request_id, flags=0, ext=b"", key=b"", value=b""):
        if self.ended:
            raise self.ended
        if self.out.key is not None and self.out.seq % (1 << 23) == (1 << 23) - 1:  # [P-7.8], well before 2^24
            self._update_keys()
        self.writer.write(frame(opcode, request_id, flags, ext, key, value, self.out))

    def _update_keys(self):
        """KEY_UPDATE [P-7.6, P-7.7]: sealed under the old keys."""
        value = u32(self.out.epoch + 1)
        self.writer.write(frame(KEY_UPDATE, 0, 0, b"", b"", value, self.out))
        self.out.update()

    async def _read(self):
        try:
            while True:
                self._received(*await self._frame())
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            self._end(Closed("closed" if self.goodbye else "the connection was cut"), error)
        except Closed as error:
            self._end(error)
        finally:
            self.writer.close()

    def _end(self, reason, cause=None):
        reason.__cause__ = cause
        self.ended = self.ended or reason
        self.over.set()
        for waiter in self.waiting.values():
            if isinstance(waiter, asyncio.Queue):
                waiter.put_nowait(self.ended)
            elif not waiter.done():
                waiter.set_exception(self.ended)
                waiter.exception()
        self.waiting.clear()

    def _received(self, opcode, rid, flags, ext, key, value):
        if rid == 0:
            return self._control(opcode, ext, key, value)
        if rid in self.partial:
            first = self.partial[rid]
            if opcode != first[0] or ext or key or len(value) < (4096 if flags & MORE else 1):
                raise Closed("a piece that does not fit")
            first[4] += value
            if len(first[4]) > first[3] or (len(first[4]) == first[3]) == bool(flags & MORE):
                raise Closed("a message that is not as long as it said")
            if flags & MORE:
                return None
            del self.partial[rid]
            return self._reply(rid, Reply(first[0], first[1], first[2], bytes(first[4])))
        items = decode_extensions(ext)
        if flags & MORE or TOTAL_LEN in items:
            if not flags & MORE or TOTAL_LEN not in items or opcode not in (OK, ITEM) or len(value) < 4096:
                raise Closed("a first piece that is none")
            total = int.from_bytes(items[TOTAL_LEN], "big")
            if total > self.max_message or len(value) >= total or len(self.partial) == 64:
                raise Closed("a message over the limits")
            self.partial[rid] = [opcode, items, key, total, bytearray(value)]
            return None
        return self._reply(rid, Reply(opcode, items, key, value))

    def _reply(self, rid, reply):
        waiter = self.waiting.get(rid)
        if waiter is None:
            raise Closed("a reply to a request that was not sent")
        if isinstance(waiter, asyncio.Queue):
            if reply.opcode in (END, ERR):
                del self.waiting[rid]
            elif reply.opcode != ITEM:
                raise Closed("a stream answered with something else")
            waiter.put_nowait(reply)
        else:
            if reply.opcode not in (OK, ERR, NOTFOUND, END):
                raise Closed("a request answered with something else")
            del self.waiting[rid]
            if not waiter.done():
                waiter.set_result(reply)

    def _control(self, opcode, ext, key, value):
        if opcode == NOTICE:
            return
        if opcode == ERR:
            raise Closed("the server ended the connection: " + str(Reply(ERR, {}, b"", value).error()))
        if ext or key:
            raise Closed("malformed control frame")
        if opcode == SERVER_PING and len(value) <= 64:
            self._send(PONG, 0, value=value)
        elif opcode == SERVER_PONG:
            self.pongs.put_nowait(value)
        elif opcode == SERVER_KEY_UPDATE and self.inn.key and value == u32(self.inn.epoch + 1):
            self.inn.update()
        elif opcode == GOAWAY and len(value) >= 4:
            self.going_away = True
        elif opcode == SERVER_GOODBYE and not value:
            self.goodbye = True
            self.over.set()
        else:
            raise Closed("a control frame that may not come here")

    # Requests, section 10

    def _free_id(self):
        while True:
            self.next_id = self.next_id % (2**31 - 1) + 1
            if self.next_id not in self.waiting:
                return self.next_id

    async def _write_message(self, opcode, rid, items, key, value):
        if len(value) > self.max_message:
            raise KvError(3, "value over max_message")
        if len(value) <= 65536:
            self._send(opcode, rid, 0, encode_extensions(items), key, value)
        else:  # [P-9.1, P-9.5]
            ext = encode_extensions(items | {TOTAL_LEN: u32(len(value))})
            for at in range(0, len(value), 65536):
                more = MORE if at + 65536 < len(value) else 0
                self._send(opcode, rid, more, ext if at == 0 else b"", key if at == 0 else b"", value[at : at + 65536])
                await self.writer.drain()
        await self.writer.drain()

    async def request(self, opcode, key=b"", value=b"", items=None):
        """Any request with one reply: OK and NOTFOUND are returned, ERR is raised."""
        async with self.slots:
            rid = self._free_id()
            waiter = self.waiting[rid] = asyncio.get_running_loop().create_future()
            await self._write_message(opcode, rid, items or {}, key, value)
            reply = await waiter
        if reply.opcode == ERR:
            raise reply.error()
        return reply

    async def get(self, key):
        reply = await self.request(GET, key)
        return reply if reply.opcode == OK else None

    async def set(self, key, value, ttl_ms=None, if_version=None, content_type=0, previous=False):
        items = {}
        if ttl_ms is not None:
            items[TTL_MS] = u64(ttl_ms)
        if if_version is not None:
            items[IF_VERSION] = u64(if_version)
        if content_type:
            items[CONTENT_TYPE] = bytes([content_type])
        if previous:
            items[RETURN] = b"\x01"
        return await self.request(SET, key, value, items)

    async def delete(self, key):
        return (await self.request(DEL, key)).opcode == OK

    async def incr(self, key, delta=1):
        reply = await self.request(INCR, key, struct.pack(">q", delta))
        return struct.unpack(">q", reply.value)[0]

    async def touch(self, key, ttl_ms=0):
        return await self.request(TOUCH, key, b"", {TTL_MS: u64(ttl_ms)})

    async def echo(self, value):
        return (await self.request(ECHO, b"", value)).value

    async def info(self, section=b""):
        return decode_typed((await self.request(INFO, section)).value)

    async def ping(self, value=b"kv"):
        self._send(PING, 0, value=value)
        return await self.pongs.get()

    async def scan(self, prefix=b"", after=b"", limit=None, reverse=False, credit=None):
        """Yields replies with key and value, in order."""
        items = {}
        if limit is not None:
            items[LIMIT] = u32(limit)
        if reverse:
            items[REVERSE] = b""
        if credit is not None:
            items[CREDIT_EXT] = u32(credit)
        async with self.slots:
            rid = self._free_id()
            queue = self.waiting[rid] = asyncio.Queue()
            self._send(SCAN, rid, 0, encode_extensions(items), prefix, after)
            taken, window = 0, credit or 256
            try:
                while True:
                    reply = await queue.get()
                    if isinstance(reply, Exception):
                        raise reply
                    if reply.opcode == ERR:
                        raise reply.error()
                    if reply.opcode == END:
                        return
                    taken += 1
                    if taken * 2 >= window:
                        self._send(CREDIT, rid, value=u32(taken))
                        taken = 0
                    yield reply
            finally:
                if rid in self.waiting and not self.ended:
                    self._send(CANCEL, rid)
                    while rid in self.waiting and not self.ended:
                        await queue.get()

    async def batch(self, items, atomic=False):
        """[(opcode, extensions, key, value)] to the list of inner replies."""
        value = b""
        for opcode, extensions, key, data in items:
            ext = encode_extensions(extensions)
            value += HEADER.pack(MAGIC, 2, opcode, 0, 0, len(ext), len(key), len(data)) + ext + key + data
        answer = (await self.request(BATCH, b"", value, {ATOMIC: b""} if atomic else {})).value
        replies, at = [], 0
        while at < len(answer):
            _, _, opcode, rid, _, ext_len, key_len, value_len = HEADER.unpack_from(answer, at)
            if rid != len(replies):
                raise Closed("inner replies out of order")
            at += 16
            ext, key = answer[at : at + ext_len], answer[at + ext_len : at + ext_len + key_len]
            at += ext_len + key_len
            replies.append(Reply(opcode, decode_extensions(ext), key, answer[at : at + value_len]))
            at += value_len
        return replies

    async def close(self):
        """An orderly end [P-11.6]. True if the server said GOODBYE as well."""
        if self.ended:
            return False
        self._send(GOODBYE, 0)
        await asyncio.wait_for(self.over.wait(), 10)
        orderly = self.goodbye
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.writer.close()
        return orderly


# Finding the server and the key, section 16


def default_key_file():
    named = os.environ.get("KV_AUTH_KEY_FILE")
    if named:
        return pathlib.Path(named)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return pathlib.Path(state) / "kv" / "dev.key"


def read_key(path):
    return bytes.fromhex(pathlib.Path(path).expanduser().read_text().strip())


# Smoke test against a real server


async def smoke(client):
    prefix = b"smoke/" + os.urandom(4).hex().encode() + b"/"
    done = []

    def check(name, condition):
        if not condition:
            raise AssertionError(name)
        done.append(name)

    async def fails(name, code, awaitable):
        try:
            await awaitable
        except KvError as error:
            check(name, ERROR_NAMES.get(error.code) == code)
            return error
        raise AssertionError(f"{name}: no error came")

    greeting = prefix + b"greeting"
    check("a missing key is not found", await client.get(greeting) is None)
    first = await client.set(greeting, b"hello")
    check("SET answers with a version", first.version)
    got = await client.get(greeting)
    check("GET gives the value and version back", (got.value, got.version) == (b"hello", first.version))
    second = await client.set(greeting, b"", ttl_ms=60000, content_type=1, previous=True)
    check("SET gives the value before", (second.value, second.number(VALUE_LEN)) == (b"hello", 5))
    check("versions grow", second.version > first.version)
    got = await client.get(greeting)
    check("an empty value with content type and life", got.value == b"" and got.number(CONTENT_TYPE) == 1 and 1 <= got.ttl_ms <= 60000)
    error = await fails("a condition that does not hold", "CONFLICT", client.set(greeting, b"x", if_version=first.version))
    check("CONFLICT says the present version", error.version == second.version)
    await fails("must be absent", "CONFLICT", client.set(greeting, b"x", if_version=IF_ABSENT))
    await client.touch(greeting)
    check("TOUCH takes the life away", (await client.get(greeting)).ttl_ms is None)
    await fails("a number from text", "WRONG_TYPE", client.incr(greeting))
    check("INCR from nothing", await client.incr(prefix + b"n") == 1)
    check("INCR by a delta", await client.incr(prefix + b"n", -11) == -10)
    check("INCR stores decimal text", (await client.get(prefix + b"n")).value == b"-10")
    check("DEL", await client.delete(greeting) and not await client.delete(greeting))
    await fails("an empty key", "INVALID_ARGUMENT", client.get(b""))
    await fails("an unknown command", "UNSUPPORTED", client.request(99, b"k"))
    await fails("an unknown critical extension", "UNSUPPORTED", client.request(GET, b"k", b"", {0xC0: b""}))
    check("unknown optional extensions are skipped", (await client.request(GET, greeting, b"", {0x60: b"x"})).opcode == NOTFOUND)
    check("ECHO", await client.echo(b"\x00\xff echo") == b"\x00\xff echo")
    check("PING", await client.ping(b"12345678") == b"12345678")

    large = bytes((i * 7 + i // 251) & 0xFF for i in range(min(3 << 20, client.max_message)))
    await client.set(prefix + b"large", large)
    check("a large value in many frames", (await client.get(prefix + b"large")).value == large)
    await client.delete(prefix + b"large")

    keys = [prefix + b"key/%03d" % i for i in range(300)]
    await asyncio.gather(*(client.set(k, b"value of " + k) for k in keys))
    values = await asyncio.gather(*(client.get(k) for k in keys))
    check("300 calls at once, each with its own answer", [v.value for v in values] == [b"value of " + k for k in keys])
    seen = [r async for r in client.scan(prefix + b"key/")]
    check("SCAN in order, past the first credit", [r.key for r in seen] == keys and seen[7].value == b"value of " + keys[7])
    check("SCAN backwards with limit", [r.key async for r in client.scan(prefix + b"key/", limit=2, reverse=True)] == keys[:-3:-1])
    check("SCAN after a cursor, one credit at a time",
          [r.key async for r in client.scan(prefix + b"key/", after=keys[296], credit=1)] == keys[297:])
    stream = client.scan(prefix + b"key/", credit=4)
    await stream.__anext__()
    await stream.aclose()
    check("a cancelled SCAN leaves the connection in order", await client.echo(b"still here") == b"still here")

    replies = await client.batch([(SET, {}, prefix + b"b", b"1"), (GET, {}, prefix + b"b", b""), (INCR, {}, prefix + b"b", b""),
                                  (SET, {IF_VERSION: u64(0)}, prefix + b"b", b"x"), (DEL, {}, prefix + b"none", b"")])
    check("BATCH: one answer per item, in order", [r.opcode for r in replies] == [OK, OK, OK, ERR, NOTFOUND])
    check("BATCH: later items see earlier ones", replies[1].value == b"1" and replies[2].value == struct.pack(">q", 2))
    check("BATCH: a failed item has its code", replies[3].error().code == 1)
    error = await fails("ATOMIC fails as a whole", "CONFLICT", client.batch(
        [(SET, {}, prefix + b"c", b"1"), (SET, {IF_VERSION: u64(0)}, prefix + b"b", b"2")], atomic=True))
    check("ATOMIC names the item", error.index == 1)
    check("ATOMIC applied nothing", await client.get(prefix + b"c") is None)
    check("a key of 65,535 bytes", (await client.set(b"k" * 65535, b"v")).version and await client.delete(b"k" * 65535))
    if client.out.key is not None:
        client._update_keys()
        check("KEY_UPDATE", await client.echo(b"new keys") == b"new keys")
        client._update_keys()
        check("KEY_UPDATE again", await client.echo(b"newer keys") == b"newer keys")
    info = await client.info()
    check("INFO names the server", info["server"]["name"] and info["server"]["version"])
    for key in keys + [prefix + b"n", prefix + b"b"]:
        await client.delete(key)
    check("everything is gone again", [r async for r in client.scan(prefix)] == [])
    check("both sides said GOODBYE", await client.close())
    return done


async def run(arguments):
    url = urllib.parse.urlsplit(arguments.url)
    if url.scheme != "kv":
        print(f"cannot speak {url.scheme}: only kv:// (plain TCP)", file=sys.stderr)
        return 2
    secret = None
    if not arguments.anonymous:
        secret = read_key(arguments.key_file or default_key_file())
    try:
        client = await Client.connect(url.hostname, url.port or 7777, url.username or "dev", secret)
    except NotAuthenticated as error:
        print(f"not authenticated: {error}", file=sys.stderr)
        return 5
    except (OSError, asyncio.TimeoutError) as error:
        print(f"cannot connect: {error}", file=sys.stderr)
        return 4
    words = [w.encode() for w in arguments.words]
    if arguments.command == "smoke":
        try:
            done = await asyncio.wait_for(smoke(client), arguments.timeout)
        except (AssertionError, KvError, Closed, asyncio.TimeoutError) as error:
            print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        print("\n".join(f"ok: {name}" for name in done))
        return 0
    if arguments.command == "get":
        reply = await client.get(*words)
        sys.stdout.buffer.write(reply.value + b"\n" if reply else b"")
        return 0 if reply else 1
    if arguments.command == "set":
        print((await client.set(*words)).version)
    elif arguments.command == "del":
        return 0 if await client.delete(*words) else 1
    elif arguments.command == "incr":
        print(await client.incr(*words))
    elif arguments.command == "scan":
        async for reply in client.scan(*words):
            sys.stdout.buffer.write(reply.key + b"\n")
    elif arguments.command == "info":
        print(await client.info(*words))
    await client.close()
    return 0


def main():
    parser = argparse.ArgumentParser(description="reference client of kv")
    parser.add_argument("--url", default="kv://dev@127.0.0.1:7777", help="kv://[keyid@]host:port")
    parser.add_argument("--key-file", help="one line of hex; default as the server makes it")
    parser.add_argument("--anonymous", action="store_true", help="suite 0, without a key")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for smoke")
    parser.add_argument("command", choices=["smoke", "get", "set", "del", "incr", "scan", "info"])
    parser.add_argument("words", nargs="*")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()

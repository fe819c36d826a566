"""A toy server of the kv protocol, for people who write a client: it follows docs/protocol.md to the letter and
says on standard error why it closed a connection, which a real server never does.

    python3 server.py --port 7777 --key-id dev --key-file dev.key     (without --key-file: suite 0 only)

In memory, one operation at a time, slow, without TLS, limits on time or protection against floods. Never
put it on a network.
"""

import argparse
import asyncio
import os
import pathlib
import struct
import sys
import time

import kv_reference as kv
from kv_reference import EXT_BY_NAME as EXT
from kv_reference import OPCODE_BY_NAME as OP
from kv_reference import ProtocolError

MAX_FRAME, MAX_MESSAGE, MAX_IN_FLIGHT, MAX_STREAMS, PING_AFTER_MS = 1 << 20, 16 << 20, 1024, 64, 30000
CODE = {row[1]: row[0] for row in kv.ERRORS}
ROWS = {row[0]: row for row in kv.OPCODES}
UNIMPLEMENTED = {"WATCH", "PUBLISH", "SUBSCRIBE", "BROADCAST", "KILL", "SLOWLOG", "BACKUP"}


class Refused(Exception):
    """An ERR to one request."""

    def __init__(self, code, message="", version=None):
        super().__init__(message)
        self.code, self.message, self.version = code, message or code.lower(), version


def u64(x):
    return struct.pack(">Q", x)


def now_ms():
    return time.time_ns() // 1_000_000


class Store:
    """Entries as (value, content type, version, expiry in Unix ms or None)."""

    def __init__(self):
        self.entries, self.version = {}, 0

    def get(self, key):
        entry = self.entries.get(key)
        if entry and entry[3] is not None and entry[3] <= now_ms():
            del self.entries[key]
            return None
        return entry

    def check(self, key, ext):
        if EXT["IF_VERSION"] in ext:
            wanted = int.from_bytes(ext[EXT["IF_VERSION"]], "big")
            entry = self.get(key)
            present = entry[2] if entry else 0
            if present != wanted and not (wanted == 2**64 - 1 and entry):
                raise Refused("CONFLICT", "the condition did not hold", present)

    def put(self, key, value, content_type, expiry):
        self.version += 1
        self.entries[key] = (value, content_type, self.version, expiry)
        return self.entries[key]


def expiry_of(ext, otherwise=None, touch=False):
    if EXT["TTL_MS"] not in ext:
        return otherwise
    ttl = int.from_bytes(ext[EXT["TTL_MS"]], "big")
    if ttl == 0 and not touch:
        raise Refused("INVALID_ARGUMENT", "TTL_MS is 0")
    return min(now_ms() + ttl, 2**64 - 1) if ttl else None


def metadata(entry, content=True):
    items = [("VERSION", u64(entry[2]))]
    if entry[3] is not None:
        items.append(("TTL_MS", u64(max(1, entry[3] - now_ms()))))
    if content and entry[1]:
        items.append(("CONTENT_TYPE", bytes([entry[1]])))
    return items


def execute(store, name, ext, key, value):
    """One operation: (reply opcode, extension items, value)."""
    returns = ext.get(EXT["RETURN"], b"\0")[0]
    if returns > 3 or ext.get(EXT["CONTENT_TYPE"], b"\0")[0] > 3:
        raise Refused("INVALID_ARGUMENT", "extension out of range")
    if not key or (value and name in ("GET", "DEL", "TOUCH")):
        raise Refused("INVALID_ARGUMENT", "key or value of a wrong form")
    store.check(key, ext)
    entry = store.get(key)
    length = [("VALUE_LEN", struct.pack(">I", len(entry[0])))] if entry else []
    shown = b"" if returns & 2 or entry is None else entry[0]
    if name == "GET":
        return (OP["OK"], metadata(entry) + (length if returns & 2 else []), shown) if entry else (OP["NOTFOUND"], [], b"")
    if name == "SET":
        new = store.put(key, value, ext.get(EXT["CONTENT_TYPE"], b"\0")[0], expiry_of(ext))
        items = metadata(new, content=False) + (length if returns & 1 else [])
        if entry and returns & 1 and entry[1]:
            items.append(("CONTENT_TYPE", bytes([entry[1]])))
        return OP["OK"], items, shown if returns & 1 else b""
    if name == "DEL":
        if not entry:
            return OP["NOTFOUND"], [], b""
        del store.entries[key]
        if returns & 1:
            return OP["OK"], [i for i in metadata(entry) if i[0] != "TTL_MS"] + length, shown
        return OP["OK"], [], b""
    if name == "TOUCH":
        if not entry:
            return OP["NOTFOUND"], [], b""
        return OP["OK"], metadata(store.put(key, entry[0], entry[1], expiry_of(ext, touch=True)), content=False), b""
    if len(value) not in (0, 8):
        raise Refused("INVALID_ARGUMENT", "a delta is 8 bytes")
    delta = struct.unpack(">q", value)[0] if value else 1
    text = entry[0].decode("ascii", "replace") if entry else "0"
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()) or not -(2**63) <= int(text) + delta < 2**63 or not -(2**63) <= int(text) < 2**63:
        raise Refused("WRONG_TYPE", "not a decimal number of 64 bits")
    total = int(text) + delta
    new = store.put(key, str(total).encode(), entry[1] if entry else 0, expiry_of(ext, entry[3] if entry else None))
    return OP["OK"], metadata(new, content=False), struct.pack(">q", total)


class Connection:
    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        self.streams = {}
        self.assembler = kv.Assembler(MAX_MESSAGE)

    async def raw_frame(self, limit):
        head = await self.reader.readexactly(16)
        if head[:2] != kv.MAGIC:
            raise ProtocolError("magic")
        got = kv.HEADER.unpack(head)
        if got[5] + got[6] + got[7] > limit:
            raise ProtocolError("limit", "frame body")
        return head + await self.reader.readexactly(32 + got[5] + got[6] + got[7])

    def refuse(self, text):
        value = text.encode()
        self.writer.write(kv.header(1, OP["ERR"], 0, 0, 0, 0, len(value)) + kv.ZERO_TAG + value)

    async def run(self):
        try:
            if await self.handshake():
                await self.session()
        except asyncio.IncompleteReadError as error:
            why = "the client closed" if not error.partial else "the client closed within a frame"
            print(why, file=sys.stderr)
        except ProtocolError as error:
            print(f"closed: {error}", file=sys.stderr)
        except ConnectionError as error:
            print(f"lost: {error}", file=sys.stderr)
        finally:
            self.writer.close()

    async def handshake(self):
        hello = await self.raw_frame(kv.HANDSHAKE_BODY_MAX)
        if hello[2] != 2:
            self.refuse("UNSUPPORTED_VERSION: supported versions 2-2")
            return False
        got = kv.parse_header(hello)
        if (got["opcode"], got["request_id"], got["flags"], got["ext_len"], got["key_len"]) != (OP["HELLO"], 0, 0, 0, 0):
            raise ProtocolError("violation", "not HELLO")
        if hello[16:48] != kv.ZERO_TAG:
            raise ProtocolError("violation", "HELLO with a tag")
        offer = kv.parse_hello(hello[48:])
        if not offer["version_min"] <= 2 <= offer["version_max"]:
            self.refuse("UNSUPPORTED_VERSION: supported versions 2-2")
            return False
        allowed = [1, 2] if self.server.secret else [0]
        suite = next((s for s in offer["suites"] if s in allowed and (s != 2 or offer["share"])), None)
        if suite is None:
            raise ProtocolError("violation", f"no common suite, {offer['suites']} offered and {allowed} allowed")
        items = [(1, b"\x02"), (2, bytes([suite])), (3, bytes(4)), (4, os.urandom(16)), (5, os.urandom(32)), (6, b"kv-toy/1")]
        shared = None
        if suite == 2:
            mine = os.urandom(32)
            shared = kv.x25519(mine, offer["share"])
            if shared == kv.ZERO_32:
                raise ProtocolError("violation", "X25519 share of small order")
            items.append((7, kv.x25519(mine, kv.X25519_BASE)))
        items.append((8, struct.pack(">5I", MAX_FRAME, MAX_MESSAGE, MAX_IN_FLIGHT, MAX_STREAMS, PING_AFTER_MS)))
        bare = kv.frame(2, OP["WELCOME"], 0, 0, b"", b"", kv.fields(items), kv.ZERO_TAG)
        proof, keys = b"", None
        if suite == 0:
            tag = kv.checksum_tag(bare[:16], bare[48:])
        else:
            secret = self.server.secret if offer["key_id"] == self.server.key_id else self.server.unknown
            th = kv.transcript_hash(hello, bare)
            keys = kv.key_schedule(secret, shared, None, suite, th)
            tag = kv.hmac(keys["s_conf"], b"kv/2 server" + th)
            proof = kv.hmac(keys["c_conf"], b"kv/2 client" + th)
        self.writer.write(bare[:16] + tag + bare[48:])
        self.inn, self.out = kv.Direction(suite, "c2s", keys), kv.Direction(suite, "s2c", keys)
        got, ext, key, value = self.inn.open(await self.raw_frame(kv.HANDSHAKE_BODY_MAX))
        if (got["opcode"], got["request_id"], ext, key) != (OP["AUTH"], 0, b"", b"") or value != proof:
            raise ProtocolError("auth", "AUTH")
        identity = offer["key_id"] if suite else "anonymous"
        self.send(OP["READY"], 0, value=kv.typed(kv.Map([("identity", identity), ("permissions", ["read", "write", "scan", "observe"])])))
        return True

    def send(self, opcode, request_id, items=(), key=b"", value=b""):
        for flags, ext, piece_key, piece in kv.cut(opcode, request_id, 0, list(items), key, value, 65536):
            self.writer.write(self.out.seal(opcode, request_id, flags, ext, piece_key, piece))

    def fail(self, request_id, refused, key=b""):
        items = [("VERSION", u64(refused.version))] if refused.version is not None else []
        self.send(OP["ERR"], request_id, items, key, kv.error_body(CODE[refused.code], 0, refused.message))

    async def session(self):
        while True:
            got, ext, key, value = self.inn.open(await self.raw_frame(MAX_FRAME))
            if got["opcode"] >= 128:
                raise ProtocolError("violation", "an opcode of the other direction")
            if self.control(got, ext, key, value):
                if got["opcode"] == OP["GOODBYE"]:
                    await self.writer.drain()
                    return
                continue
            if got["request_id"] == 0:
                raise ProtocolError("violation", "a request with id 0")
            if got["flags"] & kv.COMPRESSED:
                raise ProtocolError("violation", "COMPRESSED, which was not agreed")
            try:
                event = self.assembler.feed(got, ext, key, value)
            except ProtocolError as error:
                if error.kind in ("continuation", "limit"):
                    raise
                event = ("message", {"opcode": got["opcode"], "request_id": got["request_id"], "flags": 0, "ext": ext, "key": key, "value": value})
            if event and event[0] == "refused":
                self.fail(got["request_id"], Refused(event[1]))
            elif event:
                self.request(event[1])
            await self.writer.drain()

    def control(self, got, ext, key, value):
        opcode, rid = got["opcode"], got["request_id"]
        if not 16 <= opcode <= 24 or opcode == OP["ECHO"]:
            return False
        form = {"PING": rid == 0 and len(value) <= 64, "PONG": rid == 0 and len(value) <= 64, "CANCEL": rid and not value,
                "CREDIT": rid and len(value) == 4, "KEY_UPDATE": rid == 0 and self.inn.suite and value == struct.pack(">I", self.inn.epoch + 1),
                "GOODBYE": rid == 0 and not value}
        name = kv.OPCODE_NAMES[opcode]
        if ext or key or not form.get(name) or got["flags"] & ~kv.ENCRYPTED:
            raise ProtocolError("violation", f"{name} of a wrong form, or not here")
        if name == "PING":
            self.send(OP["SERVER_PONG"], 0, value=value)
        elif name == "KEY_UPDATE":
            self.inn.update()
            self.send(OP["SERVER_KEY_UPDATE"], 0, value=struct.pack(">I", self.out.epoch + 1))
            self.out.update()
        elif name == "CREDIT" and rid in self.streams:
            self.streams[rid][1] += int.from_bytes(value, "big")
            if self.streams[rid][1] > 2**32 - 1:
                raise ProtocolError("violation", "credit above 2^32-1")
            self.pump(rid)
        elif name == "CANCEL" and (rid in self.streams or rid in self.assembler.partial):
            partial = self.assembler.partial.pop(rid, None)
            # A message that was refused has had its final reply.
            if self.streams.pop(rid, None) or (partial and partial[5] is not None):
                self.send(OP["END"], rid)
        elif name == "GOODBYE":
            for rid in list(self.streams):
                self.send(OP["END"], rid)
            self.send(OP["SERVER_GOODBYE"], 0)
        return True

    def extensions(self, opcode, block):
        row = ROWS[opcode]
        listed = [EXT[n] for n in row[6].split()] + [EXT["DEADLINE_MS"], EXT["TRACE"]]
        try:
            ext = dict(kv.parse_extensions(block, listed))
        except ProtocolError as error:
            code = "UNSUPPORTED" if error.kind == "unsupported" else "INVALID_ARGUMENT"
            raise Refused(code, str(error)) from error
        if EXT["IDEMPOTENCY"] in ext:
            raise Refused("UNSUPPORTED", "IDEMPOTENCY")
        if ext.get(EXT["DEADLINE_MS"]) == bytes(4):
            raise Refused("DEADLINE_EXCEEDED")
        return ext

    def request(self, message):
        rid, opcode = message["request_id"], message["opcode"]
        try:
            if rid in self.streams:
                raise Refused("INVALID_ARGUMENT", "request id in flight")
            name = kv.OPCODE_NAMES.get(opcode)
            if name is None or name in UNIMPLEMENTED or 48 <= opcode < 64:
                raise Refused("UNSUPPORTED", f"opcode {opcode}")
            ext = self.extensions(opcode, message["ext"])
            key, value = message["key"], message["value"]
            if name == "SCAN":
                self.scan(rid, ext, key, value)
            elif name == "BATCH":
                self.batch(rid, ext, key, value)
            elif name == "ECHO":
                if key:
                    raise Refused("INVALID_ARGUMENT", "ECHO has no key")
                self.send(OP["OK"], rid, [("CONTENT_TYPE", d) for t, d in ext.items() if t == EXT["CONTENT_TYPE"]], b"", value)
            elif name == "INFO":
                server = kv.Map([("name", "kv-toy"), ("version", "1"), ("uptime_seconds", 1)])
                if key not in (b"", b"server"):
                    raise Refused("INVALID_ARGUMENT", "no such section")
                self.send(OP["OK"], rid, [("CONTENT_TYPE", b"\x02")], b"", kv.typed(kv.Map([("server", server)])))
            elif name == "CLIENTS":
                self.send(OP["OK"], rid, [("CONTENT_TYPE", b"\x02")], b"", kv.typed([]))
            else:
                opcode, items, answer = execute(self.server.store, name, ext, key, value)
                self.send(opcode, rid, items, b"", answer)
        except Refused as refused:
            self.fail(rid, refused)

    def scan(self, rid, ext, prefix, cursor):
        limit = int.from_bytes(ext[EXT["LIMIT"]], "big") if EXT["LIMIT"] in ext else 2**32
        if limit == 0:
            raise Refused("INVALID_ARGUMENT", "LIMIT of 0")
        if len(self.streams) >= MAX_STREAMS:
            raise Refused("TOO_MANY_IN_FLIGHT")
        reverse = EXT["REVERSE"] in ext
        keys = sorted((k for k in self.server.store.entries if k.startswith(prefix)), reverse=reverse)
        if cursor:
            keys = [k for k in keys if (k < cursor if reverse else k > cursor)]
        credit = int.from_bytes(ext[EXT["CREDIT"]], "big") if EXT["CREDIT"] in ext else 256
        self.streams[rid] = [keys[:limit], credit, ext.get(EXT["RETURN"], b"\0")[0]]
        self.pump(rid)

    def pump(self, rid):
        keys, credit, returns = self.streams[rid]
        while keys and credit:
            key = keys.pop(0)
            entry = self.server.store.get(key)
            if entry is None:
                continue
            credit -= 1
            items = metadata(entry)
            if returns & 2:
                items.append(("VALUE_LEN", struct.pack(">I", len(entry[0]))))
            self.send(OP["ITEM"], rid, items, key, b"" if returns & 2 else entry[0])
        self.streams[rid][1] = credit
        if not keys:
            del self.streams[rid]
            self.send(OP["END"], rid)

    def batch(self, rid, ext, key, value):
        try:
            items = kv.parse_batch(value)
        except ProtocolError as error:
            raise Refused("TOO_LARGE" if error.kind == "too_large" else "INVALID_ARGUMENT", str(error)) from error
        if key:
            raise Refused("INVALID_ARGUMENT", "BATCH has no key")
        atomic, store, replies = EXT["ATOMIC"] in ext, self.server.store, []
        before = dict(store.entries)
        for index, (opcode, _, block, inner_key, inner_value) in enumerate(items):
            try:
                if kv.OPCODE_NAMES.get(opcode) not in ("GET", "SET", "DEL", "INCR", "TOUCH"):
                    raise Refused("UNSUPPORTED", f"opcode {opcode} in a BATCH")
                inner = self.extensions(opcode, block)
                done, answer_items, answer = execute(store, kv.OPCODE_NAMES[opcode], inner, inner_key, inner_value)
                replies.append((done, index, kv.extensions(answer_items), b"", answer))
            except Refused as refused:
                if atomic:
                    store.entries = before
                    refused.message = f"item {index}: {refused.message}"
                    return self.fail(rid, refused, struct.pack(">I", index))
                version = kv.extensions([("VERSION", u64(refused.version))]) if refused.version is not None else b""
                replies.append((OP["ERR"], index, version, b"", kv.error_body(CODE[refused.code], 0, refused.message)))
        self.send(OP["OK"], rid, [], b"", kv.batch(replies))


class Server:
    def __init__(self, key_id, secret):
        self.key_id, self.secret, self.unknown, self.store = key_id, secret, os.urandom(32), Store()

    async def accept(self, reader, writer):
        await Connection(self, reader, writer).run()


async def serve(arguments):
    secret = bytes.fromhex(pathlib.Path(arguments.key_file).read_text().strip()) if arguments.key_file else None
    listener = await asyncio.start_server(Server(arguments.key_id, secret).accept, "127.0.0.1", arguments.port)
    print(f"listening on 127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    async with listener:
        await listener.serve_forever()


def main():
    parser = argparse.ArgumentParser(description="toy server of the kv protocol")
    parser.add_argument("--port", type=int, default=7777, help="0 for any that is free")
    parser.add_argument("--key-id", default="dev")
    parser.add_argument("--key-file", help="one line of hex; without it suite 0 only")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

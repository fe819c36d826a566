"""Makes docs/protocol/vectors/*.json and the generated blocks of docs/protocol.md.

    python3 generate.py            write them
    python3 generate.py --check    fail if they differ from what would be written

Everything is computed by kv_reference.py from fixed inputs, so two runs give the same bytes. Where the
packages `cryptography`, `lz4` and `msgpack` are installed, results are compared with theirs as well.
"""

import hashlib
import json
import pathlib
import struct
import sys

import kv_reference as kv
from kv_reference import OPCODE_BY_NAME as OP
from kv_reference import ProtocolError

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
PROTOCOL = HERE.parent.parent / "protocol.md"


def b(label, n=32):
    """n fixed bytes that look random: SHA-256 of a label, as often as needed."""
    out = b""
    while len(out) < n:
        out += hashlib.sha256(f"kv vector {label} {len(out)}".encode()).digest()
    return out[:n]


def u32(x):
    return struct.pack(">I", x)


def u64(x):
    return struct.pack(">Q", x)


def pattern(n):
    """A value whose bytes show where a piece went wrong."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(n))


def error_of(function, *arguments):
    try:
        function(*arguments)
    except ProtocolError as error:
        return error.kind
    return None


# ---------------------------------------------------------------------------------------------


def header_vectors():
    out = []

    def add(name, data):
        vector = {"name": name, "header": data.hex()}
        error = error_of(kv.parse_header, data)
        out.append(vector | ({"error": error} if error else kv.parse_header(data)))

    add("version 1 GET", kv.header(1, 1, 1, 0, 0, 5, 0))
    add("version 1 SET with the largest lengths", kv.header(1, 2, 0xFFFFFFFF, 0, 0, 0xFFFF, 0xFFFFFFFF))
    add("version 2 SET with extensions", kv.header(2, 2, 7, 0, 20, 8, 64))
    add("version 2 every field different", kv.header(2, 8, 0x01020304, 4, 0x05, 0x0607, 0x08090A0B))
    add("version 2 all three flags", kv.header(2, 2, 9, 7, 255, 65535, 1))
    add("version 2 unknown opcode is well formed", kv.header(2, 99, 9, 0, 0, 0, 0))
    add("version 2 OK", kv.header(2, 128, 0x7FFFFFFF, 0, 10, 0, 3))
    good = kv.header(2, 1, 1, 0, 0, 5, 0)
    add("first magic byte wrong", b"\xcb" + good[1:])
    add("second magic byte wrong", good[:1] + b"\xff" + good[2:])
    add("text of another protocol", b"GET / HTTP/1.1\r\n")
    add("TLS record", bytes.fromhex("16030100c8010000c40303000102030405"[:32]))
    add("version 0", kv.header(0, 1, 1, 0, 0, 5, 0))
    add("version 3", kv.header(3, 1, 1, 0, 0, 5, 0))
    add("version 255", kv.header(255, 1, 1, 0, 0, 5, 0))
    add("version 1 with a flag", kv.header(1, 1, 1, 1, 0, 5, 0))
    add("version 1 with the reserved byte set", kv.header(1, 1, 1, 0, 1, 5, 0))
    for bit in range(3, 8):
        add(f"version 2 with reserved flag bit {bit}", kv.header(2, 1, 1, 1 << bit, 0, 5, 0))
    for n in (0, 1, 2, 15):
        add(f"only {n} bytes", good[:n])
    return "A header of 16 bytes, read by a receiver that speaks versions 1 and 2", out


def v1_vectors():
    secret = b("v1 secret")
    out = []

    def add(name, opcode, request_id, key=b"", value=b""):
        data = kv.v1_frame(secret, OP[opcode], request_id, key, value)
        out.append({
            "name": name, "secret": secret.hex(), "frame": data.hex(), "opcode": OP[opcode],
            "request_id": request_id, "key": key.hex(), "value": value.hex(),
        })
        return data

    add("GET", "GET", 1, b"greeting")
    data = add("SET", "SET", 2, b"greeting", b"hello")
    add("SET with an empty value", "SET", 3, b"k", b"")
    add("SET with bytes that are not text", "SET", 4, bytes(range(0, 256, 17)), pattern(300))
    add("DEL", "DEL", 0xFFFFFFFF, b"greeting")
    add("OK with a value", "OK", 1, b"", b"hello")
    add("OK without", "OK", 2)
    add("NOTFOUND", "NOTFOUND", 5)
    add("ERR", "ERR", 0, b"", b"INVALID_ARGUMENT: a request id must be greater than all before it")
    add("ERR for a version, tagged", "ERR", 0, b"", b"UNSUPPORTED_VERSION: supported versions 1-2")

    def bad(name, data, key=secret):
        out.append({"name": name, "secret": key.hex(), "frame": data.hex(), "error": error_of(kv.v1_open, key, data)})

    for i in (2, 3, 4, 7, 11, 15, 16, 47, 48, 55, 56, 60):
        wrong = bytearray(data)
        wrong[i] ^= 1
        if i == 2:
            continue  # the version: another protocol, not another frame
        bad(f"SET with a bit of byte {i} flipped", bytes(wrong))
    bad("SET under another secret", data, b("another secret"))
    bad("SET with a tag of zeros", kv.zero_tag(data))
    return "Version 1 frames: tag = HMAC(secret, header || key || value)", out


# The session the other vectors use: one per suite and kind of transport.

CLIENT_SECRET = b("client x25519 secret")
SERVER_SECRET = b("server x25519 secret")


def limits(max_frame=1 << 20, max_message=16 << 20, in_flight=1024, streams=64, ping=30000):
    return struct.pack(">5I", max_frame, max_message, in_flight, streams, ping)


def session(name, suite, offered, psk=None, key_id=None, exporter=None, capabilities=(0, 0),
            server_name="localhost", software=("kv-client/0.1.0", "kv-server/0.1.0"), identity="dev",
            permissions=("read", "write", "scan"), extra=()):
    shares = 2 in offered
    hello_fields = [(1, bytes([2, 2])), (2, bytes(offered)), (3, u32(capabilities[0]))]
    if key_id:
        hello_fields.append((4, key_id.encode()))
    hello_fields.append((5, b("client nonce " + name)))
    if server_name:
        hello_fields.append((6, server_name.encode()))
    if shares:
        hello_fields.append((7, kv.x25519(CLIENT_SECRET, kv.X25519_BASE)))
    hello_fields.append((8, software[0].encode()))
    hello_fields += extra
    hello = kv.frame(2, OP["HELLO"], 0, 0, b"", b"", kv.fields(hello_fields), kv.ZERO_TAG)

    welcome_fields = [(1, b"\x02"), (2, bytes([suite])), (3, u32(capabilities[1])), (4, b("session " + name, 16)),
                      (5, b("server nonce " + name)), (6, software[1].encode())]
    if suite == 2:
        welcome_fields.append((7, kv.x25519(SERVER_SECRET, kv.X25519_BASE)))
    welcome_fields.append((8, limits()))
    bare = kv.frame(2, OP["WELCOME"], 0, 0, b"", b"", kv.fields(welcome_fields), kv.ZERO_TAG)

    shared = None
    if suite == 2:
        shared = kv.x25519(CLIENT_SECRET, kv.x25519(SERVER_SECRET, kv.X25519_BASE))
        assert shared == kv.x25519(SERVER_SECRET, kv.x25519(CLIENT_SECRET, kv.X25519_BASE))
    th = kv.transcript_hash(hello, bare, exporter)
    secret = psk if psk is not None else kv.ZERO_32
    vector = {
        "name": name, "suite": suite, "psk": secret.hex(), "key_id": key_id,
        "exporter": exporter.hex() if exporter else None,
        "client_nonce": b("client nonce " + name).hex(), "server_nonce": b("server nonce " + name).hex(),
        "session_id": b("session " + name, 16).hex(),
        "client_x25519_secret": CLIENT_SECRET.hex() if shares else None,
        "server_x25519_secret": SERVER_SECRET.hex() if suite == 2 else None,
        "x25519_shared": shared.hex() if shared else None,
        "transport": kv.transport(exporter).hex(),
        "transcript_hash": th.hex(),
    }
    keys = None
    if suite == 0:
        tag = kv.checksum_tag(bare[:16], bare[48:])
        proof = b""
    else:
        keys = kv.key_schedule(secret, shared, exporter, suite, th)
        vector |= {k: v.hex() for k, v in keys.items()}
        tag = kv.hmac(keys["s_conf"], b"kv/2 server" + th)
        proof = kv.hmac(keys["c_conf"], b"kv/2 client" + th)
    welcome = bare[:16] + tag + bare[48:]
    c2s, s2c = kv.Direction(suite, "c2s", keys), kv.Direction(suite, "s2c", keys)
    granted = kv.typed(kv.Map([("identity", identity), ("permissions", list(permissions))]))
    vector |= {
        "hello": hello.hex(), "welcome": welcome.hex(), "welcome_tag": tag.hex(), "auth_value": proof.hex(),
        "auth": c2s.seal(OP["AUTH"], 0, value=proof).hex(), "ready_value": granted.hex(),
        "ready": s2c.seal(OP["READY"], 0, value=granted).hex(), "identity": identity, "permissions": list(permissions),
    }
    return vector, c2s, s2c


def sessions():
    psk = b("psk")
    return [
        session("suite 1 plain", 1, [1], psk, "dev"),
        session("suite 1 over TLS", 1, [2, 1], psk, "dev", b("exporter"), server_name="kv.example"),
        session("suite 1 certificate over TLS", 1, [1], None, None, b("exporter"), identity="client.example"),
        session("suite 1 with lz4, a long key and an unknown field", 1, [9, 1], b("long psk", 64), "app-é",
                capabilities=(0x80000001, 1), extra=[(200, b"later")]),
        session("suite 2 plain", 2, [2, 1], psk, "dev"),
        session("suite 2 over TLS", 2, [2], psk, "dev", b("exporter")),
        session("suite 0", 0, [0], identity="anonymous", permissions=("read",)),
    ]


def handshake_vectors():
    return "Whole handshakes with every secret and every intermediate value", [s[0] for s in sessions()]


def field_vectors():
    out = []

    def show(value):
        return value.hex() if isinstance(value, bytes) else value

    def add(name, role, data):
        parse = kv.parse_hello if role == "hello" else kv.parse_welcome
        vector = {"name": name, "role": role, "value": data.hex()}
        error = error_of(parse, data)
        out.append(vector | ({"error": error} if error else {k: show(v) for k, v in parse(data).items()}))

    nonce, share = b("n"), kv.x25519(CLIENT_SECRET, kv.X25519_BASE)
    base = {1: bytes([2, 2]), 2: b"\x01", 5: nonce}

    def hello(name, change, raw=None):
        items = base | change
        data = raw if raw is not None else kv.fields([(t, d) for t, d in sorted(items.items()) if d is not None])
        add("HELLO: " + name, "hello", data)

    hello("the least HELLO", {})
    hello("all fields", {2: bytes([2, 1]), 3: u32(3), 4: b"dev", 6: b"kv.example", 7: share, 8: b"x/1"})
    hello("unknown fields between and after", {9: b"", 100: b"abc", 255: bytes(300)})
    hello("unknown field 0 in front", {0: b"x"})
    hello("range up to a later version", {1: bytes([2, 9])})
    hello("key id of 64 bytes", {4: b"k" * 64})
    hello("suites that nobody knows yet", {2: bytes(range(3, 103))})
    hello("no suites", {2: b""})
    hello("suite 2 without share is well formed", {2: bytes([2, 1])})
    hello("range begins at 1", {1: bytes([1, 2])})
    hello("empty names", {6: b"", 8: b""})
    hello("names of 255 bytes", {6: b"n" * 255, 8: b"s" * 255})
    hello("version range is missing", {1: None})
    hello("suites are missing", {2: None})
    hello("nonce is missing", {5: None})
    hello("range turned around", {1: bytes([3, 2])})
    hello("range of one byte", {1: b"\x02"})
    hello("nonce of 31 bytes", {5: nonce[:31]})
    hello("nonce of 33 bytes", {5: nonce + b"x"})
    hello("empty key id", {4: b""})
    hello("key id of 65 bytes", {4: b"k" * 65})
    hello("key id that is not UTF-8", {4: b"\xff\xfe"})
    hello("capabilities of 3 bytes", {3: bytes(3)})
    hello("share of 31 bytes", {2: b"\x02", 7: share[:31]})
    hello("server name of 256 bytes", {6: b"n" * 256})
    hello("software that is not UTF-8", {8: b"\xc3\x28"})
    good = kv.fields(sorted(base.items()))
    hello("empty value", {}, b"")
    hello("a byte too many", {}, good + b"\x00")
    hello("cut in a length", {}, good + b"\x06\x00")
    hello("cut in a field", {}, good[:-1])
    hello("a field twice", {}, good + kv.fields([(5, nonce)]))
    hello("fields out of order", {}, good + kv.fields([(3, u32(0))]))

    wbase = {1: b"\x02", 2: b"\x01", 3: u32(0), 4: b("s", 16), 5: nonce, 8: limits()}

    def welcome(name, change):
        items = wbase | change
        add("WELCOME: " + name, "welcome", kv.fields([(t, d) for t, d in sorted(items.items()) if d is not None]))

    welcome("the least WELCOME", {})
    welcome("all fields", {2: b"\x02", 3: u32(1), 6: b"kv-server/0.1.0", 7: share, 30: b"later"})
    welcome("smallest and largest limits", {8: limits(16384, 16384, 1, 1, 1)})
    welcome("largest frame", {8: limits(16 << 20, 0xFFFFFFFF)})
    welcome("without capabilities", {3: None})
    welcome("limits of a later edition", {8: limits() + u32(7)})
    welcome("no streams", {8: limits(streams=0)})
    for tag, what in [(1, "version"), (2, "suite"), (4, "session id"), (5, "nonce"), (8, "limits")]:
        welcome(f"{what} missing", {tag: None})
    welcome("session id of 15 bytes", {4: bytes(15)})
    welcome("limits of 16 bytes", {8: limits()[:16]})
    welcome("max_frame too small", {8: limits(16383)})
    welcome("max_frame too large", {8: limits((16 << 20) + 1, 0xFFFFFFFF)})
    welcome("limits of 22 bytes", {8: limits() + b"xx"})
    welcome("max_message of zero", {8: limits(max_message=0)})
    welcome("max_in_flight of zero", {8: limits(in_flight=0)})
    welcome("ping_after_ms of zero", {8: limits(ping=0)})
    welcome("share outside of suite 2", {7: share})
    welcome("suite 2 without share", {2: b"\x02"})
    return "Values of HELLO and WELCOME as lists of fields", out


def key_update(direction, opcode):
    frame = direction.seal(opcode, 0, value=u32(direction.epoch + 1))
    return frame


def session_vectors():
    out = []
    for vector, c2s, s2c in sessions():
        if vector["name"] not in ("suite 1 plain", "suite 2 plain", "suite 0", "suite 1 over TLS"):
            continue
        for direction, label in ((c2s, "c2s"), (s2c, "s2c")):
            def add(name, opcode, request_id, flags=0, ext=b"", key=b"", value=b"", d=direction, label=label):
                entry = {
                    "name": f"{vector['name']}, {label}, seq {d.seq}: {name}", "session": vector["name"],
                    "suite": vector["suite"], "direction": label, "seq": d.seq, "epoch": d.epoch,
                    "mac_key": d.mac_key.hex() if d.suite else None,
                    "cipher_key": d.cipher_key.hex() if d.suite == 2 else None,
                    "iv": d.iv.hex() if d.suite == 2 else None,
                    "opcode": opcode, "request_id": request_id,
                    "flags": flags | (kv.ENCRYPTED if d.suite == 2 else 0),
                    "ext": ext.hex(), "key": key.hex(), "value": value.hex(),
                }
                entry["frame"] = d.seal(opcode, request_id, flags, ext, key, value).hex()
                out.append(entry)

            if label == "c2s":
                add("SET", OP["SET"], 1, ext=kv.extensions([("TTL_MS", u64(60000)), ("CONTENT_TYPE", b"\x01"),
                                                            ("IF_VERSION", u64(0))]), key=b"greeting", value=b"hello")
                add("GET", OP["GET"], 2, key=b"greeting")
                add("PING", OP["PING"], 0, value=b"01234567")
            else:
                add("OK of SET", OP["OK"], 1, ext=kv.extensions([("VERSION", u64(41)), ("TTL_MS", u64(60000))]))
                add("OK of GET", OP["OK"], 2, ext=kv.extensions([("VERSION", u64(41)), ("TTL_MS", u64(59999)),
                                                                 ("CONTENT_TYPE", b"\x01")]), value=b"hello")
                add("PONG", OP["SERVER_PONG"], 0, value=b"01234567")
            if vector["suite"]:
                for _ in range(2):
                    update = OP["KEY_UPDATE"] if label == "c2s" else OP["SERVER_KEY_UPDATE"]
                    add(f"KEY_UPDATE to epoch {direction.epoch + 1}", update, 0, value=u32(direction.epoch + 1))
                    direction.update()
                    if label == "c2s":
                        add("DEL after it", OP["DEL"], 3 + direction.epoch, key=b"greeting")
                    else:
                        add("NOTFOUND after it", OP["NOTFOUND"], 3 + direction.epoch)
            if label == "c2s":
                add("an empty body", OP["GOODBYE"], 0)
            else:
                add("GOAWAY", OP["GOAWAY"], 0, value=u32(5) + b"stopping")
                add("an empty body", OP["SERVER_GOODBYE"], 0)

    def opener(entry):
        keys = {f"{entry['direction']}_{k}": bytes.fromhex(entry[f]) if entry[f] else None
                for k, f in (("mac", "mac_key"), ("key", "cipher_key"), ("iv", "iv"))}
        d = kv.Direction(entry["suite"], entry["direction"], keys)
        d.seq = entry["seq"]
        return d

    for entry in list(out):
        got, ext, key, value = opener(entry).open(bytes.fromhex(entry["frame"]))
        assert (ext.hex(), key.hex(), value.hex()) == (entry["ext"], entry["key"], entry["value"])

    def bad(name, entry, **change):
        wrong = {k: v for k, v in entry.items() if k not in ("opcode", "request_id", "flags", "ext", "key", "value")}
        wrong |= change
        wrong["name"] = f"{entry['session']}, {entry['direction']}: {name}"
        wrong["error"] = error_of(opener(wrong).open, bytes.fromhex(wrong["frame"]))
        assert wrong["error"], name
        out.append(wrong)

    for suite in (0, 1, 2):
        entries = [e for e in out if e["session"] == f"suite {suite}" + (" plain" if suite else "") and "error" not in e]
        first, second = entries[0], entries[1]
        frame = bytes.fromhex(first["frame"])
        for i in (3, 7, 8, 9, 11, 15, 16, 19, 47, 48, len(frame) - 1):
            wrong = bytearray(frame)
            wrong[i] ^= 4 if i == 8 else 1
            bad(f"bit of byte {i} flipped", first, frame=bytes(wrong).hex())
        bad("tag of zeros", first, frame=kv.zero_tag(frame).hex())
        if suite:
            bad("replayed: the frame of seq 1 where seq 2 is due", first, seq=2)
            bad("dropped: the frame of seq 2 where seq 1 is due", second, seq=1)
            other = next(e for e in entries if e["direction"] == "s2c")
            bad("reflected: a frame of the other direction", first, frame=other["frame"])
            later = next(e for e in entries if e["epoch"] == 1)
            bad("under the keys of the epoch before", later, mac_key=first["mac_key"], cipher_key=first["cipher_key"])
        else:
            wrong = bytearray(frame)
            wrong[40] = 1
            bad("a byte after the checksum", first, frame=bytes(wrong).hex())
    for suite in (1, 2):  # authentic, but the flag contradicts the suite
        entry = next(e for e in out if e["session"] == f"suite {suite} plain" and "error" not in e)
        d = opener(entry)
        head = kv.header(2, 1, 9, 0 if suite == 2 else kv.ENCRYPTED, 0, 1, 0)
        bad("flag ENCRYPTED against the suite", entry, frame=(head + d.tag(head, b"k") + b"k").hex())
    return "Sealed frames: tag, sequence number, encryption, KEY_UPDATE", out


def extension_vectors():
    out = []

    def add(name, block, opcode=None):
        listed = None
        if opcode:
            row = next(r for r in kv.OPCODES if r[1] == opcode)
            names = row[6].split() + (["DEADLINE_MS", "TRACE"] if row[0] < 128 else [])
            listed = [kv.EXT_BY_NAME[n] for n in names]
        vector = {"name": name, "opcode": OP[opcode] if opcode else None, "block": block.hex()}
        error = error_of(kv.parse_extensions, block, listed)
        if error:
            out.append(vector | {"error": error})
        else:
            items = kv.parse_extensions(block, listed)
            out.append(vector | {"items": [{"tag": t, "bytes": d.hex()} for t, d in items]})

    add("empty", b"")
    for tag, name, least, most, _, _ in kv.EXTENSIONS:
        add(f"{name} alone", kv.extensions([(name, b(name, most))]))
        if least != most:
            add(f"{name} of the least length", kv.extensions([(name, b(name, least))]))
        add(f"{name} one byte too long", kv.extensions([(name, b(name, most + 1))]))
        if most:
            add(f"{name} one byte too short", kv.extensions([(name, b(name, least - 1))]))
    everything = kv.extensions([(r[1], b(r[1], r[2])) for r in kv.EXTENSIONS])
    add("all extensions", everything)
    ttl, content = ("TTL_MS", u64(1000)), ("CONTENT_TYPE", b"\x02")
    add("SET: life, content type and condition", kv.extensions([ttl, content, ("IF_VERSION", u64(7))]), "SET")
    add("unknown optional items are skipped", kv.extensions([ttl, (0x30, b"later"), (0x7F, b"")]), "SET")
    add("unknown critical item", kv.extensions([ttl, (0xC0, b"later")]), "SET")
    add("unknown critical item without bytes", kv.extensions([(0xFF, b"")]), "GET")
    add("optional item that the command does not have", kv.extensions([ttl, ("RETURN", b"\x02")]), "GET")
    add("optional item that the command does not have, of a wrong length", kv.extensions([("TTL_MS", b"")]), "GET")
    add("critical item that the command does not have", kv.extensions([("ATOMIC", b"")]), "GET")
    add("deadline and trace go with every request", kv.extensions([("DEADLINE_MS", u32(5)), ("TRACE", b("t", 25))]), "SCAN")
    add("not ascending", kv.extensions([content]) + kv.extensions([ttl]))
    add("twice", kv.extensions([ttl]) * 2)
    add("unknown optional item twice", kv.extensions([(0x30, b"")]) * 2)
    add("cut after the tag", b"\x01")
    add("cut in an item", kv.extensions([ttl])[:-1])
    add("cut in an unknown item", bytes([0x30, 9]) + b"12345678")
    add("a byte too many", kv.extensions([ttl]) + b"\x05")
    add("a block of 255 bytes", kv.extensions([(0x30, bytes(253))]))
    return "Extension blocks; `opcode` null: every known extension has a meaning", out


def continuation_vectors():
    out = []

    def wire(opcode, request_id, parts):
        return [kv.header(2, opcode, request_id, f, len(e), len(k), len(v)) + e + k + v for f, e, k, v in parts]

    def add(name, frames, max_message=16 << 20, max_unfinished=64):
        assembler = kv.Assembler(max_message, max_unfinished)
        events, error = [], None
        for i, data in enumerate(frames):
            got = kv.parse_header(data)
            a = 16 + got["ext_len"]
            c = a + got["key_len"]
            try:
                event = assembler.feed(got, data[16:a], data[a:c], data[c:])
            except ProtocolError as problem:
                error = problem.kind
                assert i == len(frames) - 1, name
                break
            if event and event[0] == "message":
                m = event[1]
                events.append({"after_frame": i, "event": "message", "opcode": m["opcode"], "request_id": m["request_id"],
                               "flags": m["flags"], "ext": m["ext"].hex(), "key": m["key"].hex(),
                               "value_len": len(m["value"]), "value_sha256": hashlib.sha256(m["value"]).hexdigest()})
            elif event:
                events.append({"after_frame": i, "event": "refused", "request_id": got["request_id"], "code": event[1]})
        vector = {"name": name, "max_message": max_message, "max_unfinished": max_unfinished,
                  "frames": [f.hex() for f in frames], "events": events}
        out.append(vector | ({"error": error} if error else {"unfinished": len(assembler.partial)}))

    SET, OKAY = OP["SET"], OP["OK"]
    value = pattern(10000)
    three = wire(SET, 5, kv.cut(SET, 5, 0, [("TTL_MS", u64(1000))], b"big", value, 4096))
    add("a message in one frame", wire(SET, 5, kv.cut(SET, 5, 0, [], b"k", b"v", 65536)))
    add("three pieces", three)
    add("two pieces, the last of one byte", wire(SET, 6, kv.cut(SET, 6, 0, [], b"k", pattern(4097), 4096)))
    add("a reply in pieces", wire(OKAY, 7, kv.cut(OKAY, 7, 0, [("VERSION", u64(3))], b"", value, 5000)))
    other = wire(SET, 8, kv.cut(SET, 8, 0, [], b"other", pattern(8193), 4096))
    add("two messages taking turns", [three[0], other[0], three[1], other[1], other[2], three[2]])
    single = wire(OP["GET"], 9, [(0, b"", b"k", b"")])
    add("a small request in between", [three[0], single[0], three[1], three[2]])
    add("compressed: every piece carries the flag", wire(SET, 10, kv.cut(SET, 10, 1, [], b"k", value, 4096)))
    add("the id is free again after the last piece", three + three)
    add("not finished", three[:2])
    add("a value exactly at the limit", wire(SET, 5, kv.cut(SET, 5, 0, [], b"k", pattern(8192), 4096)), 8192)
    long = wire(SET, 5, kv.cut(SET, 5, 0, [], b"k", pattern(16385), 8192))
    add("one byte over the limit is refused and the pieces dropped", long + single, 16384)
    unknown = wire(99, 5, kv.cut(99, 5, 0, [], b"k", pattern(10000), 4096))
    add("an unknown opcode is refused once and its pieces dropped", unknown + single)
    many = wire(SET, 5, kv.cut(SET, 5, 0, [], b"k", pattern(12289), 4096))
    add("more pieces than the limit can need", many[:2], 8192)

    def piece(flags, ext, key, data, opcode=SET, request_id=5):
        return wire(opcode, request_id, [(flags, ext, key, data)])[0]

    def total(n):
        return kv.extensions([("TOTAL_LEN", u32(n))])

    full = pattern(4096)
    add("MORE without TOTAL_LEN", [piece(4, b"", b"k", full)])
    add("TOTAL_LEN without MORE", [piece(0, total(4096), b"k", full)])
    add("a message that may not be continued", [piece(4, total(9000), b"k", full, OP["GET"])])
    add("a first piece below the least length", [piece(4, total(9000), b"k", full[:4095])])
    add("an empty first piece", [piece(4, total(9000), b"k", b"")])
    add("a first piece that is already everything", [piece(4, total(4096), b"k", full)])
    add("a first piece longer than the whole", [piece(4, total(4000), b"k", full)])
    first = piece(4, total(9000), b"k", full)
    add("a middle piece below the least length", [first, piece(4, b"", b"", full[:4095])])
    add("an empty middle piece", [first, piece(4, b"", b"", b"")])
    add("an empty last piece", [first, piece(4, b"", b"", full), piece(0, b"", b"", b"")])
    add("shorter than declared", [first, piece(0, b"", b"", full)])
    add("longer than declared, at the last piece", [first, piece(0, b"", b"", pattern(4905))])
    add("longer than declared, in the middle", [first, piece(4, b"", b"", pattern(5000))])
    add("as long as declared and MORE", [first, piece(4, b"", b"", pattern(4904))])
    add("another opcode", [first, piece(0, b"", b"", pattern(4904), OP["ECHO"])])
    add("a flag that the first piece did not have", [first, piece(1, b"", b"", pattern(4904))])
    add("a key in a further piece", [first, piece(0, b"", b"k", pattern(4904))])
    add("an extension in a further piece", [first, piece(0, kv.extensions([("TTL_MS", u64(1))]), b"", pattern(4904))])
    add("a first piece again", [first, first])
    several = [piece(4, total(9000), b"k", full, SET, i) for i in (1, 2, 3)]
    add("as many messages under way as allowed", several, max_unfinished=3)
    add("one message too many under way", several, max_unfinished=2)
    return "Frames (header || body, without tag) through the assembler", out


def compression_vectors():
    out = []

    def add(name, value, max_message=16 << 20):
        vector = {"name": name, "value": value.hex(), "max_message": max_message}
        error = error_of(kv.decompress, value, max_message)
        out.append(vector | ({"error": error} if error else {"original": kv.decompress(value, max_message).hex()}))

    def whole(original, block):
        return u32(len(original)) + block

    text = b"kv kv kv kv kv kv kv kv, and so on"
    add("literals only", whole(text, kv.lz4_literals(text)))
    add("literals only, 15 bytes", whole(text[:15], kv.lz4_literals(text[:15])))
    add("literals only, 300 bytes", whole(pattern(300), kv.lz4_literals(pattern(300))))
    add("empty", whole(b"", b"\x00"))
    # token: 3 literals, match of 4+10 at offset 3; then 5 literals
    match = bytes([0x3A]) + b"kv " + b"\x03\x00" + bytes([0x50]) + b"end.."
    add("a match", whole(b"kv " * 5 + b"kv" + b"end..", match))
    run = bytes([0x1F]) + b"a" + b"\x01\x00" + bytes([255, 255, 71]) + bytes([0x50]) + b"bcdef"
    add("a run of 601 equal bytes", whole(b"a" * 601 + b"bcdef", run))
    add("original_len one too small", u32(len(text) - 1) + kv.lz4_literals(text))
    add("original_len one too large", u32(len(text) + 1) + kv.lz4_literals(text))
    add("run longer than original_len", u32(100) + run)
    add("original_len above the limit", u32((16 << 20) + 1) + kv.lz4_literals(text))
    add("original_len exactly at the limit", whole(text, kv.lz4_literals(text)), len(text))
    add("original_len of 4 GiB", u32(0xFFFFFFFF) + kv.lz4_literals(text))
    add("nothing", b"")
    add("only three bytes", b"\x00\x00\x00")
    add("no block", u32(5))
    add("cut in literals", u32(len(text)) + kv.lz4_literals(text)[:-1])
    add("cut in a length", u32(300) + b"\xf0")
    add("offset 0", u32(20) + bytes([0x3A]) + b"kv " + b"\x00\x00" + bytes([0x50]) + b"end..")
    add("offset before the beginning", u32(22) + bytes([0x3A]) + b"kv " + b"\x04\x00" + bytes([0x50]) + b"end..")
    return "Values with the flag COMPRESSED: original_len || LZ4 block", out


def describe(value):
    """A typed value in JSON without loss: an object with one key, its type."""
    if value is None:
        return {"nil": True}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float64": struct.pack(">d", value).hex()}
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, kv.Map):
        return {"map": [[describe(k), describe(v)] for k, v in value]}
    return {"array": [describe(v) for v in value]}


def typed_vectors():
    out = []

    def add(name, data):
        vector = {"name": name, "bytes": data.hex()}
        error = error_of(kv.parse_typed, data)
        if error:
            out.append(vector | {"error": error})
        else:
            value = kv.parse_typed(data)
            if len(data) <= 1000:
                vector["value"] = describe(value)
            if kv.typed(value) != data:
                vector["shortest"] = kv.typed(value).hex()
            out.append(vector)

    for n in (0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1,
              -1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)):
        add(f"integer {n}", kv.typed(n))
    for prefix, name in (("cc05", "u8"), ("cd0005", "u16"), ("ce00000005", "u32"), ("cf0000000000000005", "u64"),
                         ("d005", "i8"), ("d10005", "i16"), ("d200000005", "i32"), ("d30000000000000005", "i64")):
        add(f"integer 5 as {name}, not the shortest", bytes.fromhex(prefix))
    add("integer -1 as i64, not the shortest", bytes.fromhex("d3ffffffffffffffff"))
    add("nil", b"\xc0")
    add("false", b"\xc2")
    add("true", b"\xc3")
    for x in (0.0, -0.0, 1.5, -2.25e300, float("inf")):
        add(f"float {x}", kv.typed(x))
    add("float 1.5 as binary32", bytes.fromhex("ca3fc00000"))
    for n in (0, 31, 32, 255, 256):
        add(f"string of {n} bytes", kv.typed("s" * n))
    add("string with letters outside of ASCII", kv.typed("größe, 键, 🔑"))
    add("short string with a 4-byte length, not the shortest", b"\xdb" + u32(2) + b"kv")
    for n in (0, 255, 256, 65536):
        add(f"byte string of {n} bytes", kv.typed(bytes(n)))
    for n in (0, 15, 16):
        add(f"array of {n}", kv.typed([0] * n))
        add(f"map of {n}", kv.typed(kv.Map((i, None) for i in range(n))))
    add("array of 65536", kv.typed([0] * 65536))
    ready = kv.Map([("identity", "dev"), ("permissions", ["read", "write"])])
    add("READY's map", kv.typed(ready))
    add("map with keys of every kind", kv.typed(kv.Map([(1, "a"), ("b", 2), (b"c", None), ([1], True)])))
    add("32 arrays deep", b"\x91" * 32 + b"\x00")
    add("33 arrays deep", b"\x91" * 33 + b"\x00")
    add("32 deep, the innermost empty", b"\x91" * 31 + b"\x90")
    add("33 deep, the innermost empty", b"\x91" * 32 + b"\x90")
    add("33 maps deep", b"\x81\x00" * 33 + b"\x00")
    add("10,000 arrays deep", b"\x91" * 10000)
    for byte in (0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8):
        add(f"first byte {byte:02x}", bytes([byte]) + bytes(20))
    add("nothing", b"")
    add("two values", b"\x01\x02")
    add("a string that is not UTF-8", b"\xa2\xff\xfe")
    add("a string that is a lone surrogate", b"\xa3\xed\xa0\x80")
    for data, name in ((b"\xcd\x01", "integer"), (b"\xa3kv", "string"), (b"\xc4\x03kv", "byte string"), (b"\xd9", "length"),
                       (b"\xcb\x00\x00", "float"), (b"\x92\x01", "array"), (b"\x81\x01", "map"), (b"\xdc\x00", "count")):
        add(f"{name} cut short", data)
    add("array of 4 billion in 5 bytes", b"\xdd\xff\xff\xff\xff")
    add("map of 4 billion in 5 bytes", b"\xdf\xff\xff\xff\xff")
    add("byte string of 4 GiB in 5 bytes", b"\xc6\xff\xff\xff\xff")
    add("map with one byte for two pairs", b"\x82\x01\x02\x03")
    return "Typed values: content type 2", out


def batch_vectors():
    out = []

    def add(name, data, reply=False, count_only=False):
        vector = {"name": name, "reply": reply, "value": data.hex()}
        error = error_of(kv.parse_batch, data, reply)
        if error:
            out.append(vector | {"error": error})
            return
        items = kv.parse_batch(data, reply)
        vector["count"] = len(items)
        if not count_only:
            vector["items"] = [{"opcode": o, "request_id": r, "ext": e.hex(), "key": k.hex(), "value": v.hex()}
                               for o, r, e, k, v in items]
        out.append(vector)

    items = [
        (OP["SET"], 0, kv.extensions([("TTL_MS", u64(60000))]), b"a", b"1"),
        (OP["GET"], 0, b"", b"a", b""),
        (OP["INCR"], 0, b"", b"n", struct.pack(">q", -3)),
        (OP["DEL"], 0, kv.extensions([("IF_VERSION", u64(2**64 - 1))]), b"b", b""),
        (OP["TOUCH"], 0, b"", b"a", b""),
    ]
    good = kv.batch(items)
    add("five requests", good)
    add("one request", kv.batch(items[:1]))
    add("none", b"")
    add("an opcode that a batch does not take is well formed", kv.batch([(OP["SCAN"], 0, b"", b"", b"")]))
    add("an opcode of the other direction is well formed", kv.batch([(OP["OK"], 0, b"", b"", b"")]))
    add("an unknown opcode is well formed", kv.batch([(99, 0, b"", b"", b"")]))
    add("five replies", kv.batch([
        (OP["OK"], 0, kv.extensions([("TTL_MS", u64(60000)), ("VERSION", u64(8))]), b"", b""),
        (OP["OK"], 1, kv.extensions([("TTL_MS", u64(60000)), ("VERSION", u64(8))]), b"", b"1"),
        (OP["OK"], 2, kv.extensions([("VERSION", u64(9))]), b"", struct.pack(">q", -3)),
        (OP["ERR"], 3, kv.extensions([("VERSION", u64(0))]), b"", kv.error_body(1, 0, "condition did not hold")),
        (OP["NOTFOUND"], 4, b"", b"", b""),
    ]), reply=True)
    tiny = (OP["GET"], 0, b"", b"k", b"")
    add("4,096 requests", kv.batch([tiny] * 4096), count_only=True)
    add("4,097 requests", kv.batch([tiny] * 4097))
    add("cut in a header", good[:-13])
    add("cut in a body", good[:-1])
    add("a byte too many", good + b"\xca")
    add("inner request id", kv.batch([(OP["GET"], 1, b"", b"a", b"")]))
    add("reply with a wrong index", kv.batch([(OP["OK"], 1, b"", b"", b"")]), reply=True)
    add("inner flags", kv.header(2, 1, 0, 4, 0, 1, 0) + b"a")
    add("inner version 1", kv.header(1, 1, 0, 0, 0, 1, 0) + b"a")
    add("inner magic", b"\x00" + kv.header(2, 1, 0, 0, 0, 1, 0)[1:] + b"a")
    add("an inner frame of 4 GiB", kv.header(2, 1, 0, 0, 255, 65535, 0xFFFFFFFF))
    return "Values of BATCH (requests) and of its OK (replies)", out


def error_vectors():
    out = []

    def add(name, data):
        vector = {"name": name, "value": data.hex()}
        error = error_of(kv.parse_error_body, data)
        if error:
            out.append(vector | {"error": error})
        else:
            code, retry, message = kv.parse_error_body(data)
            out.append(vector | {"code": code, "retry_after_ms": retry, "message": message})

    for code, name, _, _, meaning in kv.ERRORS:
        add(name, kv.error_body(code, 250 if 32 <= code < 48 else 0, meaning))
    add("no message", kv.error_body(5, 0, ""))
    add("letters outside of ASCII", kv.error_body(2, 0, "ungültig"))
    add("a code of a later edition", kv.error_body(4000, 0xFFFFFFFF, "later"))
    good = kv.error_body(1, 2, "x")
    for n in range(6):
        add(f"only {n} bytes", good[:n])
    add("message that is not UTF-8", good[:6] + b"\xc3")
    return "Values of ERR", out


def code_vectors():
    out = []
    for number, name, versions, continued, permission, answer, listed in kv.OPCODES:
        tags = [kv.EXT_BY_NAME[n] for n in listed.split()]
        if number < 128 and answer:
            tags += [kv.EXT_BY_NAME["DEADLINE_MS"], kv.EXT_BY_NAME["TRACE"]]
        out.append({"name": f"opcode {name}", "table": "opcode", "symbol": name, "number": number, "versions": versions, "continued": continued,
                    "permission": permission or None, "answer": answer or None, "extensions": sorted(tags)})
    for tag, name, least, most, _, _ in kv.EXTENSIONS:
        out.append({"name": f"extension {name}", "table": "extension", "symbol": name, "number": tag, "bytes_min": least, "bytes_max": most})
    for code, name, applied, repeat, _ in kv.ERRORS:
        out.append({"name": f"error {name}", "table": "error", "symbol": name, "number": code, "applied": applied, "repeat": repeat})
    return "The tables of opcodes, extensions and errors", out


FILES = {
    "header": header_vectors, "v1_frames": v1_vectors, "handshake": handshake_vectors, "handshake_fields": field_vectors,
    "session": session_vectors, "extensions": extension_vectors, "continuation": continuation_vectors,
    "compression": compression_vectors, "typed": typed_vectors, "batch": batch_vectors, "errors": error_vectors,
    "codes": code_vectors,
}


def text_of(description, vectors):
    names = [v["name"] for v in vectors]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    lines = [json.dumps(v, ensure_ascii=False, separators=(", ", ": ")) for v in vectors]
    head = json.dumps(description, ensure_ascii=False)
    return '{\n"format": 1,\n"description": ' + head + ',\n"vectors": [\n' + ",\n".join(lines) + "\n]\n}\n"


# ---------------------------------------------------------------------------------------------
# Blocks of protocol.md
# ---------------------------------------------------------------------------------------------


def extension_table():
    lines = ["| tag | name | bytes | meaning |", "|---|---|---|---|"]
    for tag, name, _, _, kind, meaning in kv.EXTENSIONS:
        lines.append(f"| 0x{tag:02X} | {name} | {kind} | {meaning} |")
    return "\n".join(lines)


def opcode_table():
    lines = ["| opcode | name | versions | continued | session | permission | answer |", "|---|---|---|---|---|---|---|"]
    for number, name, versions, continued, permission, answer, _ in kv.OPCODES:
        session = "" if name in ("HELLO", "WELCOME", "AUTH", "READY") else ("in version 2" if "1" in versions else "yes")
        answer = {"single": "one reply", "stream": "stream", "": ""}[answer]
        lines.append(f"| {number} | {name} | {versions} | {'yes' if continued else ''} | {session} | {permission} | {answer} |")
    return "\n".join(lines)


def error_table():
    lines = ["| code | name | applied | repeat | meaning |", "|---|---|---|---|---|"]
    for code, name, applied, repeat, meaning in kv.ERRORS:
        lines.append(f"| {code} | {name} | {applied} | {repeat} | {meaning} |")
    return "\n".join(lines)


def hexdump(data, note=""):
    if isinstance(data, str):
        data = bytes.fromhex(data)
    rows = [data[i : i + 32].hex(" ", -4) for i in range(0, len(data), 32)] or [""]
    return "\n".join("    " + row for row in rows) + (f"   {note}" if note else "")


def worked_example():
    vector, c2s, s2c = next(s for s in sessions() if s[0]["name"] == "suite 1 plain")
    out = []

    def show(label, data):
        out.append(f"{label}\n{hexdump(data)}")

    out.append("Inputs:\n\n```")
    show("psk (its id is \"dev\")", vector["psk"])
    show("client nonce", vector["client_nonce"])
    show("server nonce", vector["server_nonce"])
    show("session id", vector["session_id"])
    out.append("```\n\nThe client sends HELLO. Header, zero tag, then the fields 1 (versions 2 to 2), 2 (suite 1), 3 (no"
               "\ncapabilities), 4 (`dev`), 5 (nonce), 6 (`localhost`) and 8\n(`kv-client/0.1.0`):\n\n```")
    show("HELLO", vector["hello"])
    out.append("```\n\nThe server answers with WELCOME. Its fields: 1 (version 2), 2 (suite 1), 3, 4 (session id), 5 (nonce), 6"
               "\n(`kv-server/0.1.0`) and 8 (limits). The tag is computed below:\n\n```")
    show("WELCOME", vector["welcome"])
    out.append("```\n\nBoth compute:\n\n```")
    show("TH = SHA-256(HELLO || WELCOME with zero tag || 00)", vector["transcript_hash"])
    show("ck0 = HMAC(\"kv/2\", psk)", vector["ck0"])
    show("ck1 = HMAC(ck0, 0^32)", vector["ck1"])
    show("ck2 = HMAC(ck1, 0^32)", vector["ck2"])
    show("K(c2s mac) = HMAC(ck2, \"kv/2 c2s mac\" || 00 || 01 || TH || 01)", vector["c2s_mac"])
    show("K(s2c mac)", vector["s2c_mac"])
    show("K(s conf)", vector["s_conf"])
    show("K(c conf)", vector["c_conf"])
    show("WELCOME's tag = HMAC(K(s conf), \"kv/2 server\" || TH)", vector["welcome_tag"])
    show("AUTH's value = HMAC(K(c conf), \"kv/2 client\" || TH)", vector["auth_value"])
    out.append("```\n\nThe client sends AUTH, sequence number 0; its tag is"
               "\n`HMAC(K(c2s mac), 0000000000000000 || header || value)`. The server answers with READY, 0 in its own direction:\n\n```")
    show("AUTH", vector["auth"])
    show("READY: {\"identity\": \"dev\", \"permissions\": [\"read\", \"write\", \"scan\"]}", vector["ready"])
    out.append("```\n\n`SET greeting hello` as request 1, for a minute and only if the key is absent, and its reply; then `GET greeting`:\n\n```")
    ext = kv.extensions([("TTL_MS", u64(60000)), ("CONTENT_TYPE", b"\x01"), ("IF_VERSION", u64(0))])
    show("SET, c2s seq 1", c2s.seal(OP["SET"], 1, 0, ext, b"greeting", b"hello"))
    reply = kv.extensions([("VERSION", u64(41)), ("TTL_MS", u64(60000))])
    show("OK, s2c seq 1: VERSION 41, TTL_MS 60000", s2c.seal(OP["OK"], 1, 0, reply))
    show("GET, c2s seq 2", c2s.seal(OP["GET"], 2, 0, b"", b"greeting"))
    out.append("```")
    return "\n".join(out)


def protocol_text(text):
    blocks = {"extensions": extension_table, "opcodes": opcode_table, "errors": error_table, "worked": worked_example}
    for name, make in blocks.items():
        begin = f"<!-- generated:{name} -->\n"
        head, rest = text.split(begin)
        _, tail = rest.split("<!-- end -->", 1)
        text = head + begin + "\n" + make() + "\n\n<!-- end -->" + tail
    return text


# ---------------------------------------------------------------------------------------------


def cross_check():
    """Compares this implementation with others, as far as they are installed."""
    used = []
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        secret = X25519PrivateKey.from_private_bytes(CLIENT_SECRET)
        public = secret.public_key().public_bytes_raw()
        assert public == kv.x25519(CLIENT_SECRET, kv.X25519_BASE)
        peer = kv.x25519(SERVER_SECRET, kv.X25519_BASE)
        assert secret.exchange(X25519PublicKey.from_public_bytes(peer)) == kv.x25519(CLIENT_SECRET, peer)
        for n in (0, 1, 15, 16, 17, 1000):
            key, nonce, data = b("aes"), b("nonce", 12), b("data", n)
            cipher = Cipher(algorithms.AES(key), modes.CTR(nonce + bytes(4))).encryptor()
            assert cipher.update(data) == kv.aes256_ctr(key, nonce, data)
        used.append("cryptography")
    except ImportError:
        pass
    try:
        import lz4.block

        for data in (b"", b"a" * 601, pattern(5000), b"kv " * 1000):
            assert kv.lz4_decompress(lz4.block.compress(data, store_size=False), len(data)) == data
            assert lz4.block.decompress(kv.lz4_literals(data), uncompressed_size=len(data)) == data
        for vector in compression_vectors()[1]:
            if "original" in vector and vector["original"]:
                value = bytes.fromhex(vector["value"])
                size = int.from_bytes(value[:4], "big")
                assert lz4.block.decompress(value[4:], uncompressed_size=size).hex() == vector["original"]
        used.append("lz4")
    except ImportError:
        pass
    try:
        import msgpack

        for vector in typed_vectors()[1]:
            data = bytes.fromhex(vector["bytes"])
            if "error" in vector or "every kind" in vector["name"]:
                continue
            theirs = msgpack.unpackb(data, strict_map_key=False)
            ours = kv.parse_typed(data)
            plain = dict(ours) if isinstance(ours, kv.Map) else ours
            assert theirs == plain or repr(theirs) == repr(plain), vector["name"]
            assert msgpack.packb(theirs).hex() == vector.get("shortest", vector["bytes"]), vector["name"]
        used.append("msgpack")
    except ImportError:
        pass
    return used


def main():
    check = "--check" in sys.argv[1:]
    used = cross_check()
    wanted = {VECTORS / f"{name}.json": text_of(*make()) for name, make in FILES.items()}
    wanted[PROTOCOL] = protocol_text(PROTOCOL.read_text(encoding="utf-8"))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    strangers = [p for p in VECTORS.glob("*.json") if p not in wanted]
    if check:
        for path in stale + strangers:
            print(f"differs: {path.name}", file=sys.stderr)
        sys.exit(1 if stale or strangers else 0)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.name}")
    print("compared with: " + (", ".join(used) or "nothing, no package is installed"))


if __name__ == "__main__":
    main()

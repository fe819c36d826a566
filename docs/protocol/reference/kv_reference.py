"""A second implementation of the kv wire protocol, for checking the first one.

Written from docs/protocol.md, in plain Python with nothing but the standard library, and meant to be
read beside it: one function per rule, no speed. It makes the golden vectors (generate.py) and shares
no code with the server. Do not use its cryptography for anything else: it is not constant-time.

Errors are `ProtocolError(kind)`; the kinds are those of docs/protocol/vectors/README.md.
"""

import hashlib
import hmac as _hmac
import struct
import zlib

MAGIC = b"\xca\xfe"
HEADER_LEN = 16
TAG_LEN = 32
ZERO_TAG = bytes(TAG_LEN)
ZERO_32 = bytes(32)

COMPRESSED, ENCRYPTED, MORE = 1, 2, 4

HANDSHAKE_BODY_MAX = 4096
PIECE_MIN = 4096
BATCH_ITEMS_MAX = 4096
TYPED_DEPTH_MAX = 32


class ProtocolError(Exception):
    """A rule was broken; `kind` is the error class of the vectors."""

    def __init__(self, kind, detail=""):
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


# ---------------------------------------------------------------------------------------------
# Tables (sections 8, 12 and 13)
# ---------------------------------------------------------------------------------------------

# number, name, versions, continued, permission, answer, extensions
OPCODES = [
    (1, "GET", "1, 2", False, "read", "single", "RETURN"),
    (2, "SET", "1, 2", True, "write", "single", "TTL_MS CONTENT_TYPE IF_VERSION RETURN TOTAL_LEN IDEMPOTENCY"),
    (3, "DEL", "1, 2", False, "write", "single", "IF_VERSION RETURN IDEMPOTENCY"),
    (4, "SCAN", "2", False, "scan", "stream", "CREDIT LIMIT RETURN REVERSE"),
    (5, "WATCH", "2", False, "scan", "stream", "CREDIT FROM_VERSION RETURN EXACT"),
    (6, "BATCH", "2", True, "none", "single", "TOTAL_LEN IDEMPOTENCY ATOMIC"),
    (7, "INCR", "2", False, "write", "single", "TTL_MS IF_VERSION IDEMPOTENCY"),
    (8, "TOUCH", "2", False, "write", "single", "TTL_MS IF_VERSION IDEMPOTENCY"),
    (16, "HELLO", "2", False, "", "", ""),
    (17, "AUTH", "2", False, "", "", ""),
    (18, "PING", "2", False, "", "", ""),
    (19, "PONG", "2", False, "", "", ""),
    (20, "ECHO", "2", True, "none", "single", "CONTENT_TYPE TOTAL_LEN"),
    (21, "CANCEL", "2", False, "", "", ""),
    (22, "CREDIT", "2", False, "", "", ""),
    (23, "KEY_UPDATE", "2", False, "", "", ""),
    (24, "GOODBYE", "2", False, "", "", ""),
    (32, "PUBLISH", "2", True, "publish", "single", "CONTENT_TYPE TOTAL_LEN IDEMPOTENCY"),
    (33, "SUBSCRIBE", "2", False, "subscribe", "stream", "CREDIT POLICY"),
    (34, "BROADCAST", "2", True, "publish", "single", "CONTENT_TYPE TOTAL_LEN"),
    (48, "ENQUEUE", "2", True, "queue", "single", "TTL_MS CONTENT_TYPE DELAY_MS FAIRNESS_KEY TOTAL_LEN IDEMPOTENCY"),
    (49, "CONSUME", "2", False, "queue", "stream", "CREDIT"),
    (50, "ACK", "2", False, "queue", "single", "IDEMPOTENCY"),
    (51, "NACK", "2", False, "queue", "single", "DELAY_MS IDEMPOTENCY"),
    (52, "EXTEND", "2", False, "queue", "single", "IDEMPOTENCY"),
    (53, "QUEUE_CREATE", "2", False, "queue", "single", "IDEMPOTENCY"),
    (54, "QUEUE_DELETE", "2", False, "queue", "single", "IDEMPOTENCY"),
    (55, "QUEUE_INFO", "2", False, "queue", "single", ""),
    (56, "REDRIVE", "2", False, "queue", "single", "IDEMPOTENCY"),
    (57, "PURGE", "2", False, "queue", "single", "IDEMPOTENCY"),
    (112, "INFO", "2", False, "observe", "single", ""),
    (113, "CLIENTS", "2", False, "observe", "single", ""),
    (114, "KILL", "2", False, "admin", "single", ""),
    (115, "SLOWLOG", "2", False, "observe", "single", ""),
    (116, "BACKUP", "2", False, "admin", "stream", "CREDIT"),
    (128, "OK", "1, 2", True, "", "", "TTL_MS VERSION CONTENT_TYPE VALUE_LEN MESSAGE_ID TOTAL_LEN"),
    (129, "ERR", "1, 2", False, "", "", "VERSION"),
    (130, "NOTFOUND", "1, 2", False, "", "", ""),
    (131, "ITEM", "2", True, "", "", "TTL_MS VERSION CONTENT_TYPE ATTEMPT EVENT VALUE_LEN MESSAGE_ID LOST TOTAL_LEN"),
    (132, "END", "2", False, "", "", ""),
    (144, "WELCOME", "2", False, "", "", ""),
    (145, "READY", "2", False, "", "", ""),
    (146, "SERVER_PING", "2", False, "", "", ""),
    (147, "SERVER_PONG", "2", False, "", "", ""),
    (148, "GOAWAY", "2", False, "", "", ""),
    (149, "SERVER_GOODBYE", "2", False, "", "", ""),
    (150, "SERVER_KEY_UPDATE", "2", False, "", "", ""),
    (160, "NOTICE", "2", True, "", "", "CONTENT_TYPE TOTAL_LEN"),
]
OPCODE_BY_NAME = {row[1]: row[0] for row in OPCODES}
OPCODE_NAMES = {row[0]: row[1] for row in OPCODES}

# tag, name, least and most bytes, type in words, meaning
EXTENSIONS = [
    (0x01, "TTL_MS", 8, 8, "u64", "life of the entry or lease in milliseconds; in replies what remains"),
    (0x02, "VERSION", 8, 8, "u64", "replies: version of the entry"),
    (0x03, "DEADLINE_MS", 4, 4, "u32", "any request: give up after this many milliseconds"),
    (0x04, "TRACE", 25, 25, "25 bytes", "any request: trace id, span id, flags"),
    (0x05, "CONTENT_TYPE", 1, 1, "u8", "0 bytes, 1 UTF-8 text, 2 typed value, 3 JSON"),
    (0x06, "CREDIT", 4, 4, "u32", "first credit of a stream"),
    (0x07, "DELAY_MS", 8, 8, "u64", "ENQUEUE, NACK: not delivered before"),
    (0x08, "FAIRNESS_KEY", 1, 64, "1 to 64 bytes", "ENQUEUE: messages with different keys take turns"),
    (0x09, "ATTEMPT", 4, 4, "u32", "CONSUME's items: which delivery this is, from 1"),
    (0x0A, "LIMIT", 4, 4, "u32", "SCAN: at most this many items, at least 1"),
    (0x0B, "EVENT", 1, 1, "u8", "WATCH's items: 1 set, 2 deleted, 3 expired, 4 progress mark"),
    (0x0C, "FROM_VERSION", 8, 8, "u64", "WATCH: resume after this position"),
    (0x0D, "VALUE_LEN", 4, 4, "u32", "replies: length of the value the reply speaks of (RETURN)"),
    (0x0E, "MESSAGE_ID", 8, 8, "u64", "queue deliveries, ENQUEUE's reply"),
    (0x0F, "LOST", 8, 8, "u64", "SUBSCRIBE's items: messages dropped before this one"),
    (0x81, "IF_VERSION", 8, 8, "u64", "apply only at this version; 0 absent, 2^64-1 present"),
    (0x82, "RETURN", 1, 1, "u8", "bit 0 previous value, bit 1 no value"),
    (0x83, "TOTAL_LEN", 4, 4, "u32", "first frame of a continued message: length of the whole value"),
    (0x84, "IDEMPOTENCY", 24, 24, "24 bytes", "client id (16), operation number (u64)"),
    (0x85, "ATOMIC", 0, 0, "empty", "BATCH: all or nothing"),
    (0x86, "REVERSE", 0, 0, "empty", "SCAN: descending"),
    (0x87, "EXACT", 0, 0, "empty", "WATCH: this key, not this prefix"),
    (0x88, "POLICY", 1, 1, "u8", "SUBSCRIBE: 0 end the stream when slow, 1 drop the oldest"),
]
EXT_BY_NAME = {row[1]: row[0] for row in EXTENSIONS}
EXT_LENGTHS = {row[0]: (row[2], row[3]) for row in EXTENSIONS}

# code, name, applied?, repeat?, meaning
ERRORS = [
    (1, "CONFLICT", "no", "no", "a condition did not hold"),
    (2, "INVALID_ARGUMENT", "no", "no", "the request is not well formed"),
    (3, "TOO_LARGE", "no", "no", "a key, value or message is over its limit"),
    (4, "WRONG_TYPE", "no", "no", "the entry does not hold what the command needs"),
    (5, "UNSUPPORTED", "no", "no", "unknown command or critical extension"),
    (6, "READ_ONLY", "no", "no", "the server takes no writes"),
    (16, "AUTH_FAILED", "no", "no", "the identity is no longer accepted"),
    (17, "PERMISSION_DENIED", "no", "no", "the identity may not do this"),
    (18, "UNSUPPORTED_VERSION", "no", "no", "no common protocol version"),
    (32, "RATE_LIMITED", "no", "yes", "over the rate limit"),
    (33, "OVERLOADED", "no", "yes", "the server has no room now"),
    (34, "SHUTTING_DOWN", "no", "yes", "the server is stopping"),
    (35, "TOO_MANY_IN_FLIGHT", "no", "yes", "over max_in_flight or max_streams"),
    (48, "DEADLINE_EXCEEDED", "perhaps", "with IDEMPOTENCY", "the deadline passed"),
    (49, "OUTCOME_UNKNOWN", "perhaps", "with IDEMPOTENCY", "the server cannot say whether it was applied"),
    (64, "OUT_OF_MEMORY", "no", "no", "the store's memory is used up"),
    (65, "DISK_FULL", "no", "no", "the store's disk is used up"),
    (66, "CORRUPT", "no", "no", "stored data is damaged"),
    (80, "QUEUE_NOT_FOUND", "no", "no", "there is no such queue"),
    (81, "MESSAGE_NOT_FOUND", "no", "no", "there is no such message"),
    (82, "LEASE_LOST", "no", "no", "the lease ran out or passed on"),
    (83, "QUEUE_EXISTS", "no", "no", "there is such a queue already"),
    (84, "COMPACTED", "no", "no", "the watch position is too old"),
    (85, "SLOW_CONSUMER", "no", "no", "the subscriber did not keep up"),
    (255, "INTERNAL", "perhaps", "maybe", "a fault of the server"),
]


# ---------------------------------------------------------------------------------------------
# Header and frame (section 3)
# ---------------------------------------------------------------------------------------------

HEADER = struct.Struct(">2sBBIBBHI")


def header(version, opcode, request_id, flags, ext_len, key_len, value_len):
    return HEADER.pack(MAGIC, version, opcode, request_id, flags, ext_len, key_len, value_len)


def parse_header(data, versions=(1, 2)):
    """Fields as a dict; refuses what a receiver of either version refuses by the header alone."""
    if len(data) < 2:
        raise ProtocolError("incomplete")
    if data[:2] != MAGIC:
        raise ProtocolError("magic")
    if len(data) < HEADER_LEN:
        raise ProtocolError("incomplete")
    _, version, opcode, request_id, flags, ext_len, key_len, value_len = HEADER.unpack(data[:16])
    if version not in versions:
        raise ProtocolError("version")
    if flags & ~7 or (version == 1 and (flags or ext_len)):
        raise ProtocolError("reserved")
    return {
        "version": version,
        "opcode": opcode,
        "request_id": request_id,
        "flags": flags,
        "ext_len": ext_len,
        "key_len": key_len,
        "value_len": value_len,
    }


def frame(version, opcode, request_id, flags, ext, key, value, tag):
    head = header(version, opcode, request_id, flags, len(ext), len(key), len(value))
    return head + tag + ext + key + value


# ---------------------------------------------------------------------------------------------
# Cryptography, from its definitions
# ---------------------------------------------------------------------------------------------


def hmac(key, data):
    return _hmac.new(key, data, hashlib.sha256).digest()


def hkdf_extract(salt, ikm):
    return hmac(salt, ikm)


def hkdf_expand_32(prk, info):
    return hmac(prk, info + b"\x01")


def checksum_tag(head, body):
    return struct.pack(">I", zlib.crc32(head + body)) + bytes(28)


P25519 = 2**255 - 19


def x25519(scalar, u_bytes):
    """RFC 7748, section 5."""
    k = bytearray(scalar)
    k[0] &= 248
    k[31] &= 127
    k[31] |= 64
    k = int.from_bytes(k, "little")
    u = int.from_bytes(u_bytes, "little") & ((1 << 255) - 1)
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = (x2 + z2), (x2 - z2), (x3 + z3), (x3 - z3)
        aa, bb, da, cb = a * a % P25519, b * b % P25519, d * a % P25519, c * b % P25519
        e = (aa - bb) % P25519
        x3 = (da + cb) ** 2 % P25519
        z3 = x1 * (da - cb) ** 2 % P25519
        x2 = aa * bb % P25519
        z2 = e * (aa + 121665 * e) % P25519
    if swap:
        x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


X25519_BASE = bytes([9]) + bytes(31)


def _make_sbox():
    """The AES S-box (FIPS 197, 5.1.1): inverse in GF(2^8), then the affine map."""
    exp, log, x = [0] * 256, [0] * 256, 1
    for i in range(255):
        exp[i], log[x] = x, i
        x ^= (x << 1) ^ (0x11B if x & 0x80 else 0)
    box = []
    for v in range(256):
        inv = 0 if v == 0 else exp[(255 - log[v]) % 255]
        r = inv
        for shift in range(1, 5):
            r ^= ((inv << shift) | (inv >> (8 - shift))) & 0xFF
        box.append(r ^ 0x63)
    return box


SBOX = _make_sbox()


def _xtime(b):
    b <<= 1
    return (b ^ 0x11B) if b & 0x100 else b


def aes256_key_schedule(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = _xtime(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes256_block(round_keys, block):
    s = [a ^ b for a, b in zip(block, round_keys[0])]
    for r in range(1, 15):
        s = [SBOX[b] for b in s]
        s = [s[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if r < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = s[c : c + 4]
                total = col[0] ^ col[1] ^ col[2] ^ col[3]
                mixed += [col[i] ^ total ^ _xtime(col[i] ^ col[(i + 1) % 4]) for i in range(4)]
            s = mixed
        s = [a ^ b for a, b in zip(s, round_keys[r])]
    return bytes(s)


def aes256_ctr(key, nonce, data):
    """Encrypts or decrypts; the counter block is the 12-byte nonce and a u32 from 0."""
    round_keys = aes256_key_schedule(key)
    out = bytearray()
    for i in range(0, len(data), 16):
        stream = aes256_block(round_keys, nonce + struct.pack(">I", i // 16))
        out += bytes(a ^ b for a, b in zip(data[i : i + 16], stream))
    return bytes(out)


# ---------------------------------------------------------------------------------------------
# Handshake (sections 5 and 6)
# ---------------------------------------------------------------------------------------------


def fields(items):
    """A HELLO or WELCOME value from (tag, bytes) pairs."""
    return b"".join(struct.pack(">BH", tag, len(data)) + data for tag, data in items)


def parse_fields(data):
    """The list itself, without meaning: [(tag, bytes)]."""
    out, last, at = [], -1, 0
    while at < len(data):
        if len(data) - at < 3:
            raise ProtocolError("malformed", "field cut short")
        tag, length = struct.unpack_from(">BH", data, at)
        at += 3
        if len(data) - at < length:
            raise ProtocolError("malformed", "field cut short")
        if tag <= last:
            raise ProtocolError("malformed", "field order")
        out.append((tag, data[at : at + length]))
        last, at = tag, at + length
    return out


def _text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError("malformed", "not UTF-8") from error


def _known(pairs, lengths):
    known = {}
    for tag, data in pairs:
        if tag in lengths:
            least, most = lengths[tag]
            if not least <= len(data) <= most:
                raise ProtocolError("malformed", f"length of field {tag}")
            known[tag] = data
    return known


def parse_hello(data):
    lengths = {1: (2, 2), 2: (0, 4096), 3: (4, 4), 4: (1, 64), 5: (32, 32), 6: (0, 255), 7: (32, 32), 8: (0, 255)}
    got = _known(parse_fields(data), lengths)
    for tag in (1, 2, 5):
        if tag not in got:
            raise ProtocolError("malformed", f"field {tag} is missing")
    low, high = got[1]
    if high < low:
        raise ProtocolError("malformed", "version range")
    return {
        "version_min": low,
        "version_max": high,
        "suites": list(got[2]),
        "capabilities": struct.unpack(">I", got.get(3, bytes(4)))[0],
        "key_id": _text(got[4]) if 4 in got else None,
        "nonce": got[5],
        "server_name": _text(got.get(6, b"")),
        "share": got.get(7),
        "software": _text(got.get(8, b"")),
    }


def parse_welcome(data):
    lengths = {1: (1, 1), 2: (1, 1), 3: (4, 4), 4: (16, 16), 5: (32, 32), 6: (0, 255), 7: (32, 32), 8: (20, 4096)}
    got = _known(parse_fields(data), lengths)
    for tag in (1, 2, 4, 5, 8):
        if tag not in got:
            raise ProtocolError("malformed", f"field {tag} is missing")
    limits = struct.unpack(">5I", got[8][:20])
    if len(got[8]) % 4 or not 16384 <= limits[0] <= 16777216 or 0 in (limits[1], limits[2], limits[4]):
        raise ProtocolError("malformed", "limits")
    if (got[2][0] == 2) != (7 in got):
        raise ProtocolError("malformed", "X25519 share")
    return {
        "version": got[1][0],
        "suite": got[2][0],
        "capabilities": struct.unpack(">I", got.get(3, bytes(4)))[0],
        "session_id": got[4],
        "nonce": got[5],
        "software": _text(got.get(6, b"")),
        "share": got.get(7),
        "max_frame": limits[0],
        "max_message": limits[1],
        "max_in_flight": limits[2],
        "max_streams": limits[3],
        "ping_after_ms": limits[4],
    }


def transport(exporter=None):
    return b"\x00" if exporter is None else b"\x01" + exporter


def zero_tag(frame_bytes):
    return frame_bytes[:HEADER_LEN] + ZERO_TAG + frame_bytes[HEADER_LEN + TAG_LEN :]


def transcript_hash(hello, welcome, exporter=None):
    return hashlib.sha256(hello + zero_tag(welcome) + transport(exporter)).digest()


LABELS = ["c2s mac", "s2c mac", "c2s key", "s2c key", "c2s iv", "s2c iv", "s conf", "c conf"]


def key_schedule(psk, shared, exporter, suite, th):
    ck0 = hkdf_extract(b"kv/2", psk)
    ck1 = hkdf_extract(ck0, shared if shared is not None else ZERO_32)
    ck2 = hkdf_extract(ck1, exporter if exporter is not None else ZERO_32)
    keys = {"ck0": ck0, "ck1": ck1, "ck2": ck2}
    for label in LABELS:
        info = b"kv/2 " + label.encode() + b"\x00" + bytes([suite]) + th
        key = hkdf_expand_32(ck2, info)
        keys[label.replace(" ", "_")] = key[:12] if label.endswith(" iv") else key
    return keys


# ---------------------------------------------------------------------------------------------
# Sealing (section 7)
# ---------------------------------------------------------------------------------------------


class Direction:
    """One direction of a session: what seals its frames, or opens them."""

    def __init__(self, suite, name, keys=None):
        self.suite = suite
        self.seq = 0
        self.epoch = 0
        if suite != 0:
            self.mac_key = keys[f"{name}_mac"]
            self.cipher_key = keys[f"{name}_key"] if suite == 2 else None
            self.iv = keys[f"{name}_iv"] if suite == 2 else None

    def nonce(self):
        pad = bytes(4) + struct.pack(">Q", self.seq)
        return bytes(a ^ b for a, b in zip(self.iv, pad))

    def tag(self, head, body):
        if self.suite == 0:
            return checksum_tag(head, body)
        return hmac(self.mac_key, struct.pack(">Q", self.seq) + head + body)

    def seal(self, opcode, request_id, flags=0, ext=b"", key=b"", value=b""):
        body = ext + key + value
        if self.suite == 2:
            flags |= ENCRYPTED
            body = aes256_ctr(self.cipher_key, self.nonce(), body)
        head = header(2, opcode, request_id, flags, len(ext), len(key), len(value))
        sealed = head + self.tag(head, body) + body
        self.seq += 1
        return sealed

    def open(self, sealed):
        """(header fields, ext, key, value) of one whole frame."""
        head, tag, body = sealed[:16], sealed[16:48], sealed[48:]
        if not _hmac.compare_digest(tag, self.tag(head, body)):
            raise ProtocolError("auth")
        got = parse_header(head, versions=(2,))
        if bool(got["flags"] & ENCRYPTED) != (self.suite == 2):
            raise ProtocolError("encrypted_flag")
        if self.suite == 2:
            body = aes256_ctr(self.cipher_key, self.nonce(), body)
        self.seq += 1
        a, b = got["ext_len"], got["ext_len"] + got["key_len"]
        return got, body[:a], body[a:b], body[b:]

    def update(self):
        """The keys that follow a KEY_UPDATE."""
        self.epoch += 1
        info = b"kv/2 upd" + struct.pack(">I", self.epoch)
        self.mac_key = hkdf_expand_32(self.mac_key, info)
        if self.suite == 2:
            self.cipher_key = hkdf_expand_32(self.cipher_key, info)


def v1_frame(secret, opcode, request_id, key=b"", value=b""):
    head = header(1, opcode, request_id, 0, 0, len(key), len(value))
    return head + hmac(secret, head + key + value) + key + value


def v1_open(secret, data):
    got = parse_header(data[:16], versions=(1,))
    if not _hmac.compare_digest(data[16:48], hmac(secret, data[:16] + data[48:])):
        raise ProtocolError("auth")
    got["key"] = data[48 : 48 + got["key_len"]]
    got["value"] = data[48 + got["key_len"] :]
    return got


# ---------------------------------------------------------------------------------------------
# Extensions (section 8)
# ---------------------------------------------------------------------------------------------


def extensions(items):
    """A block from (name or tag, bytes) pairs, in ascending order."""
    pairs = [(EXT_BY_NAME.get(tag, tag), data) for tag, data in items]
    return b"".join(bytes([tag, len(data)]) + data for tag, data in sorted(pairs))


def parse_extensions(block, listed=None):
    """[(tag, bytes)] of the items that have a meaning. `listed`: tags of the command, None = all."""
    listed = set(EXT_LENGTHS) if listed is None else set(listed)
    out, last, at = [], -1, 0
    while at < len(block):
        if len(block) - at < 2:
            raise ProtocolError("malformed", "item cut short")
        tag, length = block[at], block[at + 1]
        data = block[at + 2 : at + 2 + length]
        if len(data) != length:
            raise ProtocolError("malformed", "item cut short")
        if tag <= last:
            raise ProtocolError("malformed", "item order")
        last, at = tag, at + 2 + length
        if tag not in EXT_LENGTHS or tag not in listed:
            if tag & 0x80:
                raise ProtocolError("unsupported" if tag not in EXT_LENGTHS else "not_here")
            continue
        least, most = EXT_LENGTHS[tag]
        if not least <= length <= most:
            raise ProtocolError("malformed", "item length")
        out.append((tag, data))
    return out


# ---------------------------------------------------------------------------------------------
# Continuation and compression (section 9)
# ---------------------------------------------------------------------------------------------


def cut(opcode, request_id, flags, ext_items, key, value, piece):
    """The frames of a message as (flags, ext, key, value), every piece at most `piece` bytes."""
    if len(value) <= piece:
        return [(flags, extensions(ext_items), key, value)]
    ext = extensions(list(ext_items) + [("TOTAL_LEN", struct.pack(">I", len(value)))])
    pieces = [value[i : i + piece] for i in range(0, len(value), piece)]
    out = [(flags | MORE, ext, key, pieces[0])]
    out += [(flags | MORE, b"", b"", p) for p in pieces[1:-1]]
    out.append((flags, b"", b"", pieces[-1]))
    return out


CONTINUED = {row[0] for row in OPCODES if row[3]}


class Assembler:
    """Joins frames (header fields, ext, key, value) to messages."""

    def __init__(self, max_message=16 * 1024 * 1024, messages_max=64):
        self.max_message = max_message
        self.messages_max = messages_max
        self.partial = {}

    def feed(self, got, ext, key, value):
        """None, ("message", {...}) or ("refused", error name)."""
        rid, opcode = got["request_id"], got["opcode"]
        more, flags = bool(got["flags"] & MORE), got["flags"] & ~MORE
        if rid not in self.partial:
            total = next((d for t, d in parse_extensions(ext) if t == EXT_BY_NAME["TOTAL_LEN"]), None)
            if not more and total is None:
                return "message", self._message(got, flags, ext, key, value)
            if not more or total is None or opcode in OPCODE_NAMES and opcode not in CONTINUED:
                raise ProtocolError("continuation")
            if len(self.partial) >= self.messages_max:
                raise ProtocolError("limit")
            total = struct.unpack(">I", total)[0]
            if len(value) < PIECE_MIN or len(value) >= total:
                raise ProtocolError("continuation")
            keep = total <= self.max_message and opcode in OPCODE_NAMES
            self.partial[rid] = [opcode, flags, total, len(value), 1, [value] if keep else None, got, ext, key]
            if keep:
                return None
            return "refused", "TOO_LARGE" if opcode in OPCODE_NAMES else "UNSUPPORTED"
        state = self.partial[rid]
        state[3] += len(value)
        state[4] += 1
        if state[4] + more > self.pieces_max():
            raise ProtocolError("limit")
        wrong = opcode != state[0] or flags != state[1] or ext or key
        if wrong or len(value) < (PIECE_MIN if more else 1):
            raise ProtocolError("continuation")
        if (state[3] >= state[2]) if more else (state[3] != state[2]):
            raise ProtocolError("continuation")
        if state[5] is not None:
            state[5].append(value)
        if more:
            return None
        del self.partial[rid]
        if state[5] is None:
            return None
        return "message", self._message(state[6], flags, state[7], state[8], b"".join(state[5]))

    def pieces_max(self):
        """[P-9.2]; a piece that is not the last leaves room for the last."""
        return max(2, -(-self.max_message // PIECE_MIN))

    @staticmethod
    def _message(got, flags, ext, key, value):
        return {
            "opcode": got["opcode"],
            "request_id": got["request_id"],
            "flags": flags,
            "ext": ext,
            "key": key,
            "value": value,
        }


def lz4_literals(data):
    """An LZ4 block with literals only."""
    n = len(data)
    out = bytearray([min(n, 15) << 4])
    if n >= 15:
        n -= 15
        while n >= 255:
            out.append(255)
            n -= 255
        out.append(n)
    return bytes(out) + data


def lz4_decompress(block, original_len):
    """The LZ4 block format. Exactly `original_len` bytes or an error."""
    out, at = bytearray(), 0

    def length(nibble, position):
        total = nibble
        if nibble == 15:
            while True:
                if position >= len(block):
                    raise ProtocolError("compressed", "cut short")
                total += block[position]
                position += 1
                if block[position - 1] != 255:
                    break
        return total, position

    while True:
        if at >= len(block):
            raise ProtocolError("compressed", "cut short")
        token = block[at]
        literals, at = length(token >> 4, at + 1)
        if at + literals > len(block) or len(out) + literals > original_len:
            raise ProtocolError("compressed", "literals")
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            break
        if at + 2 > len(block):
            raise ProtocolError("compressed", "cut short")
        offset = block[at] | block[at + 1] << 8
        match, at = length(token & 15, at + 2)
        match += 4
        if offset == 0 or offset > len(out) or len(out) + match > original_len:
            raise ProtocolError("compressed", "match")
        for _ in range(match):
            out.append(out[-offset])
    if len(out) != original_len:
        raise ProtocolError("compressed", "length")
    return bytes(out)


def decompress(value, max_message=16 * 1024 * 1024):
    if len(value) < 4:
        raise ProtocolError("compressed", "cut short")
    original_len = struct.unpack(">I", value[:4])[0]
    if original_len > max_message:
        raise ProtocolError("too_large")
    return lz4_decompress(value[4:], original_len)


# ---------------------------------------------------------------------------------------------
# BATCH and ERR (sections 12.4 and 13)
# ---------------------------------------------------------------------------------------------


def batch(items):
    """(opcode, request id, ext, key, value) to a BATCH value."""
    out = b""
    for opcode, request_id, ext, key, value in items:
        out += header(2, opcode, request_id, 0, len(ext), len(key), len(value)) + ext + key + value
    return out


def parse_batch(data, reply=False):
    items, at = [], 0
    while at < len(data):
        if len(data) - at < HEADER_LEN:
            raise ProtocolError("malformed", "header cut short")
        try:
            got = parse_header(data[at : at + 16], versions=(2,))
        except ProtocolError as error:
            raise ProtocolError("malformed", "inner header") from error
        if got["flags"] or got["request_id"] != (len(items) if reply else 0):
            raise ProtocolError("malformed", "inner flags or id")
        at += 16
        a = at + got["ext_len"]
        b = a + got["key_len"]
        c = b + got["value_len"]
        if c > len(data):
            raise ProtocolError("malformed", "body cut short")
        if len(items) == BATCH_ITEMS_MAX:
            raise ProtocolError("too_large")
        items.append((got["opcode"], got["request_id"], data[at:a], data[a:b], data[b:c]))
        at = c
    return items


def error_body(code, retry_after_ms, message):
    return struct.pack(">HI", code, retry_after_ms) + message.encode()


def parse_error_body(data):
    if len(data) < 6:
        raise ProtocolError("malformed", "cut short")
    code, retry = struct.unpack(">HI", data[:6])
    return code, retry, _text(data[6:])


# ---------------------------------------------------------------------------------------------
# Typed values (section 14)
# ---------------------------------------------------------------------------------------------


class Map(list):
    """Pairs, in order: keys may be any value, so a dict does not do."""


def typed(value):
    """The shortest encoding."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for low, high, prefix, code in [
            (0, 127, b"", ">B"), (-32, -1, b"", ">b"),
            (0, 2**8 - 1, b"\xcc", ">B"), (0, 2**16 - 1, b"\xcd", ">H"),
            (0, 2**32 - 1, b"\xce", ">I"), (0, 2**64 - 1, b"\xcf", ">Q"),
            (-(2**7), -1, b"\xd0", ">b"), (-(2**15), -1, b"\xd1", ">h"),
            (-(2**31), -1, b"\xd2", ">i"), (-(2**63), -1, b"\xd3", ">q"),
        ]:
            if low <= value <= high:
                return prefix + struct.pack(code, value)
        raise ValueError(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return _sized(len(data), (31, 0xA0), b"\xd9", b"\xda", b"\xdb") + data
    if isinstance(value, bytes):
        return _sized(len(value), None, b"\xc4", b"\xc5", b"\xc6") + value
    if isinstance(value, Map):
        inner = b"".join(typed(k) + typed(v) for k, v in value)
        return _sized(len(value), (15, 0x80), None, b"\xde", b"\xdf") + inner
    return _sized(len(value), (15, 0x90), None, b"\xdc", b"\xdd") + b"".join(map(typed, value))


def _sized(n, fixed, one, two, four):
    if fixed and n <= fixed[0]:
        return bytes([fixed[1] | n])
    if one and n < 2**8:
        return one + struct.pack(">B", n)
    if n < 2**16:
        return two + struct.pack(">H", n)
    return four + struct.pack(">I", n)


def parse_typed(data):
    value, at = _typed(data, 0, 0)
    if at != len(data):
        raise ProtocolError("malformed", "bytes after the value")
    return value


def _typed(data, at, depth):
    def take(n):
        nonlocal at
        if len(data) - at < n:
            raise ProtocolError("malformed", "cut short")
        at += n
        return data[at - n : at]

    def number(code):
        return struct.unpack(code, take(struct.calcsize(code)))[0]

    def array(n, per):
        nonlocal at
        if depth == TYPED_DEPTH_MAX:
            raise ProtocolError("malformed", "depth")
        if n * per > len(data) - at:
            raise ProtocolError("malformed", "count")
        out = []
        for _ in range(n * per):
            value, at = _typed(data, at, depth + 1)
            out.append(value)
        return Map(zip(out[::2], out[1::2])) if per == 2 else out

    first = take(1)[0]
    if first <= 0x7F:
        return first, at
    if first <= 0x8F:
        value = array(first & 15, 2)
    elif first <= 0x9F:
        value = array(first & 15, 1)
    elif first <= 0xBF:
        value = _text(take(first & 31))
    elif first >= 0xE0:
        value = first - 256
    elif first == 0xC0:
        value = None
    elif first in (0xC2, 0xC3):
        value = first == 0xC3
    elif first in (0xC4, 0xC5, 0xC6):
        value = bytes(take(number({0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}[first])))
    elif first in (0xCA, 0xCB):
        value = number(">f" if first == 0xCA else ">d")
    elif 0xCC <= first <= 0xCF:
        value = number([">B", ">H", ">I", ">Q"][first - 0xCC])
    elif 0xD0 <= first <= 0xD3:
        value = number([">b", ">h", ">i", ">q"][first - 0xD0])
    elif first in (0xD9, 0xDA, 0xDB):
        value = _text(take(number({0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}[first])))
    elif first in (0xDC, 0xDD):
        value = array(number(">H" if first == 0xDC else ">I"), 1)
    elif first in (0xDE, 0xDF):
        value = array(number(">H" if first == 0xDE else ">I"), 2)
    else:
        raise ProtocolError("malformed", "first byte")
    return value, at

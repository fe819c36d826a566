"""Makes sample.pcap from the golden vectors, and compares what tshark says of it with expected.json.

    python3 sample.py              write sample.pcap (and expected.json where tshark is installed)
    python3 sample.py --check      fail if either is stale

The capture has one TCP connection per group of vectors, all to port 7777: whole sessions in the three suites,
version 1, pieces of large values, BATCH, ERR, extension blocks, and bytes that are not this protocol. Some
segments hold several frames and some frames take several segments.
"""

import json
import pathlib
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
VECTORS = HERE.parent / "protocol" / "vectors"
PCAP = HERE / "sample.pcap"
EXPECTED = HERE / "expected.json"
PORT = 7777


def vectors(file):
    return json.loads((VECTORS / f"{file}.json").read_text(encoding="utf-8"))["vectors"]


def checksum(data):
    data += b"\x00" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Connection:
    """One TCP connection on loopback, as packets of raw IPv4."""

    def __init__(self, capture, client_port):
        self.capture, self.client_port = capture, client_port
        self.seq = {True: 1000, False: 5000}
        self.packet(True, 0x02, b"")
        self.packet(False, 0x12, b"")
        self.packet(True, 0x10, b"")

    def packet(self, from_client, flags, payload):
        ports = (self.client_port, PORT) if from_client else (PORT, self.client_port)
        seq, ack = self.seq[from_client], self.seq[not from_client]
        head = struct.pack(">HHIIBBHHH", *ports, seq, ack if flags & 0x10 else 0, 5 << 4, flags, 65535, 0, 0)
        addresses = bytes([127, 0, 0, 1]) * 2
        pseudo = addresses + struct.pack(">BBH", 0, 6, len(head) + len(payload))
        head = head[:16] + struct.pack(">H", checksum(pseudo + head + payload)) + head[18:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(payload), len(self.capture), 0x4000, 64, 6, 0) + addresses
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        self.capture.append(ip + head + payload)
        self.seq[from_client] += len(payload) + (1 if flags & 0x03 else 0)

    def send(self, from_client, data, sizes=(1400,)):
        """The bytes in segments of the sizes given; the last size repeats."""
        sizes, at = list(sizes), 0
        while at < len(data):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            self.packet(from_client, 0x18, data[at : at + size])
            at += size


def unhex(text):
    return bytes.fromhex(text)


def tagged(bare):
    """A frame of the vectors without tag, with a tag of zeros."""
    return bare[:16] + bytes(32) + bare[16:]


def frame(opcode, request_id, ext=b"", key=b"", value=b"", flags=0):
    head = struct.pack(">2sBBIBBHI", b"\xca\xfe", 2, opcode, request_id, flags, len(ext), len(key), len(value))
    return head + bytes(32) + ext + key + value


def make():
    capture = []
    port = iter(range(40001, 41000))
    frames = [v for v in vectors("session") if "error" not in v]
    for handshake in vectors("handshake"):
        connection = Connection(capture, next(port))
        connection.send(True, unhex(handshake["hello"]))
        connection.send(False, unhex(handshake["welcome"]), (16, 1, 31, 1400))
        mine = [v for v in frames if v["session"] == handshake["name"]]
        c2s = b"".join(unhex(v["frame"]) for v in mine if v["direction"] == "c2s")
        s2c = b"".join(unhex(v["frame"]) for v in mine if v["direction"] == "s2c")
        connection.send(True, unhex(handshake["auth"]) + c2s)
        connection.send(False, unhex(handshake["ready"]) + s2c, (100, 7, 200, 1400))
    connection = Connection(capture, next(port))
    for vector in vectors("v1_frames"):
        if "error" not in vector:
            connection.send(vector["opcode"] < 128, unhex(vector["frame"]))
    connection = Connection(capture, next(port))
    for vector in vectors("continuation"):
        if vector["name"] in ("three pieces", "compressed: every piece carries the flag"):
            for piece in vector["frames"]:
                connection.send(True, tagged(unhex(piece)))
    connection = Connection(capture, next(port))
    for index, vector in enumerate(v for v in vectors("batch") if v["name"] in ("five requests", "five replies", "cut in a body")):
        opcode = 128 if vector["reply"] else 6
        connection.send(opcode < 128, frame(opcode, index + 1, value=unhex(vector["value"])))
    connection = Connection(capture, next(port))
    for index, vector in enumerate(vectors("errors")):
        if vector["name"] in ("CONFLICT", "RATE_LIMITED", "INTERNAL", "a code of a later edition", "only 5 bytes"):
            connection.send(False, frame(129, index + 1, value=unhex(vector["value"])))
    connection = Connection(capture, next(port))
    wanted = ("all extensions", "unknown optional items are skipped", "unknown critical item", "not ascending", "cut in an item",
              "TTL_MS one byte too long")
    for index, vector in enumerate(v for v in vectors("extensions") if v["name"] in wanted):
        connection.send(True, frame(2, index + 1, ext=unhex(vector["block"]), key=b"key", value=b"value"))
    connection.send(True, frame(22, 3, value=struct.pack(">I", 16)))
    connection.send(True, frame(99, 4, key=b"unknown opcode"))
    connection.send(True, frame(1, 5, key=b"reserved flag", flags=0x88))
    connection.send(True, frame(3, 6, key="größe".encode()))
    connection = Connection(capture, next(port))
    connection.send(True, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    out = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)  # 101: raw IP
    for index, packet in enumerate(capture):
        out += struct.pack(">IIII", 1, index * 1000, len(packet), len(packet)) + packet
    return out


def strip(node):
    """What does not depend on the version of tshark: numbers of experts go, booleans are 0 or 1."""
    if isinstance(node, list):
        return [strip(x) for x in node]
    if isinstance(node, dict):
        drop = ("_ws.expert.group", "_ws.expert.severity", "_ws.malformed")
        return {k: strip(v) for k, v in node.items() if k not in drop}
    return {"True": "1", "False": "0"}.get(node, node)


def run_tshark(pcap):
    """Every kv layer of the capture, in order, as tshark's JSON has it."""
    command = ["tshark", "-X", f"lua_script:{HERE / 'kv.lua'}", "-r", str(pcap), "-Y", "kv", "-T", "json",
               "-J", "kv", "--no-duplicate-keys"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    if "lua" in result.stderr.replace(str(HERE), "").lower():
        sys.exit(result.stderr)
    packets = json.loads(result.stdout)
    return [strip(p["_source"]["layers"]["kv"]) for p in packets]


def installed():
    try:
        subprocess.run(["tshark", "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def text_of(layers):
    lines = [json.dumps(layer, ensure_ascii=False, sort_keys=True) for layer in layers]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main():
    pcap = make()
    stale = []
    if "--check" in sys.argv[1:]:
        if not PCAP.exists() or PCAP.read_bytes() != pcap:
            stale.append(PCAP.name)
        if installed() and text_of(run_tshark(PCAP)) != EXPECTED.read_text(encoding="utf-8"):
            stale.append(EXPECTED.name)
        for name in stale:
            print(f"differs: {name}", file=sys.stderr)
        sys.exit(1 if stale else 0)
    PCAP.write_bytes(pcap)
    if installed():
        EXPECTED.write_text(text_of(run_tshark(PCAP)), encoding="utf-8")
    else:
        print("tshark is not installed: expected.json is as it was", file=sys.stderr)


if __name__ == "__main__":
    main()

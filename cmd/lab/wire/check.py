"""Checks of the protocol: check.py CHECK ARGUMENT... Exits with 0 if the check passes. The Go test
beside it starts the servers. Tags from 0x10 are those of its application."""

import json
import re
import sys

import ed25519
import wire

ECHO, OPERATORS, FOUR_BYTES, CHECKED, UNKNOWN = 0x10, 0x11, 0x12, 0x13, 0x2F


def equal(got, want, what):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def unhex(text):
    """The notation of the vectors."""
    data = b""
    for word in text.split():
        first, dots, last = word.partition("..")
        part = bytes.fromhex(first)
        data += bytes(range(part[0], int(last, 16) + 1)) if dots else part
    return data


def fields_of(text):
    """The fields column: numbers, bytes and texts, as the frame has them."""
    fields = {}
    for key, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', text):
        if value.startswith('"'):
            fields[key] = json.loads(value)
        elif key in ("nonce", "signature", "key", "extension", "trace", "body"):
            fields[key] = unhex(value)
        else:
            fields[key] = int(value, 0)
    return fields


def encode(frame, sender, f):
    """Encodes a vector from its fields."""
    def request(tag, body):
        return wire.client_frame(f["request_seq"], tag, body)

    def numbered(tag, rest=b""):
        return wire.server_frame(tag, f["request"].to_bytes(8, "little") + rest)

    def hello():
        known = {k: v for k, v in f.items() if not k.startswith("extension")}
        if "extension" in f:
            known["extensions"] = [(f["extension_type"], f["extension"])]
        return wire.hello(**known)

    encoders = {
        ("Heartbeat", "server"): lambda: wire.server_frame(wire.HEARTBEAT),
        ("Heartbeat", "client"): lambda: wire.client_frame(0, wire.HEARTBEAT),
        ("BatchEnd", "server"): lambda: numbered(wire.BATCH_END),
        ("EngineError", "server"): lambda: numbered(wire.ENGINE_ERROR, bytes([f["reason"]])),
        ("ServerBusy", "server"): lambda: numbered(wire.SERVER_BUSY),
        ("Challenge", "server"): lambda: wire.server_frame(
            wire.CHALLENGE, f["nonce"] + bytes([f["flags"]])),
        ("Hello", "client"): hello,
        ("ServerReady", "server"): lambda: wire.server_ready(**f),
        ("Close", "server"): lambda: wire.close(**f),
        ("AdminCommand", "client"): lambda: request(wire.ADMIN_COMMAND, f["text"].encode()),
        ("AdminResponse", "server"): lambda: numbered(wire.ADMIN_RESPONSE, f["text"].encode()),
        ("Traced", "client"): lambda: request(
            wire.TRACED, f["trace"] + bytes([f["trace_flags"], f["tag"]]) + f["body"]),
        ("Subscribe", "client"): lambda: wire.subscribe(f["request_seq"], **{
            k: f[k] for k in wire.SUBSCRIPTION}),
        ("Unsubscribe", "client"): lambda: wire.unsubscribe(f["request_seq"], f["topic"]),
        ("TopicData", "server"): lambda: wire.topic_frame(wire.TOPIC_DATA, **f),
        ("SnapshotBegin", "server"): lambda: wire.topic_frame(wire.SNAPSHOT_BEGIN, **f),
        ("SnapshotEnd", "server"): lambda: wire.topic_frame(wire.SNAPSHOT_END, **f),
        ("Gap", "server"): lambda: wire.topic_frame(wire.GAP, **f),
        ("request", "client"): lambda: request(f["tag"], f["body"]),
        ("response", "server"): lambda: wire.server_frame(f["tag"], f["body"]),
    }
    return encoders[frame, sender]()


def decode(sender, data):
    """Decodes a vector into the fields of the table."""
    size = wire.cut(data, 9 if sender == "client" else 1, 1024)
    equal(size, len(data), "size")
    if sender == "server":
        tag, body = data[4], data[5:]
        if tag >= wire.FIRST_RESPONSE:
            return {"tag": tag, "body": body}
        return wire.decode_server(tag, body)
    seq, tag, body = int.from_bytes(data[4:12], "little"), data[12], data[13:]
    if tag == wire.HEARTBEAT:
        equal((seq, body), (0, b""), "heartbeat")
        return {}
    if tag == wire.HELLO:
        equal(seq, 0, "request_seq of Hello")
        fields = wire.decode_hello(body)
        for kind, extension in fields.pop("extensions", []):
            fields.update(extension_type=kind, extension=extension)
        return fields
    if tag == wire.EXTENDED:
        return {"request_seq": seq, **wire.decode_subscription(body)}
    if tag == wire.ADMIN_COMMAND:
        return {"request_seq": seq, "text": body.decode()}
    if tag == wire.TRACED:
        return {"request_seq": seq, "trace": body[:24], "trace_flags": body[24], "tag": body[25],
                "body": body[26:]}
    return {"request_seq": seq, "tag": tag, "body": body}


def vectors(path):
    """Every vector of the document is decoded to its fields, and encoded from them."""
    with open(path, encoding="utf-8") as f:
        page = f.read().partition("## Vectors")[2]
    rows = [[cell.strip() for cell in row.strip("|").split("|")]
            for row in page.splitlines() if row.startswith("| ")]
    seen = set()
    for frame, sender, fields, data in (r for r in rows if len(r) == 4 and r[0] != "frame"):
        data, fields = unhex(data.strip("`")), fields_of(fields)
        equal(decode(sender, data), fields, frame)
        equal(encode(frame, sender, fields).hex(" "), data.hex(" "), frame)
        for n in range(len(data)):
            equal(wire.cut(data[:n], 1, 1024), None, f"{n} bytes of {frame}")
        seen.add(frame)
    equal(len(seen), 19, "kinds of frames with a vector")
    two = {r[0]: unhex(r[1].strip("`")) for r in rows if len(r) == 2 and r[1].startswith("`")}
    rejected = 0
    for what, data in two.items():
        if what.startswith("length"):
            try:
                wire.cut(data, 9 if "client" in what else 1, 1024)
            except wire.Malformed:
                rejected += 1
    equal(rejected, 4, "rejected lengths")
    equal(ed25519.public_key(two["seed of the private key"]), two["public key"], "public key")
    equal(wire.CONTEXT + two["nonce"], two["signed message"], "signed message")
    equal(ed25519.sign(two["seed of the private key"], two["signed message"]), two["signature"],
          "signature")


def handshake(address, want, seed=""):
    """The server's description of itself, and one request."""
    client = wire.Client(address, seed=bytes.fromhex(seed) or None, heartbeat=1000)
    want = json.loads(want)
    equal({k: client.ready[k] for k in want}, want, "ServerReady")
    client.send(wire.client_frame(7, ECHO, b"\x02hello"))
    equal(client.response(), (7, "executed", [(0x30, b"hello")] * 2), "response")


def refused(address, reason, retry_after, seed=""):
    """A client that is not admitted."""
    try:
        wire.Client(address, seed=bytes.fromhex(seed) or None)
    except wire.Closed as end:
        equal((end.reason, end.retry_after), (reason, int(retry_after, 0)), "Close")
        return
    sys.exit("the client was admitted")


def unsuitable(address, message, seed=""):
    """A server to which this client does not talk."""
    try:
        wire.Client(address, seed=bytes.fromhex(seed) or None)
    except wire.Malformed as error:
        equal(str(error), message, "error")
        return
    sys.exit("the client was admitted")


REFUSED = {UNKNOWN: 1, FOUR_BYTES: 2, OPERATORS: 3, CHECKED: 4, wire.ADMIN_COMMAND: 3}


def pipeline(address, burst):
    """Many requests at once, above the rate: each gets exactly one response, with its number."""
    count, burst = 500, int(burst)
    tags = [ECHO, ECHO, UNKNOWN, ECHO, FOUR_BYTES, OPERATORS, ECHO, CHECKED, wire.ADMIN_COMMAND]
    sent, data = {}, b""
    for i in range(count):
        tag, seq = tags[i % len(tags)], (i * 7919 + 13) % 2**64
        body = bytes([1 + i % 3]) + i.to_bytes(4, "little") if tag == ECHO else b"{}"
        sent[seq] = tag, body
        data += wire.client_frame(seq, tag, body)
    client = wire.Client(address, early=data)  # requests need not wait for ServerReady
    order, kinds = list(sent), {"executed": [], "refused": [], "shed": []}
    for _ in range(count):
        seq, kind, what = client.response()
        tag, body = sent.pop(seq)  # a KeyError is a response to no request, or a second one
        kinds[kind].append(order.index(seq))
        if kind == "executed":
            equal((tag, what), (ECHO, [(0x30, body[1:])] * body[0]), f"response to {seq}")
        if kind == "refused":
            equal(what, REFUSED.get(tag), f"reason for tag {tag:#04x}")
    for positions in kinds.values():
        equal(positions, sorted(positions), "order of responses")
    answered = len(kinds["executed"]) + len(kinds["refused"])
    if not burst <= answered < count or not kinds["refused"] or not kinds["shed"]:
        sys.exit(f"{answered} of {count} were answered with a burst of {burst}: {kinds}")


def malformed(address):
    """Requests before a malformed frame are answered, then comes Close."""
    frames = {
        "a length above the limit": (1025).to_bytes(4, "little"),
        "a length below 9": (8).to_bytes(4, "little"),
        "a heartbeat with a body": wire.client_frame(0, wire.HEARTBEAT, b"x"),
        "a second Hello": wire.hello(),
        "a frame of the server's": wire.client_frame(0, wire.BATCH_END),
    }
    for what, frame in frames.items():
        client = wire.Client(address)
        good = b"".join(wire.client_frame(seq, ECHO, b"\x01x") for seq in range(5))
        client.send(good + frame + wire.client_frame(5, ECHO, b"\x01never"))
        for seq in range(5):
            equal(client.response(), (seq, "executed", [(0x30, b"x")]), what)
        closes(client, "protocol_error", wire.NEVER)


def closes(client, reason, retry_after=None):
    try:
        got = client.response()
    except wire.Closed as end:
        equal(end.reason, reason, "reason")
        if retry_after is not None:
            equal(end.retry_after, retry_after, "retry_after")
        try:
            equal(client.socket.recv(1), b"", "bytes behind Close")
        except ConnectionResetError:
            pass
        return
    sys.exit(f"{got} instead of Close")


def closed(address, reason):
    """Prints the connection's id, then waits for Close. What ends the connection is the test's."""
    client = wire.Client(address, early=wire.client_frame(1, ECHO, b"\x01x"))
    equal(client.response(), (1, "executed", [(0x30, b"x")]), "response")
    print(client.ready["connection"], flush=True)
    closes(client, reason)


def directed(address, leader, seed=""):
    """A server that does not lead admits a client, names the leader, and executes nothing."""
    client = wire.Client(address, seed=bytes.fromhex(seed) or None,
                         early=wire.client_frame(1, ECHO, b"\x01x"))
    equal(client.ready["flags"] & 1, 0, "the flag that the server leads")
    try:
        got = client.response()
    except wire.Closed as end:
        equal((end.reason, end.retry_after, end.address), ("not_leader", 100, leader), "Close")
        return
    sys.exit(f"{got} instead of Close")


def late(address):
    """A client that does not say Hello."""
    client = wire.Client.__new__(wire.Client)
    client.connect(address)
    closes(client, "handshake_timeout")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])

"""A reader and client of the wire protocol, written from docs/wire.md alone."""

import socket
import struct

import ed25519

HEARTBEAT, BATCH_END, ENGINE_ERROR, SERVER_BUSY, CHALLENGE = 0x01, 0x02, 0x03, 0x04, 0x05
SERVER_READY, ADMIN_COMMAND, ADMIN_RESPONSE, TRACED, HELLO, CLOSE = 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D
EXTENDED, SUBSCRIBE, UNSUBSCRIBE = 0x0F, 0x01, 0x02
RECOVER, EVERY, LATEST = 0, 1, 2  # modes of a subscription
TOPIC_DATA, SNAPSHOT_BEGIN, SNAPSHOT_END, GAP = 0x81, 0x82, 0x83, 0x84
FIRST_RESPONSE = 0x30
NEVER = 0xFFFFFFFF
CONTEXT = b"sluice client handshake v1\0"
REASONS = {1: "shutdown", 2: "kicked", 3: "slow", 4: "protocol_error", 5: "silent", 6: "limit",
           7: "unauthorized", 8: "handshake_timeout", 9: "internal", 10: "not_leader",
           11: "elsewhere", 12: "behind", 13: "revoked", 15: "slow_feed"}


class Malformed(Exception):
    """The peer sent what the protocol does not allow."""


class Closed(Exception):
    """The server's last frame."""

    def __init__(self, reason, flags, retry_after, address=""):
        super().__init__(REASONS.get(reason, "internal"), flags, retry_after, address)
        self.reason, self.retry_after = REASONS.get(reason, "internal"), retry_after
        self.address, self.answered = address, bool(flags & 1)


def server_frame(tag, body=b""):
    return struct.pack("<IB", 1 + len(body), tag) + body


def client_frame(seq, tag, body=b""):
    return struct.pack("<IQB", 9 + len(body), seq, tag) + body


def cut(buffer, header, most):
    """The length of the first frame of buffer, prefix included; None while it is not complete."""
    if len(buffer) < 4:
        return None
    length, = struct.unpack_from("<I", buffer)
    if not header <= length <= most:
        raise Malformed(f"length {length} is outside {header}..{most}")
    return 4 + length if len(buffer) >= 4 + length else None


def known(layout, body):
    """The fields at the start of body. What is behind them is for later versions."""
    if len(body) < struct.calcsize(layout):
        raise Malformed(f"{len(body)} bytes are too few for {layout}")
    return struct.unpack_from(layout, body)


def hello(version=1, heartbeat=0, signature=b"", key=b"", extensions=()):
    body = struct.pack("<BBI", version, 1 if signature else 0, heartbeat) + signature + key
    for kind, data in extensions:
        body += struct.pack("<BH", kind, len(data)) + data
    return client_frame(0, HELLO, body)


def decode_hello(body):
    version, flags, heartbeat = known("<BBI", body)
    fields, rest = {"version": version, "heartbeat": heartbeat}, body[6:]
    if flags & 1:
        fields["signature"], fields["key"] = known("<64s32s", rest)
        rest = rest[96:]
    extensions = []
    while rest:
        kind, size = known("<BH", rest)
        if len(rest) < 3 + size:
            raise Malformed("a Hello ends within an extension")
        extensions.append((kind, rest[3:3 + size]))
        rest = rest[3 + size:]
    if extensions:
        fields["extensions"] = extensions
    return fields


READY = ("version", "flags", "connection", "max_request", "max_response", "window", "rate", "burst",
         "heartbeat", "silence")
READY_LAYOUT = "<BBQ7I"


def server_ready(name="", **fields):
    name = name.encode()
    body = struct.pack(READY_LAYOUT, *(fields[f] for f in READY))
    return server_frame(SERVER_READY, body + bytes([len(name)]) + name)


def decode_server_ready(body):
    fields = dict(zip(READY, known(READY_LAYOUT, body)))
    size, = known("<38xB", body)
    fields["name"] = known(f"<39x{size}s", body)[0].decode()
    return fields


def close(reason, flags, retry_after, address=""):
    body, address = struct.pack("<BBI", reason, flags, retry_after), address.encode()
    return server_frame(CLOSE, body + (bytes([len(address)]) + address if address else b""))


def decode_close(body):
    fields = dict(zip(("reason", "flags", "retry_after"), known("<BBI", body)))
    size = body[6] if len(body) > 6 else 0
    if size:
        fields["address"] = known(f"<7x{size}s", body)[0].decode()
    return fields


SUBSCRIPTION = ("topic", "mode", "epoch", "after")


def subscribe(seq, **fields):
    return client_frame(seq, EXTENDED, struct.pack("<BQBQQ", SUBSCRIBE, *(fields[f] for f in SUBSCRIPTION)))


def unsubscribe(seq, topic):
    return client_frame(seq, EXTENDED, struct.pack("<BQ", UNSUBSCRIBE, topic))


def decode_subscription(body):
    """The fields of a Subscribe or an Unsubscribe."""
    sub, = known("<B", body)
    if sub == SUBSCRIBE:
        return dict(zip(SUBSCRIPTION, known("<xQBQQ", body)))
    if sub == UNSUBSCRIBE:
        return {"topic": known("<xQ", body)[0]}
    raise Malformed(f"sub-tag {sub:#04x} from a client")


# The fields of the frames of topics that a server sends.
TOPICS = {TOPIC_DATA: ("<xQQB", ("topic", "topic_seq", "tag")),
          SNAPSHOT_BEGIN: ("<xQQQ", ("topic", "epoch", "topic_seq")),
          SNAPSHOT_END: ("<xQQ", ("topic", "topic_seq")), GAP: ("<xQQ", ("topic", "topic_seq"))}


def topic_frame(sub, body=b"", **fields):
    layout, names = TOPICS[sub]
    packed = struct.pack(layout, *(fields[n] for n in names))
    return server_frame(EXTENDED, bytes([sub]) + packed[1:] + body)


def decode_topic(body):
    """The sub-tag of a frame of a topic, and its fields."""
    sub, = known("<B", body)
    if sub not in TOPICS:
        raise Malformed(f"sub-tag {sub:#04x} from a server")
    layout, names = TOPICS[sub]
    fields = dict(zip(names, known(layout, body)))
    if sub == TOPIC_DATA:
        if fields["tag"] < FIRST_RESPONSE:
            raise Malformed(f"tag {fields['tag']:#04x} in a TopicData")
        fields["body"] = body[struct.calcsize(layout):]
    return sub, fields


def decode_server(tag, body):
    """The fields of a frame of the transport that a server sends."""
    if tag == HEARTBEAT:
        return {}
    if tag in (BATCH_END, SERVER_BUSY):
        return dict(zip(("request",), known("<Q", body)))
    if tag == ENGINE_ERROR:
        return dict(zip(("request", "reason"), known("<QB", body)))
    if tag == CHALLENGE:
        return dict(zip(("nonce", "flags"), known("<32sB", body)))
    if tag == SERVER_READY:
        return decode_server_ready(body)
    if tag == ADMIN_RESPONSE:
        return {"request": known("<Q", body)[0], "text": body[8:].decode()}
    if tag == CLOSE:
        return decode_close(body)
    if tag == EXTENDED:
        return decode_topic(body)[1]
    raise Malformed(f"tag {tag:#04x} from a server")


class Topics:
    """The topics that a connection follows, and what it knows of them."""

    def __init__(self):
        self.known = {}  # by number
        self.snapshot = None  # the topic that is being described

    def begin(self, topic, mode, epoch, after):
        """The client sends a Subscribe. From epoch 0 nothing is known before a snapshot."""
        self.known[topic] = {"mode": mode, "epoch": epoch, "topic_seq": after, "whole": epoch != 0,
                             "described": [], "frames": [], "snapshots": 0, "gaps": 0}

    def describe(self, tag, body):
        self.known[self.snapshot]["described"].append((tag, body))

    def frame(self, sub, topic, topic_seq, **fields):
        t = self.known.get(topic)
        if t is None or (self.snapshot is not None) != (sub == SNAPSHOT_END):
            raise Malformed(f"sub-tag {sub:#04x} of topic {topic}; the snapshot is of {self.snapshot}")
        last = t["topic_seq"]
        if sub == SNAPSHOT_BEGIN:
            if fields["epoch"] == t["epoch"] and topic_seq < last:
                raise Malformed(f"snapshot {topic_seq} of topic {topic} after frame {last}")
            self.snapshot, t["whole"], t["described"] = topic, False, []
            t["epoch"], t["topic_seq"] = fields["epoch"], topic_seq
        elif sub == SNAPSHOT_END:
            if (self.snapshot, last) != (topic, topic_seq):
                raise Malformed(f"the snapshot of {self.snapshot} at {last} ends as {topic} at {topic_seq}")
            self.snapshot, t["whole"] = None, True
            t["snapshots"] += 1
        elif sub == GAP:
            if topic_seq < last:
                raise Malformed(f"gap {topic_seq} of topic {topic} after frame {last}")
            t["whole"], t["topic_seq"] = False, topic_seq
            t["gaps"] += 1
        else:
            if not t["whole"] or topic_seq <= last or t["mode"] != LATEST and topic_seq != last + 1:
                raise Malformed(f"frame {topic_seq} of topic {topic} after frame {last}")
            t["topic_seq"] = topic_seq
            t["frames"].append((topic_seq, fields["tag"], fields["body"]))


class Client:
    """A connection. The handshake is done by the constructor."""

    receive = 0  # bytes of the socket's receive buffer; 0: the system's choice

    def __init__(self, address, seed=None, heartbeat=0, early=b""):
        self.connect(address)
        self.handshake(seed, heartbeat, early)

    def connect(self, address):
        """Connects and receives the Challenge."""
        network, where = address.split(" ", 1)
        family = socket.AF_UNIX if network == "unix" else socket.AF_INET
        self.socket, self.buffer, self.most = socket.socket(family), b"", 1024
        self.begun, self.reason = [], None  # of the response that is being received
        self.topics = Topics()
        self.socket.settimeout(60)
        if self.receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive)
        host, _, port = where.rpartition(":")
        self.socket.connect(where if network == "unix" else (host, int(port)))
        tag, body = self.frame()
        if tag != CHALLENGE:
            raise Malformed(f"tag {tag:#04x} instead of a Challenge")
        self.challenge = decode_server(tag, body)

    def handshake(self, seed, heartbeat, early):
        """Says Hello and receives ServerReady."""
        proof = {}
        if self.challenge["flags"] & 1:
            if seed is None:
                raise Malformed("the server asks for a key")
            message = CONTEXT + self.challenge["nonce"]
            proof = {"signature": ed25519.sign(seed, message), "key": ed25519.public_key(seed)}
        elif seed is not None:
            raise Malformed("a key is configured and the server does not ask for it")
        self.socket.sendall(hello(heartbeat=heartbeat, **proof) + early)
        tag, body = self.frame()
        if tag != SERVER_READY:
            raise Malformed(f"tag {tag:#04x} instead of ServerReady")
        self.ready = decode_server_ready(body)
        self.most = max(65536, self.ready["max_response"] + 18)

    def send(self, data):
        self.socket.sendall(data)

    def frame(self):
        """The next frame. Close raises Closed; the end of the stream without it, EOFError."""
        while True:
            size = cut(self.buffer, 1, self.most)
            if size is not None:
                tag, body = self.buffer[4], self.buffer[5:size]
                self.buffer = self.buffer[size:]
                if tag == CLOSE:
                    raise Closed(**decode_close(body))
                return tag, body
            received = self.socket.recv(1 << 16)
            if not received:
                raise EOFError
            self.buffer += received

    def subscribe(self, seq, topic, mode=RECOVER, epoch=0, after=0):
        self.topics.begin(topic, mode, epoch, after)
        self.send(subscribe(seq, topic=topic, mode=mode, epoch=epoch, after=after))

    def follow(self, done):
        """Receives frames of topics until done() is true. Responses are not expected."""
        while not done():
            response = self.step()
            if response is not None:
                raise Malformed(f"{response} while nothing was asked for")

    def response(self):
        """The next response: its request, its kind, and the application's frames. A response that
        another one interrupts is continued by the next call."""
        while True:
            response = self.step()
            if response is not None:
                return response

    def step(self):
        """Handles the next frame. The response that it completes, or None."""
        frames, reason = self.begun, self.reason
        tag, body = self.frame()
        if tag == HEARTBEAT:
            return None
        if tag >= FIRST_RESPONSE:
            if self.topics.snapshot is None:
                frames.append((tag, body))
            else:
                self.topics.describe(tag, body)
            return None
        if tag == EXTENDED:
            sub, fields = decode_topic(body)
            self.topics.frame(sub, **fields)
            return None
        fields = decode_server(tag, body)
        if tag == SERVER_BUSY:
            return fields["request"], "shed", None
        if tag == ADMIN_RESPONSE:
            return fields["request"], "operated", fields["text"]
        if self.topics.snapshot is not None:
            raise Malformed(f"tag {tag:#04x} within the snapshot of topic {self.topics.snapshot}")
        if tag == ENGINE_ERROR:
            if frames or reason is not None:
                raise Malformed("an EngineError within a response")
            self.reason = fields
            return None
        if tag != BATCH_END:
            raise Malformed(f"tag {tag:#04x} in the middle of the stream")
        self.begun, self.reason = [], None
        if reason is None:
            return fields["request"], "executed", frames
        if reason["request"] != fields["request"]:
            raise Malformed("EngineError and its BatchEnd are of different requests")
        return fields["request"], "refused", reason["reason"]

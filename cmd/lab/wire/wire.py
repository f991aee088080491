"""A reader and client of the wire protocol, written from docs/wire.md alone."""

import socket
import struct

import ed25519

HEARTBEAT, BATCH_END, ENGINE_ERROR, SERVER_BUSY, CHALLENGE = 0x01, 0x02, 0x03, 0x04, 0x05
SERVER_READY, ADMIN_COMMAND, ADMIN_RESPONSE, TRACED, HELLO, CLOSE = 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D
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
    raise Malformed(f"tag {tag:#04x} from a server")


class Client:
    """A connection. The handshake is done by the constructor."""

    def __init__(self, address, seed=None, heartbeat=0, early=b""):
        self.connect(address)
        self.handshake(seed, heartbeat, early)

    def connect(self, address):
        """Connects and receives the Challenge."""
        network, where = address.split(" ", 1)
        family = socket.AF_UNIX if network == "unix" else socket.AF_INET
        self.socket, self.buffer, self.most = socket.socket(family), b"", 1024
        self.begun, self.reason = [], None  # of the response that is being received
        self.socket.settimeout(60)
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
        self.most = max(65536, self.ready["max_response"])

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

    def response(self):
        """The next response: its request, its kind, and the application's frames. A response that
        another one interrupts is continued by the next call."""
        while True:
            frames, reason = self.begun, self.reason
            tag, body = self.frame()
            if tag == HEARTBEAT:
                continue
            if tag >= FIRST_RESPONSE:
                frames.append((tag, body))
                continue
            fields = decode_server(tag, body)
            if tag == SERVER_BUSY:
                return fields["request"], "shed", None
            if tag == ADMIN_RESPONSE:
                return fields["request"], "operated", fields["text"]
            if tag == ENGINE_ERROR:
                if frames or reason is not None:
                    raise Malformed("an EngineError within a response")
                self.reason = fields
                continue
            if tag != BATCH_END:
                raise Malformed(f"tag {tag:#04x} in the middle of the stream")
            self.begun, self.reason = [], None
            if reason is None:
                return fields["request"], "executed", frames
            if reason["request"] != fields["request"]:
                raise Malformed("EngineError and its BatchEnd are of different requests")
            return fields["request"], "refused", reason["reason"]

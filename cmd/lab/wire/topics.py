"""Checks of topics: topics.py CHECK ADDRESS. Exits with 0 if the check passes. The Go test beside it
starts the server, whose application has the topics 0 to 99 and describes each by its last text."""

import socket
import sys

import wire
from check import equal

PUBLISH = 0x14  # count u8, topic u8, key u8, text


def publish(client, seq, count, topic, text, key=0):
    """Has a text published count times. What is published stands between the two frames of the response."""
    client.send(wire.client_frame(seq, PUBLISH, bytes([count, topic, key]) + text))
    equal(client.response(), (seq, "executed", [(0x30, text)] * 2), "response to publish")


def followed(client, seq, topic, frames, **fields):
    """Subscribes, and checks how the topic is described. None: the subscription is resumed."""
    snapshots = 1 if frames is not None else 0
    client.subscribe(seq, topic, **fields)
    equal(client.response(), (seq, "executed", []), "response to Subscribe")
    t = client.topics.known[topic]
    equal((t["snapshots"], t["described"]), (snapshots, frames or []), f"snapshot of topic {topic}")
    return t


def order(address):
    """Frames of topics arrive in the order of events, within and between responses."""
    client, other = wire.Client(address), wire.Client(address)
    t = followed(client, 1, 7, [])
    publish(client, 2, 3, 7, b"a")  # the frames are within the response, so they are there
    n = t["topic_seq"]
    equal(t["frames"], [(n - 2 + i, 0x30, b"a") for i in range(3)], "frames within a response")
    u = followed(client, 3, 8, [])
    publish(other, 1, 1, 8, b"b")
    publish(other, 2, 2, 7, b"c")
    publish(other, 3, 1, 8, b"d")
    client.follow(lambda: u["frames"] and u["frames"][-1][2] == b"d")
    equal([f[2] for f in t["frames"]], [b"a"] * 3 + [b"c"] * 2, "frames of topic 7")
    equal([f[2] for f in u["frames"]], [b"b", b"d"], "frames of topic 8")
    followed(other, 4, 7, [(0x30, b"c")])

    client.send(wire.unsubscribe(4, 7) + wire.unsubscribe(5, 9))  # topic 9 was never subscribed
    equal(client.response(), (4, "executed", []), "response to Unsubscribe")
    equal(client.response(), (5, "executed", []), "response to Unsubscribe")
    del client.topics.known[7]  # a further frame of it is malformed
    publish(other, 5, 5, 7, b"e")
    publish(other, 6, 1, 8, b"f")
    client.follow(lambda: u["frames"][-1][2] == b"f")
    publish(client, 6, 1, 7, b"g")  # its own events, too
    followed(client, 7, 7, [(0x30, b"g")])
    t = followed(client, 8, 7, [(0x30, b"g")], mode=wire.LATEST)  # again: a new snapshot
    publish(other, 7, 1, 7, b"h")
    client.follow(lambda: t["frames"])


def resumption(address):
    """A client goes on behind the last frame that it has."""
    publisher, first = wire.Client(address), wire.Client(address)
    stays = wire.Client(address)  # so the topic always has a subscriber
    followed(stays, 1, 20, [])
    t = followed(first, 1, 20, [])
    publish(publisher, 1, 2, 20, b"a")
    first.follow(lambda: len(t["frames"]) == 2)
    epoch, after = t["epoch"], t["topic_seq"]
    first.socket.close()
    publish(publisher, 2, 3, 20, b"b")
    again = wire.Client(address)
    t = followed(again, 1, 20, None, epoch=epoch, after=after)
    again.follow(lambda: len(t["frames"]) == 3)
    equal([f[0] for f in t["frames"]], [after + 1, after + 2, after + 3], "resumed frames")
    for wrong in ({"epoch": epoch + 1, "after": after}, {"epoch": epoch, "after": after + 100}):
        client = wire.Client(address)
        client.topics.begin(20, wire.RECOVER, **wrong)
        client.topics.known[20].update(topic_seq=0)  # a number that no client has
        client.send(wire.subscribe(1, topic=20, mode=wire.RECOVER, **wrong))
        equal(client.response(), (1, "executed", []), "response to Subscribe")
        t = client.topics.known[20]
        equal((t["snapshots"], t["described"], t["epoch"]), (1, [(0x30, b"b")], epoch), "snapshot")


def refused(address):
    """A request for a topic that is wrong is refused, and changes nothing."""
    client = wire.Client(address)
    t = followed(client, 1, 7, [])

    def extended(seq, body):
        return wire.client_frame(seq, wire.EXTENDED, body)

    whole = wire.subscribe(2, topic=7, mode=0, epoch=0, after=0)[13:]
    for data, reason in ((wire.subscribe(2, topic=100, mode=0, epoch=0, after=0), 6),
                         (wire.subscribe(2, topic=7, mode=3, epoch=0, after=0), 4),
                         (extended(2, whole[:-1]), 2), (extended(2, b"\x02"), 2),
                         (extended(2, b"\x81" + whole[1:]), 1), (extended(2, b"\x03"), 1), (extended(2, b""), 1)):
        client.send(data)
        equal(client.response(), (2, "refused", reason), "response to " + data[13:].hex())
    publish(client, 3, 1, 7, b"x")
    equal(len(t["frames"]), 1, "frames")
    client.topics.begin(8, wire.RECOVER, 0, 0)
    client.send(extended(4, wire.subscribe(4, topic=8, mode=0, epoch=0, after=0)[13:] + b"later"))
    equal(client.response(), (4, "executed", []), "response to a Subscribe of a later version")


def half_close(address):
    """A client that sends no more has no subscriptions, so its connection ends."""
    client, publisher = wire.Client(address), wire.Client(address)
    t = followed(client, 1, 7, [])
    publish(publisher, 1, 1, 7, b"a")
    client.send(wire.subscribe(2, topic=8, mode=0, epoch=0, after=0))
    client.topics.begin(8, wire.RECOVER, 0, 0)
    client.socket.shutdown(socket.SHUT_WR)
    equal(client.response(), (2, "executed", []), "response behind the end of what is sent")
    try:
        client.follow(lambda: False)
    except EOFError:
        pass
    equal([f[2] for f in t["frames"]], [b"a"], "frames")
    equal(client.topics.known[8]["snapshots"], 1, "snapshots")


FLOOD, FRAMES = 600, 250  # requests, and frames of each: 12 MB, more than sockets and the tape hold


def slow(address):
    """What clients receive that do not read while a topic is overwritten."""
    publisher = wire.Client(address)
    wire.Client.receive = 4096
    clients = {mode: wire.Client(address) for mode in (wire.RECOVER, wire.EVERY, wire.LATEST)}
    for mode, client in clients.items():
        followed(client, 1, 30, [], mode=mode)
    publish(publisher, 1, 1, 30, b"first", key=1)
    for i in range(FLOOD):
        publish(publisher, 2 + i, FRAMES, 30, b"x" * 64, key=2)
    publish(publisher, 1000, 1, 30, b"last", key=3)
    total = 2 + FLOOD * FRAMES
    recover, latest = (clients[m].topics.known[30] for m in (wire.RECOVER, wire.LATEST))

    clients[wire.RECOVER].follow(lambda: recover["topic_seq"] == total and recover["whole"])
    if recover["gaps"] < 1 or recover["snapshots"] != 1 + recover["gaps"]:
        sys.exit(f"{recover['gaps']} gaps and {recover['snapshots']} snapshots")
    equal(recover["frames"][0][2], b"first", "first frame")

    clients[wire.LATEST].follow(lambda: latest["topic_seq"] == total)
    equal((latest["gaps"], latest["snapshots"]), (0, 1), "gaps and snapshots in the mode latest")
    equal(latest["frames"][-1], (total, 0x30, b"last"), "last frame")
    if len(latest["frames"]) >= total:
        sys.exit("no frame was skipped")

    try:
        clients[wire.EVERY].follow(lambda: False)
    except wire.Closed as end:
        equal(end.reason, "slow", "reason")
    except (EOFError, ConnectionResetError):
        pass  # its socket did not take Close
    every = clients[wire.EVERY].topics.known[30]
    if every["topic_seq"] >= total:
        sys.exit("a client that was too slow received everything")
    equal((every["gaps"], every["snapshots"]), (0, 1), "gaps and snapshots in the mode every")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])

// Package encode turns the application's outputs into the bytes that a client receives. It limits
// the effect of an encoder's mistake to the one client whose output it was.
//
// The application implements [Encoder]: one method per payload, each appending one frame to the
// buffer it is given. The pipeline calls it through a [Framer], which gives it exactly the space a
// frame may take, checks the result, adds BatchEnd after the last frame of a response or puts the
// head of a topic frame in front, and turns errors, panics and malformed frames into error values.
//
//	                          room of the frame ring's record, claimed by the caller
//	     dst ................ |<------------ maxFrame ------------>|<- 13 >|
//	+------------------------+-----------+-----+------------------+-------+
//	| whatever dst held      | len u32   | tag | body             |  end  |
//	+------------------------+-----------+-----+------------------+-------+
//	 the encoder never sees   counts tag  0x30   the application's  BatchEnd, if
//	 or moves these bytes     and body    or up  own layout         this slot is the last
//
//	     dst ................ |<-------- 18 + maxFrame ---------------------------->|
//	+------------------------+-----------+------+----------------------+-----+------+
//	| whatever dst held      | len u32   | 0x0F | 0x81, topic, its seq | tag | body |
//	+------------------------+-----------+------+----------------------+-----+------+
//	                          of a topic frame: counts all behind it    the encoder's
//
// Promises:
//   - A slot becomes one payload frame, followed by BatchEnd if it is the last of its request, or
//     nothing at all (R16, invariant I13). On an error the caller gets dst back unchanged.
//   - The encoder sees the space of its own frame and nothing before it, so its mistakes cannot change
//     the connection a record is addressed to, or another record (I4).
//   - A frame of the encoder that is sent has at most maxFrame bytes, a correct length prefix and a tag of
//     the application, so an encoder's mistake cannot break a client's framing (R17). In a topic frame its
//     tag and body follow the head, so that frame has at most maxFrame + TopicBytes.
//   - An encoder that panics costs one connection, not the actor (R17, I11).
//   - Encoding a slot allocates nothing; only errors do.
//   - What the pipeline itself tells clients (heartbeats, ends of responses, refusals, farewells) is
//     appended here and nowhere else ([Control]). A listener appends its own Close, for a client that no
//     pipeline has.
//   - With a raw [Framing] the encoder's bytes are sent as they are, for protocols other than ours.
//
// The package keeps no state between slots. Start reading at [Encoder], then [Framer.Report].
package encode

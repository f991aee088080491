package listen

import "fmt"

// Cause says why a connection ended. The numbers are stable: they may be stored, compared across versions and used as
// metric labels. Causes below 32 end a connection that the handler owned, the others one that it never saw.
type Cause uint8

const (
	PeerClosed     Cause = 1 // end of file: the peer closed or half-closed; answers to what it sent still go out
	PeerReset      Cause = 2 // the kernel reported an error on the socket
	LocalShutdown  Cause = 3 // this process shut the socket down (a shard dropped or kicked the client)
	Idle           Cause = 4 // the client was silent for the idle timeout
	FrameTooLong   Cause = 5 // a request's length is above the limit
	FrameMalformed Cause = 6 // a length too short for its header, or a heartbeat with a body
	RequestFailed  Cause = 7 // Handler.Request returned an error
	ServerClosed   Cause = 8 // Server.Close

	HandshakeTimeout   Cause = 32 // the handshake was not done in time
	HandshakeCrowded   Cause = 33 // ended before its time because all places for handshakes were taken
	HandshakeMalformed Cause = 34 // something else than a ChallengeResponse of the right size
	UnknownKey         Cause = 35 // the public key is not in the authorized keys
	BadSignature       Cause = 36 // the signature does not fit nonce and key
	HandshakeLost      Cause = 37 // the peer left, or the socket failed, during the handshake
	LimitReached       Cause = 38 // Config.Reserve had no room for another connection
	ConnectFailed      Cause = 39 // Handler.Connect returned an error
	AddressLimited     Cause = 40 // too many connections from this address in too short a time
	SetupFailed        Cause = 41 // the kernel refused an option or a place in epoll(7)

	causes = 42 // array size
)

var causeNames = [causes]string{
	PeerClosed: "peer closed", PeerReset: "peer reset", LocalShutdown: "shut down locally", Idle: "idle",
	FrameTooLong: "frame too long", FrameMalformed: "malformed frame", RequestFailed: "request refused by handler",
	ServerClosed: "server closed", HandshakeTimeout: "handshake timeout", HandshakeCrowded: "too many handshakes",
	HandshakeMalformed: "malformed handshake", UnknownKey: "unknown key", BadSignature: "wrong signature",
	HandshakeLost: "peer left during handshake", LimitReached: "connection limit reached",
	ConnectFailed: "connect refused by handler", AddressLimited: "too many connections from address",
	SetupFailed: "socket setup failed",
}

// String is a short phrase in lower case, fit for a log and for a metric label.
func (c Cause) String() string {
	if int(c) < causes && causeNames[c] != "" {
		return causeNames[c]
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

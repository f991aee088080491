package client

import (
	"fmt"
	"time"

	"sluice/transport/wire"
)

// CloseError is the Close frame with which the server ended a connection, or rejected a client.
type CloseError struct{ wire.Close }

// Error names the reason, and where the server sends the client or when it wants to see it again.
func (e *CloseError) Error() string {
	again := "come back at once"
	switch {
	case e.Address != "":
		again = fmt.Sprintf("go to %q", e.Address)
	case e.RetryAfter < 0:
		again = "do not come back"
	case e.RetryAfter > 0:
		again = "come back after " + e.RetryAfter.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("client: the server closed the connection: %v (%s)", e.Reason, again)
}

// Is makes errors.Is(err, ErrAuthFailed) true for the reason unauthorized.
func (e *CloseError) Is(target error) bool {
	return target == ErrAuthFailed && e.Reason == wire.CloseUnauthorized
}

package node

import (
	"context"
	"crypto/x509"
	"io"
	"time"

	"sluice/actors"
	"sluice/durability"
	"sluice/telemetry"
	"sluice/transport"
	"sluice/transport/listen"
)

// Running is a Node of any application, for code that observes and operates nodes: package observe,
// and a program's commands. The methods are those of Node.
type Running interface {
	Ready() bool
	Full() time.Duration
	Leave()
	Leaving() bool
	Ended() <-chan struct{}
	Err() error
	Drain(context.Context) error
	Stop(context.Context) error
	Fence(context.Context) error
	Wait(context.Context) error

	Addresses() []string
	DataDir() string
	Rings() []transport.Info
	Diagnosis() transport.Diagnosis
	Listener() *listen.Server
	View(*durability.View) bool
	Waiting() (actors.Wait, bool)
	Degraded() (now bool, total time.Duration)
	Policy() *durability.Switch
	SwapPolicy(ctx context.Context, text string, force bool) (old, now durability.Policy, err error)

	Connections() int
	Top(ctx context.Context, by actors.SortBy, most int) (top []actors.Figures, open int, err error)
	TopTopics(ctx context.Context, by actors.TopicOrder, most int) (top []actors.TopicFigures, known int, err error)
	TopicName(topic uint64) string
	Client(id uint64) (Client, bool)
	LastClosed(most int) (some []Closed, ended uint64)
	Kick(conn uint64) error
	Keys() []KeyUse
	KickKey(name string) (closed int, err error)
	SetCommand(Command)
	Reload(Changes) error
	ReloadKeys() (changes KeyChanges, err error)
	ReloadTLS() (leaf *x509.Certificate, err error)

	Clock() telemetry.Clock
	Now() int64
	Collector() *telemetry.Collector
	Sampler() *telemetry.Sampler
	Traces() []*telemetry.TraceBox
	Trace(conn uint64, responses int) error
	WriteStats(io.Writer) error
}

var _ Running = (*Node[struct{}, struct{}])(nil)

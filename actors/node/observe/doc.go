// Package observe is how operators and machines observe and operate a running node: an HTTP API at up to
// three endpoints, the same API over the client port, a live page, metrics, traces and a flight
// recorder.
//
//	curl, Prometheus, browsers ──> TCP on loopback, read-only ────────┐      (another one: /metrics alone)
//	the same, sluice admin ──> TLS, with token or certificate ────────┤
//	sluice admin --admin-socket ──> unix-domain socket, same user ────┼──> API ──> node.Running
//	sluice admin --address --key ──> client port, AdminCommand ───────┘     │
//	                                                                        ├── status.Status, Snapshot
//	OTLP collectors <── telemetry/otel <── collector, trace boxes ──────────┤
//	log <── gate watch, commands ───────────────────────────────────────────┘
//
//	GET  /                    one line: state, clients, policy, gate; the live page for browsers
//	GET  /livez               200 while every actor steps, else 503; also at /healthz
//	GET  /readyz              200 while clients are served, else 503; with policy and gate
//	GET  /connections         ?top=20&by=buffered|age|lag
//	GET  /connections/closed  ?last=1024
//	GET  /keys                the authorized keys and their open connections
//	GET  /topics              ?top=20&by=subscribers|rate|behind|gaps|memory
//	GET  /policy              the durability policy, and what the gate waits for
//	GET  /cluster             what a member of a cluster knows of all members
//	GET  /stats               all measurements
//	GET  /trace               which responses are traced
//	GET  /live.json           a status.Snapshot; ?after=N leaves out the points up to number N
//	GET  /metrics             for Prometheus
//	GET  /debug/flight        what the flight recorder remembers, if Config.Flight has one
//	GET  /debug/pprof/        profiles, with Config.Pprof
//	POST /policy              {"policy": "persisted>=1", "force": false}
//	POST /kick                {"connection": "1099511627777"}, or {"key": "desk4"}
//	POST /trace               {"connection": "1099511627777", "responses": 100}
//	POST /drain               {"deadline": "10s"}
//	POST /reload              {}
//	POST /transfer            {"node": 2}; without a node the fittest one becomes the leader
//	POST /members             a node.MemberChange
//
// The client port has none of /live.json, /metrics, /debug/ and Config.Handlers. Answers are text for
// people; with ?format=json or Accept: application/json they are JSON.
//
// Promises:
//
//   - No HTTP request over TCP without TLS changes anything. Over TLS a command needs the token, or the
//     certificate of an operator; any certificate of an authorized key reads.
//   - A request with an unknown, repeated or malformed part is rejected and changes nothing.
//   - A policy is reported as in force only after the gate has adopted it.
//   - A client that is slow, or never finishes its request, occupies one of a fixed number of
//     connections for a few seconds.
//   - The last export of a node that has ended holds everything that it measured.
//   - The page loads nothing from other hosts, and its content security policy forbids it.
//
// Start reading at Config and Serve in observe.go; the API is in read.go and change.go, its
// endpoints in endpoint.go and wire.go.
package observe

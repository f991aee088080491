// Package observe is how operators and machines look at a running server and steer it: one small API behind three doors.
//
//	curl, probes, Prometheus  ==> TCP on loopback        ==> reading only --+
//	sluice admin --socket     ==> unix socket, same user ==> everything  ---+--> API --> server.Server
//	sluice admin --addr --key ==> client port, AdminCommand of an operator -+
//
//	GET  /                    one line: state, clients, policy, gate
//	GET  /livez               200 while every actor steps, else 503
//	GET  /readyz              200 while clients are served, else 503; a degraded policy or a wedged gate is reported, not failed
//	GET  /connections         ?top=20&by=buffered|age|lag
//	GET  /connections/closed  ?last=1024
//	GET  /policy              the durability policy, and what the gate waits for
//	GET  /stats               everything that is measured
//	GET  /trace               which responses are traced
//	POST /policy              {"policy": "persisted>=1", "force": false}
//	POST /kick                {"connection": "1099511627777"}
//	POST /trace               {"connection": "1099511627777", "responses": 100}
//	POST /drain               {"deadline": "10s"}
//
// Answers are text for people; with ?format=json or Accept: application/json they are JSON.
//
// Promises:
//
//   - Nothing that arrives over TCP changes anything.
//   - A request that is not understood to the last byte is refused and changes nothing.
//   - A policy is reported as in force only when the gate has adopted it.
//   - A client that is slow, or never finishes its request, costs one of a fixed number of places for a few seconds.
//
// Start reading at Config, then New; the API is in read.go and change.go, the doors in door.go and wire.go.
package observe

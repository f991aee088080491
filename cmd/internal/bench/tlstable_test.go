package bench

import (
	"strings"
	"testing"
)

func TestTLSIsComparedWithTCPAndGoroutines(t *testing.T) {
	spec := func(server, net string, connections int) Spec {
		return Spec{Server: server, Net: net, Connections: connections, Rate: 1000}
	}
	rows := []*Row{
		planted(spec("sluice", "tcp", 1000), [2]float64{100, 1}, [2]float64{200, 1}),
		planted(spec("goroutines", "tcp", 1000), [2]float64{150, 1}, [2]float64{150, 1}),
		planted(spec("sluice", tlsNet, 1000), [2]float64{200, 1}, [2]float64{500, 1}),
		planted(spec("goroutines", tlsNet, 1000), [2]float64{400, 1}, [2]float64{600, 1}),
		planted(spec("sluice", tlsNet, 1), [2]float64{1, 1}, [2]float64{1, 1}), // has no row over TCP
	}
	var out strings.Builder
	writeTLS(&out, rows)
	for _, want := range []string{"2.33x (2.00-2.50)", "0.70x (0.50-0.83)", "3.33x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if lines := strings.Count(out.String(), "\n| "); lines != 3 { // the head and two rows
		t.Errorf("%d lines in\n%s", lines, out.String())
	}
	goals := judgeAll(tlsGoals(), []pageSection{{name: "tls-many", rows: rows}}, []string{"tls-many"})
	if len(goals) != 1 || goals[0].measured != "0.70x (0.50-0.83)" || !strings.HasPrefix(goals[0].verdict, "met") {
		t.Errorf("goals %+v", goals)
	}
	var none strings.Builder
	if writeTLS(&none, rows[:2]); none.Len() > 0 {
		t.Errorf("without TLS:\n%s", none.String())
	}
}

package tune

import (
	"fmt"
	"strings"
	"testing"
)

// short formats choices as 2front for adaptive and 2front! for spin.
func short(all []Choice) string {
	var words []string
	for _, c := range all {
		w := fmt.Sprintf("%d%s", c.Shards, c.Placement)
		if c.Idle == "spin" {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestChoicesForAMachine(t *testing.T) {
	for _, tt := range []struct {
		cores, connections int
		want               string
	}{
		{1, 64, "1fused 2fused 2front"},
		{2, 64, "1fused 1fused! 2fused 2fused! 2front 4front"},
		{2, 1, "1fused 1fused!"},
		// 4 cores less one for the load
		{3, 64, "1fused 1fused! 1spread 2fused 2fused! 2front 2front! 3front 6front"},
		{4, 64,
			"1fused 1fused! 1spread 1spread! 2fused 2fused! 2front 2front! 2spread 3front " +
				"3front! 4front 8front"},
		// 16 cores less 4 for the load
		{12, 64,
			"1fused 1fused! 1spread 1spread! 2fused 2fused! 2front 2front! 2spread 2spread! " +
				"3front 3front! 3spread 3spread! " +
				"4front 4front! 4spread 4spread! 6front 6front! 6spread 6spread! 8front 8front! " +
				"8spread 8spread! 12front"},
		{16, 64,
			"1fused 1fused! 1spread 1spread! 2fused 2fused! 2front 2front! 2spread 2spread! " +
				"3front 3front! 3spread 3spread! " +
				"4front 4front! 4spread 4spread! 6front 6front! 6spread 6spread! 8front 8front! " +
				"8spread 8spread! 12front 12front! 12spread 12spread! 16front"},
	} {
		if got := short(choices(tt.cores, tt.connections)); got != tt.want {
			t.Errorf("%d cores, %d connections:\n%s\nwant\n%s", tt.cores, tt.connections, got, tt.want)
		}
	}
}

func TestDivideGivesTheLoadItsOwnCores(t *testing.T) {
	alone := func(cpu int) []int { return []int{cpu} }
	pairs := func(cpu int) []int { return []int{cpu % 4, cpu%4 + 4} } // CPU 0 and 4 are threads of a core
	one := func(int) []int { return []int{0, 1, 2, 3} }
	upTo := func(n int) (cpus []int) {
		for i := range n {
			cpus = append(cpus, i)
		}
		return cpus
	}
	for _, tt := range []struct {
		name         string
		cpus         []int
		siblings     func(int) []int
		server, load string
	}{
		{"one core, shared", upTo(1), alone, "0", ""},
		{"two cores, shared", upTo(2), alone, "0-1", ""},
		{"one of four cores", upTo(4), alone, "0-2", "3"},
		{"last of four CPUs with gaps", []int{1, 3, 5, 9}, alone, "1,3,5", "9"},
		{"four of sixteen", upTo(16), alone, "0-11", "12-15"},
		{"four of sixty-four", upTo(64), alone, "0-59", "60-63"},
		{"both threads of a core", upTo(8), pairs, "0-2,4-6", "3,7"},
		{"one of four threads of a core", upTo(4), one, "0-2", "3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := divide(tt.cpus, tt.siblings)
			if cpuList(l.Server) != tt.server || cpuList(l.Load) != tt.load && len(l.Load) > 0 ||
				(len(l.Load) == 0) != (tt.load == "") {
				t.Errorf("server %v, load %v; want %s and %s", l.Server, l.Load, tt.server, tt.load)
			}
		})
	}
}

func TestCPUListsRoundTrip(t *testing.T) {
	for _, text := range []string{"0", "0-3", "1,3-5,9"} {
		cpus, err := parseCPUs(text)
		if err != nil || cpuList(cpus) != text {
			t.Errorf("%q is parsed as %v (%v) and formatted as %q", text, cpus, err, cpuList(cpus))
		}
	}
	for _, text := range []string{"", "a", "3-1", "-1", "0-9999", "1,"} {
		if cpus, err := parseCPUs(text); err == nil {
			t.Errorf("%q is parsed as %v", text, cpus)
		}
	}
}

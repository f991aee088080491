package tune

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/cmd/internal/config"
)

// apartLeast is the number of cores from which on the load has cores of its own.
const apartLeast = 4

// layout assigns CPUs to the server process and to the load. Without Load, both share the CPUs of
// Server.
type layout struct {
	Server []int  `json:"server_cpus"`
	Load   []int  `json:"load_cpus,omitempty"`
	why    string // reason for sharing, for sentence
}

// thisMachine returns the layout for the CPUs that this process may use, sched_getaffinity(2).
func thisMachine() (layout, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return layout{}, fmt.Errorf("tune: CPUs of this process: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if quota := runtime.GOMAXPROCS(0); quota < len(cpus) { // the control group limits CPU time, not CPUs
		return layout{Server: cpus[:quota],
			why: fmt.Sprintf("the CPU time is limited to %d of %d CPUs, which cannot be divided",
				quota, len(cpus))}, nil
	}
	return divide(cpus, siblings), nil
}

// divide assigns a quarter of the CPUs to the load, at least one and at most four, if there are
// enough. Hardware threads of a core stay together if possible, because a client on the other
// thread of a core would slow the server down.
func divide(cpus []int, siblings func(cpu int) []int) layout {
	if len(cpus) < apartLeast {
		return layout{Server: cpus, why: fmt.Sprintf("there are fewer than %d cores", apartLeast)}
	}
	want := min(max(len(cpus)/4, 1), 4)
	var load []int
	for _, cpu := range slices.Backward(cpus) {
		for _, s := range siblings(cpu) {
			if slices.Contains(cpus, s) && !slices.Contains(load, s) {
				load = append(load, s)
			}
		}
		if len(load) >= want {
			break
		}
	}
	if len(load) > len(cpus)/2 { // all CPUs are threads of one or two cores
		load = slices.Clone(cpus[len(cpus)-want:])
	}
	slices.Sort(load)
	return layout{Server: slices.DeleteFunc(slices.Clone(cpus),
		func(c int) bool { return slices.Contains(load, c) }), Load: load}
}

// siblings returns the hardware threads of a CPU's core, including the CPU itself.
func siblings(cpu int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return []int{cpu}
	}
	all, err := parseCPUs(strings.TrimSpace(string(text)))
	if err != nil || !slices.Contains(all, cpu) {
		return []int{cpu}
	}
	return all
}

// parseCPUs reads a list such as 0-3,8.
func parseCPUs(text string) (all []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b < a || b >= 1<<10 {
			return nil, config.Usagef("the list of CPUs is %q; write numbers and ranges, such as 0-3,8", text)
		}
		for c := a; c <= b; c++ {
			all = append(all, c)
		}
	}
	return all, nil
}

// cpuList formats CPUs as parseCPUs reads them.
func cpuList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.Itoa(cpus[i])
		if j > i {
			part += "-" + strconv.Itoa(cpus[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ",")
}

// confine binds all present and future threads of this process to the CPUs, with
// sched_setaffinity(2) for each. undo restores the former CPUs.
func confine(cpus []int) (undo func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("tune: CPUs of this process: %w", err)
	}
	undo = func() error {
		runtime.SetDefaultGOMAXPROCS()
		return setThreads(&before)
	}
	if err := setThreads(setOf(cpus)); err != nil {
		return undo, err
	}
	runtime.GOMAXPROCS(len(cpus))
	return undo, nil
}

func setOf(cpus []int) *unix.CPUSet {
	set := &unix.CPUSet{}
	for _, c := range cpus {
		set.Set(c)
	}
	return set
}

// setThreads sets the CPUs of each thread. A thread inherits the CPUs of its creator, so a pass
// that finds no new thread is the last.
func setThreads(set *unix.CPUSet) error {
	done := map[string]bool{}
	for fresh := true; fresh; {
		fresh = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("tune: threads of this process: %w", err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[t.Name()] {
				continue
			}
			done[t.Name()], fresh = true, true
			// ESRCH: the thread has ended.
			if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("tune: binding the load to its CPUs, sched_setaffinity: %w", err)
			}
		}
	}
	return nil
}

// PinArgument is the hidden first argument that makes a program call Pin with the rest.
const PinArgument = "tune-pin"

// Pin replaces this process by another program that runs on the given CPUs only. args are a list of
// CPUs, a path and its arguments. Pin returns only with an error. The runtime of the new program
// counts these CPUs, which it would not if they were changed after its start.
func Pin(args, environ []string) error {
	if len(args) < 2 {
		return config.Usagef("%s needs a list of CPUs and a program", PinArgument)
	}
	cpus, err := parseCPUs(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // execve(2) keeps the CPUs of the calling thread
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, setOf(cpus)); err != nil {
		return fmt.Errorf("tune: binding the server to CPUs %s, sched_setaffinity: %w", args[0], err)
	}
	return fmt.Errorf("tune: starting %s: %w", args[1], syscall.Exec(args[1], args[1:], environ))
}

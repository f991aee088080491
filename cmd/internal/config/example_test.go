package config_test

import (
	"fmt"
	"os"

	"sluice/cmd/internal/config"
)

// A command defines its settings once. Flags, environment and help text follow from that.
func Example() {
	greeting, times := "hello", 1
	set := config.NewSet("",
		config.Setting{Name: "greeting", Group: "Flags", Value: config.Text(&greeting, "TEXT"),
			Help: "what to say"},
		config.Setting{Name: "times", Group: "Flags", Value: config.Count(&times, 1, 9, false),
			Help: "how often"},
	)
	_, err := set.Load([]string{"--times=12"}, nil)
	fmt.Println(err)
	_, err = set.Load([]string{"--tiems=2"}, nil)
	fmt.Println(err)
	_, _ = set.Load([]string{"--times", "2"}, []string{"SLUICE_GREETING=good day"})
	fmt.Println(greeting, times, set.Origin("greeting"))
	_ = set.Usage(os.Stdout)
	// Output:
	// --times is "12": write a whole number from 1 to 9
	// unknown flag --tiems=2; did you mean --times? --help lists the flags
	// good day 2 SLUICE_GREETING
	//
	// Flags
	//   --greeting TEXT               what to say [default hello]
	//   --times N                     how often [default 1]
}

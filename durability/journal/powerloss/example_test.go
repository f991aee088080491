package powerloss_test

import (
	"fmt"
	"math/rand/v2"
	"os"

	"sluice/durability/journal/powerloss"
)

// A file that was synced without its directory may be gone after a power loss, and one whose directory was synced
// too is not.
func Example() {
	rng := rand.New(rand.NewPCG(1, 1))
	fewest := func(syncs ...string) int {
		least := 99
		for range 50 {
			d := powerloss.NewDisk()
			calls := []powerloss.Call{{Name: "openat", Path: "file", Flag: os.O_CREATE},
				{Name: "write", Path: "file", Data: []byte("synced")}, {Name: "fsync", Path: "file"}}
			for _, path := range syncs {
				calls = append(calls, powerloss.Call{Name: "fsync", Path: path})
			}
			for _, c := range calls {
				if err := d.Operation(c); err != nil {
					fmt.Println(err)
				}
			}
			dir, err := os.MkdirTemp("", "powerloss-")
			if err != nil {
				fmt.Println(err)
				return 0
			}
			defer os.RemoveAll(dir)
			if err := d.Crash(rng).Put(dir); err != nil {
				fmt.Println(err)
			}
			file, _ := os.ReadFile(dir + "/file")
			least = min(least, len(file))
		}
		return least
	}
	fmt.Println(fewest(), fewest(""))
	// Output: 0 6
}

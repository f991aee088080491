// Package program builds the program under test. The modules of cmd/lab require libraries that
// would choose other versions of what the program ships with, so it is always built in the main
// module, with the engines of the calling test.
//
//	test in cmd/lab ──► Build ──► go build, in the main module ──► a file to start
//
// Start reading at Build.
package program

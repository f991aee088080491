// Command packages builds everything that is given to users: archives, deb, rpm, an OCI image, the bill
// of materials and the checksums. `make package` runs it.
//
//	go build, per target ─┐
//	help texts ───────────┤
//	deploy/ ──────────────┼─> stage: the files below /, with modes ──┬─> nfpm ──> deb, rpm
//	module graph ─> licences, NOTICE, CycloneDX                      ├─> tar.gz, zip
//	CA certificates ─────────────────────────────────────────────────┴─> OCI layout in a tar
//	                                                  all of them ──> SHA256SUMS
//
// Promises:
//
//   - The same commit and version of Go give the same bytes, in any directory and at any time. All times
//     are that of the commit.
//   - Every module that is linked has its licence in the packages. One without a licence that is known
//     here ends the build.
//   - Nothing but Go is needed: no daemon, no root, no dpkg or rpmbuild.
//
// It is a module of its own, so that the program does not depend on nfpm. Start reading at release.run
// in main.go. docs/packages.md lists what is made.
package main

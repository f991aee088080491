// Package transcript runs tests whose input and output are a text file that a person can read.
//
//	# A comment.
//	publish batch=2            the command: its name, then words, each a flag or key=value
//	client=1 last              its input: any number of lines of words
//	client=2
//	----
//	client 1: released         what the command printed; it ends at an empty line
//	client 2: released
//
//	testdata/*.txt ──► Parse ──► Command ──► the test's function ──► output, compared with the file
//
// A test calls Run with a function that carries out one command. With SLUICE_REWRITE=1 in the
// environment Run writes what was printed into the files instead of comparing it; read the
// difference before it is committed.
//
// Start reading at Run, then Command.
package transcript

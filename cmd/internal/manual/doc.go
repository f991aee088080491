// Package manual turns the help texts of a program into completions for shells and into manual pages,
// so that neither is written by hand.
//
//	commands of the program ──> Command{Name, About, Help} ─┬─> Complete ──> bash, zsh, fish
//	                                       │                └─> Page, Overview ──> roff for man(1)
//	                                       └ Parse: words, flags, values, files
//
// Promises:
//
//   - Every flag and every command of the help texts is in all completions and in the pages.
//   - A flag whose help lists its values is completed with them, one that wants a file with files.
//   - The same commands give the same bytes.
//
// Start reading at Parse in parse.go.
package manual

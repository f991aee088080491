// Package tidy holds the house rules that a program can check: allowed imports, modules and
// dependencies, documentation and examples of packages, lengths of files and functions, forbidden
// constructs, what pages name, and the entries at the top of the repository. Its test checks the whole repository.
//
//	files below a root ──► load ──► tree ──► rule, rule, ... ──► complaints
//
// Start reading at rules in tidy.go. For each rule, planted_test.go has trees that break it, to
// show that the rule finds that.
package tidy

// Package tidy holds the house rules that a program can check: who imports whom, what every package documents, how long files
// and functions are, what is forbidden, and what lies at the top. Its test is part of every test run.
//
//	files below a root ──► load ──► tree ──► rule, rule, ... ──► complaints
//
// Start with rules in tidy.go. Each rule has plantings in planted_test.go, trees that break it, so that it can be seen to see.
package tidy

// Package programs finds out which programs the tree asks for, and holds that against
// the packages that scripts/setup installs.
//
//	shell scripts, Makefiles ─┐
//	testscript files ─────────┼─▶ uses ──▶ table: the package of each ──▶ scripts/setup
//	Go: exec, testutil ───────┘
//
// It reads, and runs nothing: what a variable holds it doesn't know. scripts/fresh finds
// that out, in minutes rather than seconds.
package programs

// Package programs finds out which programs the tree uses, and compares them with the
// packages that scripts/setup installs.
//
//	shell scripts, Makefiles ─┐
//	testscript files ─────────┼─▶ uses ──▶ table: the package of each ──▶ scripts/setup
//	Go: exec, testutil ───────┘
//
// It reads files and runs nothing, so it doesn't know the values of variables.
// scripts/fresh finds that out, in minutes rather than seconds.
package programs

// Package listing says what is in an image: the names of its files, with what each of
// them is, and the objects that have the contents.
//
//	tree ──▶ Write              lines, as composefs-info ls prints them
//	     ──▶ Files              values for programs
//	     ──▶ Paths, Objects     the objects, by path or by digest
//	Paths ──▶ Missing           those that no store has
package listing

// Package doctor finds out what would stop a boot, and after a boot, what was verified.
//
//	Initrd    is composefs-setup-root in it, is it started, are its modules, keys and policy there
//	Cmdline   does the command line name an image and a root, and does the policy permit it
//	Store     is that image in the repository, whole and sealed
//	Image     does it have what the hand-over needs
//	System    what of the running system was verified, by whom, and what wasn't
//
// Each adds facts and findings to a Report. A finding says what is wrong; cmd/mkimage has
// a table of advice that says for each Kind of finding what to do about it. Nothing that
// is examined is trusted, changed or executed.
package doctor

// Package doctor finds out, before a boot, what would stop it, and after one, what
// it has proved.
//
//	Initrd    is composefs-setup-root in it, is it started, are its modules, keys and policy there
//	Cmdline   does the command line name an image and a root, and does the policy permit it
//	Store     is that image in the repository, whole and sealed
//	Image     does it have what the hand-over needs
//	System    what of the running system was verified, by whom, and what wasn't
//
// Each adds facts and findings to a Report. A finding says what is wrong, and its Kind
// stands for what to do about it, which is in the table of advice of cmd/mkimage. Nothing
// that is looked at is trusted, changed or executed.
package doctor

// Package vm runs a virtual machine to its end and returns what it printed.
//
//	Machine ──▶ qemu ──▶ serial port 1 ──▶ console log ──▶ Console
//	                └──▶ serial port 2 ──▶ a file of the caller's
//
// A machine is a value: kernel or firmware, disk, memory. Run starts it, writes its
// console to a file while it runs, and returns when the guest has powered off or
// panicked, when an expected text has appeared, or when the time is up. A disk is
// written to only if the machine asks for that, so many machines can share one.
//
// The processor is emulated (TCG): a boot takes seconds, and needs no support from
// the machine on which it runs.
package vm

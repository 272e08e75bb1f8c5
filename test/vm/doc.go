// Package vm runs a virtual machine to its end and says what it printed.
//
//	Machine ──▶ qemu ──▶ serial port 1 ──▶ console log ──▶ Console
//	                └──▶ serial port 2 ──▶ a file of the caller's
//
// A machine is a value: kernel or firmware, disk, memory. Run starts it, writes
// its console to a file while it runs, and returns when the guest has powered
// off or panicked, when a wanted text was seen, or when its time is over. A disk
// is never written to unless the machine asks for that, so that many machines
// can share one.
//
// The processor is emulated (TCG): it takes seconds to boot, and needs nothing of
// the machine that it runs on.
package vm

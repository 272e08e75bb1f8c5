// Package mount mounts one image in many ways on kernels from 6.1 to the newest,
// and says what must have come of each. It is all tests: a machine for each kernel
// runs testdata/init, which does the mounting.
package mount

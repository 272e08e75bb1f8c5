// Package mount mounts images on kernels from 6.1 to the newest, and says what must
// come of it: one image in many ways, and those of all vectors of package erofs, of
// which the kernel must show what their trees have. It is all tests: a machine for
// each kernel runs testdata/init, which does the mounting, and show, which looks.
package mount

// Package mount mounts images on kernels from 6.1 to the newest and checks the
// result: one image in many ways, and the images of all vectors of package erofs,
// for which the kernel must show what their trees contain. It contains only tests:
// for each kernel, a machine runs testdata/init, which mounts, and show, which
// examines the mounts.
package mount

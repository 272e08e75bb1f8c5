package vm

import (
	"context"
	"os"
)

// sharePrograms are the possible paths of virtiofsd, which shows a machine a directory
// of this one. It is in its own package or in QEMU's.
var sharePrograms = []string{"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}

// FindShareProgram returns the path of virtiofsd, the last one if there is none.
func FindShareProgram() (path string) {
	for _, path = range sharePrograms {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return path
}

// A share is a helper that serves a directory.
type share struct{ *helper }

func startShare(ctx context.Context, dir string) (share, error) {
	// Both know these options; the newer one for the sake of the older.
	h, err := startHelper(ctx, FindShareProgram(), func(_, socket string) []string {
		return []string{"--socket-path=" + socket, "-o", "source=" + dir, "-o", "sandbox=chroot"}
	})
	return share{h}, err
}

// arguments adds to the arguments of qemu-system-x86_64. The helper reads the machine's
// memory, whose size is among the present arguments.
func (s share) arguments(args []string) []string {
	size := ""
	for i, a := range args {
		if a == "-m" {
			size = args[i+1]
		}
	}
	return []string{"-object", "memory-backend-memfd,id=mem,share=on,size=" + size + "M", "-numa", "node,memdev=mem",
		"-chardev", "socket,id=share,path=" + s.socket(), "-device", "vhost-user-fs-pci,chardev=share,tag=share"}
}

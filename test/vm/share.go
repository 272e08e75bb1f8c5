package vm

import "context"

// ShareProgram is what shows a machine a directory of this one.
const ShareProgram = "/usr/lib/qemu/virtiofsd"

// A share is a helper that has a directory.
type share struct{ *helper }

func startShare(ctx context.Context, dir string) (share, error) {
	h, err := startHelper(ctx, ShareProgram, func(_, socket string) []string {
		return []string{"--socket-path=" + socket, "-o", "source=" + dir, "-o", "sandbox=chroot"}
	})
	return share{h}, err
}

// arguments are those of qemu-system-x86_64. The helper reads the machine's memory,
// whose size is among what is there already.
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

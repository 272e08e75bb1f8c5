package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLoopRaces is how often another process may take the free device before us.
const maxLoopRaces = 64

// attachLoop makes a read-only loop device of the open file. The device frees itself
// when nothing uses it any more.
func attachLoop(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (loop devices need CONFIG_BLK_DEV_LOOP, or the module loop)", err)
	}
	defer control.Close()
	config := unix.LoopConfig{
		Fd:   uint32(image.Fd()),
		Size: 4096,
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO},
	}
	for range maxLoopRaces {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		switch {
		case errors.Is(err, unix.EBUSY):
		case errors.Is(err, unix.EINVAL) && config.Info.Flags&unix.LO_FLAGS_DIRECT_IO != 0:
			// Not every file system does direct I/O in these sizes.
			config.Info.Flags &^= unix.LO_FLAGS_DIRECT_IO
		default:
			return nil, fmt.Errorf("configure %s (LOOP_CONFIGURE came with Linux 5.8): %w", loop.Name(), err)
		}
	}
	return nil, errors.New("another process took every free loop device first")
}

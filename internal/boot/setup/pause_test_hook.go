//go:build composefs_test_pause

package setup

import (
	"os"
	"path"
	"time"

	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// What a test may do while nothing happens.
const (
	pauseEnd   = "/run/composefs/continue" // make this file, to go on before pauseMost
	pauseMost  = time.Minute
	pauseSwaps = "composefs-test-swap" // on the command line: the file to put in the image's place
)

// pauseForTest stops between measuring and mounting. It is there only in programs
// built with the tag composefs_test_pause: for a test that puts another file in the
// place of the image that was verified, by itself or as the first process, with
// which nobody else is there, by the argument composefs-test-swap=PATH.
func pauseForTest(s *session) {
	s.warn("test hook: paused between measuring and mounting")
	if from, ok := s.o.Cmdline.Lookup(pauseSwaps); ok {
		to := path.Join(s.o.Sysroot, "composefs/objects", s.image.Digest.ObjectPath())
		if err := os.Rename(path.Join(s.o.Sysroot, from), to); err != nil {
			s.log.Printf(kmsg.Err, "test hook: %v", err)
		}
		return
	}
	for end := time.Now().Add(pauseMost); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(pauseEnd); err == nil {
			return
		}
	}
}

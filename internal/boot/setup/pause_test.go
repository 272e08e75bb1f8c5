package setup

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/erofs"
)

const pauseTag = "-tags=composefs_test_pause"

// evil is an image that any program would take for a good one.
func (d disk) evil(t *testing.T, name string) {
	t.Helper()
	root := imageTree(t, initProgram, d.content)
	root.Lookup("etc").Lookup("hostname").Inline = []byte("evil")
	var image bytes.Buffer
	if err := erofs.Write(&image, root, erofs.V1); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, d.path(name), image.String())
}

// What is mounted is the file that was measured, not what has its name by then.
func TestTheImageThatWasMeasuredIsMounted(t *testing.T) {
	program := buildProgram(t, pauseTag)
	for _, policy := range []string{"userspace", "off"} {
		t.Run(policy, func(t *testing.T) {
			d, dir := newDisk(t), t.TempDir()
			d.evil(t, "evil")
			writeTestFile(t, dir+"/conf.toml", "[verify]\nfs-verity = \""+policy+"\"\n")
			c := exec.Command(program, "--sysroot", d.root, "--config", dir+"/conf.toml", "--cmdline", "composefs-test-swap=evil composefs="+d.image.Hex())
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			wantFile(t, d.path("etc/hostname"), "host")
			if b, err := os.ReadFile(d.path("sysroot/composefs/objects", d.image.ObjectPath())); err != nil || !strings.Contains(string(b), "evil") {
				t.Errorf("the image in the repository wasn't swapped: %v", err)
			}
		})
	}
}

func TestThePauseEndsWhenItIsTold(t *testing.T) {
	d, dir := newDisk(t), t.TempDir()
	writeTestFile(t, dir+"/conf.toml", "[verify]\nfs-verity = \"off\"\n")
	c := exec.Command(buildProgram(t, pauseTag), "--sysroot", d.root, "--config", dir+"/conf.toml", "--cmdline", "composefs="+d.image.Hex())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if _, err := os.Stat(recordPath); err == nil {
		t.Error("it doesn't pause")
	}
	writeTestFile(t, "/run/composefs/continue", "")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	wantFile(t, d.path("etc/hostname"), "host")
}

func TestWhatIsShippedHasNoPause(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  bool
	}{{nil, false}, {[]string{pauseTag}, true}} {
		b, err := os.ReadFile(buildProgram(t, c.flags...))
		if err != nil || bytes.Contains(b, []byte("composefs-test-swap")) != c.want {
			t.Errorf("built with %q: %v, pauses: %v, want %v", c.flags, err, !c.want, c.want)
		}
	}
}

package setup_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// maxThreads and maxRSS are what the program may use.
const (
	maxThreads = 8
	maxRSS     = 16 << 10 // KiB
)

// A whole boot with a signature check, seen from outside: strace counts what the
// program asks of the kernel. Random numbers, of which there are none yet early
// in a boot, and network and other programs must not be among it.
func TestABootStaysWithinItsBudget(t *testing.T) {
	d, key := newDisk(t), newKey(t)
	strace := testutil.RequireTool(t, "strace")
	d.seal(t, key, 7)
	dir := t.TempDir()
	writeTestFile(t, dir+"/conf.toml", "[verify]\nfs-verity = \"userspace\"\n")
	writeTestFile(t, dir+"/keys/k.pub", string(key.Public("k").Text()))
	program := buildProgram(t)
	c := exec.Command(strace, "-f", "-qq", "-e", "trace=getrandom,socket,execve,clone,clone3", "-o", dir+"/trace",
		program, "--sysroot", d.root, "--config", dir+"/conf.toml", "--keys", dir+"/keys", "--cmdline", "composefs="+d.image.Hex())
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	trace, err := os.ReadFile(dir + "/trace")
	if err != nil {
		t.Fatal(err)
	}
	for call, most := range map[string]int{" getrandom(": 0, " socket(": 0, " execve(": 1, " clone": maxThreads - 1} {
		if n := strings.Count(string(trace), call); n > most {
			t.Errorf("%d times%s…), at most %d allowed:\n%s", n, call, most, trace)
		}
	}
	var record struct {
		Seal  struct{ Status string }
		Setup struct {
			RSS int `json:"max-rss-kib"`
		} `json:"setup-root"`
	}
	text, err := os.ReadFile(recordPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if record.Seal.Status != "valid" {
		t.Errorf("the seal is %q: nothing was verified", record.Seal.Status)
	}
	if record.Setup.RSS == 0 || record.Setup.RSS > maxRSS {
		t.Errorf("it used %d KiB of memory, at most %d allowed", record.Setup.RSS, maxRSS)
	}
}

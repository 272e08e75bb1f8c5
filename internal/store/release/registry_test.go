package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// dockerRegistry starts Debian's docker-registry, which has no referrers API, and returns its
// host.
func dockerRegistry(t *testing.T) string {
	t.Helper()
	program := testutil.RequireScript(t, "../../../scripts/docker-registry")
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := free.Addr().String()
	free.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir+"/data", host)
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", dir+"/config.yml")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s", said.Bytes())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", host)
		if err == nil {
			c.Close()
			return host
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A registry that people run takes our releases, skopeo copies them, and an update moves by
// ranges what has changed.
func TestDebiansRegistryServesReleases(t *testing.T) {
	skopeo := testutil.RequireTool(t, "skopeo")
	host := dockerRegistry(t)
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	other, _ := newRepo(t, sha256V1)
	for n, d := range []verity.Digest{build(t, r, tree(500), 1, ours), build(t, r, tree(500, 3, 250), 2, ours)} {
		ref := fmt.Sprintf("docker://%s/os/debian:%d", host, n)
		pushed := publish(t, r, d, ref)
		_, done, whole, err := take(t, other, open(t, ref), trusting(ours))
		if err != nil || len(whole) > 0 {
			t.Fatalf("%v: %v", whole, err)
		}
		complete(t, other, d, trusting(ours))
		if n == 1 && (done.Stats.Stored != 3 || done.Moved > done.Size/20) {
			t.Errorf("moved %d of %d bytes: %+v", done.Moved, done.Size, done)
		}
		copied := filepath.Join(t.TempDir(), "copied")
		out, err := exec.Command(skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", ref, "oci:"+copied+":tag").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var index struct{ Manifests []struct{ Digest string } }
		b, err := os.ReadFile(copied + "/index.json")
		if err == nil {
			err = json.Unmarshal(b, &index)
		}
		if err != nil || len(index.Manifests) != 1 || index.Manifests[0].Digest != pushed.Manifest.Digest() {
			t.Errorf("%s: %v", b, err)
		}
		into, _ := newRepo(t, sha256V1)
		first, err := pull(t, into, open(t, ref))
		if err != nil {
			t.Fatal(err)
		}
		second, err := pull(t, into, open(t, "oci:"+copied+":tag"))
		if err != nil || second.Stored != second.Layers || !slices.Equal(first.Images, second.Images) {
			t.Errorf("pulled %+v, copied %+v: %v", first, second, err)
		}
	}
}

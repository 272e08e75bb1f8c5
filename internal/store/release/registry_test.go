package release_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// A registry that people run takes our releases, skopeo copies them, and an update moves by
// ranges what has changed.
func TestDebiansRegistryServesReleases(t *testing.T) {
	skopeo := testutil.RequireTool(t, "skopeo")
	host := testutil.DockerRegistry(t, "../../../scripts")
	ours := key(t)
	r, _ := newRepo(t, sha256V1)
	other, _ := newRepo(t, sha256V1)
	for n, d := range []verity.Digest{build(t, r, contents(500), 1, ours), build(t, r, contents(500, 3, 250), 2, ours)} {
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

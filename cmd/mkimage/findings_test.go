package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A finding is what doctor says of something, and what is then done: after that
// doctor no longer says it.
type finding struct {
	check  string // its name, with what it is
	before string // for the shell
	doctor string
	advice string // pattern of what the finding ends with
	remedy string // for the shell
}

var (
	unsealedInitrd = strings.Replace(rightInitrd, " --keys mykey.pub", "", 1)
	withPolicy     = rightInitrd + " --policy policy"
	policyOf       = func(text string) string { return "printf '" + text + "\\n' >policy; " + withPolicy + "; " + rightUKI }
)

var findings = []finding{
	{"stops the boot: seal", "rm repo/seals/*", "mkimage doctor --repo repo linux.efi", "seal the image with one of the keys in the initrd: `mkimage seal`", rightSeal},
	{"stops the boot: seal", "mkimage seal --repo repo --key other/mykey.key --sequence 2 stable", "mkimage doctor --repo repo linux.efi", "`mkimage seal`", "mkimage seal --repo repo --key mykey.key --sequence 3 stable"},
	{"stops the boot: objects", damage("rm $o"), "mkimage doctor --repo repo linux.efi", "build or install the image again", rebuildAndVerify},
	{"stops the boot: image", "rm repo/images/$(cat digest)", "mkimage doctor --repo repo linux.efi", "install the image there, or correct the command line", rebuildAndVerify},
	{"stops the boot: image", strings.Replace(rightUKI, "$(cat digest)", "composefs.ref=unstable", 1), "mkimage doctor --repo repo linux.efi", "install the image there, or correct the command line", "mkimage build --repo repo --boot --ref unstable --seal mykey.key --sequence 1 root"},
	{"stops the boot: cmdline", strings.Replace(rightUKI, "--image $(cat digest)", "", 1), "mkimage doctor linux.efi", "add composefs.digest=v1-sha256-12:HEX, which `mkimage build` and `mkimage measure` print", strings.Replace(rightUKI, "$(cat digest)", "composefs.digest=v1-sha256-12:$(mkimage build --boot --quiet root)", 1)},
	{"warning: root", strings.Replace(rightUKI, "root=PARTLABEL=root ", "", 1), "mkimage doctor linux.efi", "name the root partition, as in root=PARTLABEL=root", rightUKI},
	{"warning: no-seal", unsealedInitrd + "; " + rightUKI, "mkimage doctor linux.efi", "put a public key into the initrd with `mkimage initrd --keys`", rightInitrd + "; " + rightUKI},
	{"warning: fs-verity", policyOf("[verify]\\nallow-insecure = true\\nfs-verity = \"userspace\""), "mkimage doctor linux.efi", `set fs-verity = "require"`, policyOf("[verify]\\nfs-verity = \"require\"")},
	{"stops the boot: kernel", strings.Replace(rightUKI, "6.12.1-test", "6.13.0", 1), "mkimage doctor linux.efi", "make the initrd from the modules of that kernel", "cp -a root/usr/lib/modules/6.12.1-test 6.13.0; " + strings.Replace(rightInitrd, "root/usr/lib/modules/6.12.1-test", "6.13.0", 1) + "; " + strings.Replace(rightUKI, "6.12.1-test", "6.13.0", 1)},
	{"stops the boot: mount-point", "mkdir -p bare/usr && mkimage build --output image bare", "mkimage doctor image", "build the image from a whole system, with `mkimage build --boot`", "mkimage build --boot --output image bare"},
	{"warning: unsigned", "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=us -keyout db.key -out db.crt", "mkimage doctor linux.efi", "sign it: `mkimage uki sign`", "mkimage uki sign --sb-key db.key --sb-cert db.crt --output linux.efi linux.efi"},
	{"stops the boot: entries", "mkimage disk --repo repo --image stable --esp note=digest --output disk.img", "mkimage doctor disk.img", "or make the disk again with `mkimage disk --uki`", "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
}

func TestFindingsOfDoctorGoWhenTheirRemedyIsCarriedOut(t *testing.T) {
	model := userMachine(t)
	for i, f := range findings {
		t.Run(strings.ReplaceAll(f.check, " ", "-"), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			for _, script := range []string{"cp -a --reflink=auto " + model + " " + dir, "cd " + dir + "; " + f.before} {
				if out, status := shell(t, ".", script); status != 0 {
					t.Fatalf("finding %d: %s", i, out)
				}
			}
			said := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(f.check) + ": .*" + f.advice + "$")
			if out := examined(dir, f.doctor); !said.MatchString(out) {
				t.Errorf("%s\nwant %q: %s", f.doctor, said, out)
			}
			if out, status := shell(t, dir, f.remedy); status != 0 {
				t.Errorf("the remedy: %s\nstatus %d: %s", f.remedy, status, out)
			}
			if out := examined(dir, f.doctor); said.MatchString(out) || !strings.Contains(out, "image") {
				t.Errorf("after the remedy, %s: %s", f.remedy, out)
			}
		})
	}
}

// examined returns what doctor prints; its status is another's test.
func examined(dir, script string) string {
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A trial is a refused boot, and what its message says to do about it, for the shell:
// once that is done the same boot succeeds. The shell is in a directory with the files
// line and policy, which are read at the boot, the trusted keys.d, and what images are
// made of: tree and its key. $repo is the repository at $root, the root partition, $image
// the digest of its image, $newer that of another one.
type trial struct {
	// says are parts of the refusal, with "|" between them. The last is a part of one
	// remedy, or of one message in the source that has its remedy in itself.
	says   string
	wrong  string
	remedy string
}

const (
	remeasure = `echo "composefs.digest=v1-sha256-12:$(mkimage measure $repo/images/$image)" >line`
	noSeal    = "rm $repo/seals/*; "
	resealed  = "mkimage seal --repo $repo --key ours.key --sequence 7 $image"
	byRef     = "echo composefs.ref=os >line"
	build     = "mkimage build --quiet --repo $repo --ref os tree"
	rebuild   = build + ` >digest; mkimage seal --repo $repo --key ours.key --sequence 8 os; echo "composefs.digest=v1-sha256-12:$(cat digest)" >line`
)

var trials = []trial{
	{"mkimage measure prints it", "echo quiet >line", remeasure},
	{"mkimage measure prints it", "echo quiet >line", `echo 'argument = "optional"' >>policy`},
	{"shorten it", `printf '%070000d' 0 >>line`, remeasure},

	{"has no directory composefs|name the partition that has it with root=", "mkdir $root/elsewhere; mv $repo $root/elsewhere", "mv $root/elsewhere/composefs $root"},
	{"image not found: the command line has %s|restore the missing image, or boot another entry", "rm $repo/images/$image", rebuild},
	{"image not found: the command line has %s|restore the missing image, or boot another entry", "rm $repo/images/$image", `echo composefs=$newer >line`},
	{"image not found: none of the %d|restore one of them, or boot another entry", "rm $repo/images/*[0-9a-f]; echo composefs=$image composefs.digest=v1-sha256-12:$newer >line", "ln -s ../objects/$(echo $newer | sed 's,..,&/,') $repo/images/$newer"},
	{"image not found: the command line has composefs.ref=|make the missing ref, or boot another entry", byRef + "; rm $repo/images/refs/os", build},
	{"image not found: composefs.ref=|make the ref again, or boot another entry", byRef + "; ln -sfn $image $repo/images/refs/os", build},
	{"points to %s, but there is no|restore the missing image, or boot another entry", byRef + "; rm $repo/images/$image", build},
	{"points to %s, but there is no|restore the missing image, or boot another entry", byRef + "; rm $repo/images/$image", "echo composefs.ref=newer >line"},
	{"want a file of the repository|put the image in its place, or boot another entry", "ln -sfn ../../../etc/passwd $repo/images/$image", "rm $repo/images/$image; " + build},
	{"want a file of the repository|put the image in its place, or boot another entry", "ln -sfn ../../../etc/passwd $repo/images/$image", "echo composefs=$newer >line"},
	{"the image was changed or is another|restore the image, or boot another entry", "sed -i s/off/userspace/ policy; echo x >>$repo/images/$image", build},
	{"the image was changed or is another|restore the image, or boot another entry", "sed -i s/off/userspace/ policy; echo x >>$repo/images/$image", "echo composefs=$newer >line"},
	{"or set [verify] fs-verity = \\\"userspace\\\"", "sed -i s/off/require/ policy", "sed -i s/require/userspace/ policy"},

	{"open the object store|restore it or boot another disk", "mv $repo/objects $repo/o; ln -s o $repo/objects", "rm $repo/objects; mv $repo/o $repo/objects"},
	{"add it to the image, or set mount", "rm -r tree/etc; " + rebuild, "mkdir tree/etc; " + rebuild},
	{"add it to the image, or set mount", "rm -r tree/etc; " + rebuild, `printf '[etc]\nmount = "none"\n' >>policy`},
	{"and no link on the way to it|put one there on the root partition", "mkdir -p $root/other; ln -s other $root/state", "rm $root/state; mkdir $root/state"},
	{"and no link on the way to it|put one there on the root partition", "mkdir -p $root/state/deploy; ln -s /etc $root/state/deploy/$image", "echo composefs=$newer >line"},
	{"remove the link from the root partition", `echo 'extensions = "forbid"' >>policy; mkdir -p $root/state/deploy/$image/var/lib; ln -s /sysroot/evil $root/state/deploy/$image/var/lib/extensions`, "rm $root/state/deploy/$image/var/lib/extensions"},
	{"the image has no init program|install one, or name it with init=", "mv tree/sbin/init tree/sbin/begin; " + rebuild, "mv tree/sbin/begin tree/sbin/init; " + rebuild},
	{"install one, or name it with init=", "mv tree/sbin/init tree/sbin/begin; " + rebuild, `sed -i 's,^,init=/sbin/begin ,' line`},
	{"mkimage build makes it again", "rm $repo/objects/$object", build},
	{"mkimage build makes it again", "ln -sf /etc/passwd $repo/objects/$object", build},
	{"mkimage build makes it again", "rm $repo/objects/$object", "cp -r tree other; echo '# other' >>other/sbin/init; mkimage build --quiet --repo $repo --seal ours.key --sequence 8 other >digest; echo composefs=$(cat digest) >line"},
	{"turn it on in the firmware's setup", `printf '[measure]\ntpm = "require"\n' >>policy`, "sed -i 's/tpm = .*/tpm = \"if-present\"/' policy"},

	{"image has no seal|seal it where it was built", noSeal, resealed},
	{"seal is for another image|each image needs a seal of its own", "for s in seal seal.minisig; do cp $repo/seals/*$newer.$s $repo/seals/$(basename $repo/seals/*$image.$s); done", "mkimage seal --repo $repo --key ours.key --sequence 8 $image"},
	{"boot a newer image", "echo 'minimum-sequence = 8' >>policy", "echo composefs=$newer >line"},
	{"boot an image that was sealed with this --os-id", "echo 'os-id = [\"debian\"]' >>policy", "mkimage seal --repo $repo --key ours.key --sequence 8 --os-id debian $image"},
	{"let the ref point to an image that was sealed for it", byRef + "; mkimage seal --repo $repo --key ours.key --sequence 8 --for-ref other $image", "ln -sfn ../$newer $repo/images/refs/os"},
	{"image is revoked: the policy lists|boot another image", "echo \"revoked = [\\\"$image\\\"]\" >>policy", "echo composefs=$newer >line"},
	{"seal has no signature|sign it where the image was built", "rm $repo/seals/*.minisig", resealed},
	{"sign it where the image was built", "rm $repo/seals/*.minisig", "minisign -S -W -s plain.key -m $repo/seals/*$image.seal; cp plain.pub keys.d"},
	{"the seal, the signature or the key was changed or cut off|seal the image again", "echo x | tee -a $repo/seals/*$image.seal", "mkimage seal --repo $repo --key ours.key --sequence 7 $image"},
	{"in the legacy form, without prehashing|sign with minisign 0.10 or later, without -l", "minisign -S -l -W -s plain.key -m $repo/seals/*$image.seal; cp plain.pub keys.d", "minisign -S -W -s plain.key -m $repo/seals/*$image.seal"},
	{"or add the other's .pub file", noSeal + "mkimage seal --repo $repo --key theirs.key --sequence 7 $image", "mkimage seal --repo $repo --key ours.key --sequence 7 $image"},
	{"or add the other's .pub file", noSeal + "mkimage seal --repo $repo --key theirs.key --sequence 7 $image", "cp theirs.pub keys.d"},

	{"put the file itself there", "mv policy other; ln -s other policy", "rm policy; mv other policy"},
	{"put the file itself there", "mv keys.d/ours.pub .; ln -s ../ours.pub keys.d", "cp --remove-destination ours.pub keys.d"},
	{"requires a signature, but there is no|add the .pub file of the signing key", "rm keys.d/*; echo 'signature = \"require\"' >>policy", "cp ours.pub keys.d"},
	{"to check one with|add the .pub file of a key, or say", "rm keys.d/*; echo 'signature = \"optional\"' >>policy", "cp ours.pub keys.d"},
	{"to check one with|add the .pub file of a key, or say", "rm keys.d/*; echo 'signature = \"optional\"' >>policy", "sed -i 's/signature = .*/signature = \"off\"/' policy"},
	{"for a boot that checks no seal", "rm keys.d/*; echo 'minimum-sequence = 1' >>policy", "cp ours.pub keys.d"},
	{"for a boot that checks no seal", "rm keys.d/*; echo \"revoked = [\\\"$newer\\\"]\" >>policy", "echo 'signature = \"off\"' >>policy"},
	{"leave out the one or the other", "printf 'minimum-sequence = 1\\nsignature = \"off\"\\n' >>policy", "sed -i /minimum/d policy"},
	{"leave out the one or the other", "printf 'minimum-sequence = 1\\nsignature = \"off\"\\n' >>policy", "sed -i /signature/d policy"},
	{"needs a policy with [verify] signature", byRef + "; echo 'signature = \"optional\"' >>policy", "sed -i 's/optional/require/' policy"},
	{"or set allow-insecure = true", "sed -i s/off/require/ policy; echo \"composefs=?$image\" >line", "echo 'allow-insecure = true' >>policy"},

	{"leave only one, or give several composefs.digest=", "echo composefs=$image composefs=$newer >line", "echo composefs=$image >line"},
	{"leave only one, or give several composefs.digest=", "echo composefs=$image composefs=$newer >line", "echo composefs.digest=v1-sha256-12:$image composefs.digest=v1-sha256-12:$newer >line"},
	{"contradict each other|leave one of them out", "echo composefs=$image composefs.ref=os >line", byRef},
	{"has no value, want %s=", "echo composefs >line", "echo composefs=$image >line"},
	{"is unknown; known are", "echo composefs.image=$image >line", "echo composefs=$image >line"},
	{"want v1-sha256-12:HEX", "echo composefs.digest=$image >line", remeasure},
	{"want format v0, v1 or v2", "echo composefs.digest=v3-sha256-12:$image >line", remeasure},
	{"want blocks of 2^12 bytes", "echo composefs.digest=v1-sha256-16:$image >line", remeasure},
	{"want sha256 or sha512", "echo composefs.digest=v1-md5-12:$image >line", remeasure},
}

// A site is the machine of a trial.
type site struct {
	root string // where the root partition is mounted
	dir  string
	env  []string
}

const madeSite = `
mkdir -p tree/bin tree/sbin tree/etc tree/var tree/sysroot keys.d
printf '#!' >tree/bin/interpreter; chmod 755 tree/bin/interpreter
printf '#!/bin/interpreter\n%9000d' 0 >tree/sbin/init; chmod 755 tree/sbin/init
mkimage key new ours; mkimage key new theirs; cp ours.pub keys.d
minisign -G -W -p plain.pub -s plain.key
cp -r tree newer; echo '# newer' >>newer/sbin/init
mkimage build --quiet --repo composefs --ref os --seal ours.key --sequence 7 tree >image
mkimage build --quiet --repo composefs --ref newer --seal ours.key --sequence 8 newer >newer-image
`

// modelSite makes what every site is a copy of.
func modelSite(t *testing.T) string {
	t.Helper()
	testutil.RequireRoot(t)
	testutil.RequireTool(t, "minisign")
	bin, model := t.TempDir(), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/mkimage", "../mkimage").CombinedOutput(); err != nil {
		t.Fatalf("build mkimage: %v\n%s", err, out)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	(&site{dir: model}).sh(t, madeSite)
	return model
}

func newSite(t *testing.T, model string) *site {
	t.Helper()
	mountTmpfs(t, "/run")
	s := &site{root: filepath.Join(t.TempDir(), "sysroot"), dir: filepath.Join(t.TempDir(), "work")}
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, s.root)
	s.env = []string{"root=" + s.root, "repo=" + filepath.Join(s.root, "composefs")}
	(&site{dir: "/", env: s.env}).sh(t, "cp -a "+model+" "+s.dir+"; mv "+s.dir+"/composefs $root")
	for _, v := range []string{"image=$(cat image)", "newer=$(cat newer-image)", "object=$(mkimage measure tree/sbin/init | sed 's,..,&/,')"} {
		s.env = append(s.env, strings.TrimSpace(s.sh(t, "printf "+v)))
	}
	s.sh(t, "echo composefs.digest=v1-sha256-12:$image >line; printf '[verify]\\nfs-verity = \"off\"\\n' >policy")
	return s
}

func (s *site) sh(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	var message bytes.Buffer
	cmd.Stderr = &message
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, &message)
	}
	return string(out)
}

// run does what the program does, up to its exit, and returns what it says then, "" if
// all is well. verify asks, as before the root is switched, whether it is the verified one.
func (s *site) run(t *testing.T, verify bool) string {
	t.Helper()
	line, err := os.ReadFile(s.dir + "/line")
	if err != nil {
		t.Fatal(err)
	}
	var console strings.Builder
	log := kmsg.New(nil, &console)
	do := settings{cmdline: string(line), sysroot: s.root, paths: setup.Paths{Config: s.dir + "/policy", Keys: s.dir + "/keys.d"}}
	o, err := do.read()
	switch {
	case err != nil:
	case verify:
		err = setup.VerifiedRoot(o)
	default:
		err = do.boot(o, log, io.Discard)
	}
	console.Reset()
	if end(err, true, o.Config, log) != setup.CodeOK && console.Len() == 0 {
		t.Error("refused without a word")
	}
	return strings.TrimSpace(console.String())
}

// mountTmpfs lasts for the test. At its end goes what is at the path then: this,
// or the new root that took its place.
func mountTmpfs(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
}

func TestEachRemedyOfARefusalWorks(t *testing.T) {
	model := modelSite(t)
	for _, r := range trials {
		says := r.parts()
		t.Run(strings.ReplaceAll(says[len(says)-1], "/", "-"), func(t *testing.T) {
			s := newSite(t, model)
			s.sh(t, r.wrong)
			said := s.run(t, false)
			if said == "" {
				t.Fatal("booted, want a refusal")
			}
			for _, part := range says {
				if !textOf(part).MatchString(said) {
					t.Errorf("%s, want %q", said, part)
				}
			}
			s.sh(t, r.remedy)
			if said := s.run(t, false); said != "" {
				t.Errorf("after %s: %s", r.remedy, said)
			}
		})
	}
}

// Without a mistake the site boots, so that it is the remedy that counts.
func TestTheSiteOfRemediesBoots(t *testing.T) {
	if said := newSite(t, modelSite(t)).run(t, false); said != "" {
		t.Fatal(said)
	}
}

// What keeps the root from being switched is gone when it is removed, as is said.
func TestEachRemedyBeforeTheSwitchWorks(t *testing.T) {
	model := modelSite(t)
	for _, r := range []trial{
		{"boot without what keeps composefs-setup-root from running", "rm /run/composefs/root", ""},
		{"boot without what unmounts it", "umount -l $root/etc", ""},
		{"remove what mounts it", "mount -t tmpfs over $root/sbin", "umount $root/sbin"},
	} {
		t.Run(r.says, func(t *testing.T) {
			s := newSite(t, model)
			if said := s.run(t, false); said != "" {
				t.Fatal(said)
			}
			s.sh(t, r.wrong)
			if said := s.run(t, true); !strings.Contains(said, r.says) {
				t.Fatalf("%q, want %q", said, r.says)
			}
			if r.remedy == "" { // another boot, in which nothing does that
				s = newSite(t, model)
				if said := s.run(t, false); said != "" {
					t.Fatal(said)
				}
			} else {
				s.sh(t, r.remedy)
			}
			if said := s.run(t, true); said != "" {
				t.Error(said)
			}
		})
	}
}

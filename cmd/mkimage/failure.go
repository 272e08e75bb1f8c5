package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/check/ukicheck"
	"github.com/composefs-go/composefs/internal/disktool"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/oci/layer"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/internal/store/collect"
	"github.com/composefs-go/composefs/internal/store/fetch"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/release"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/sign/secureboot"
	"github.com/composefs-go/composefs/verity"
)

// exits says which errors have an exit status of their own, and what helps. In a hint,
// REPO is the repository that the command was given, IMAGE the image that a policy refuses or
// that isn't sealed, FILE and DEVICE are what an imagemount.NoVerityError is about, and PACKAGE has the
// program that is missing. The first row that matches counts.
var exits = []struct {
	is     func(error) bool
	status int
	hint   string
}{
	{is(collect.ErrNoRoot), exitFailure, "name the images that are needed with --keep, or say --everything if none is"},
	{is(collect.ErrBroken), exitMismatch, "build or pull it again; or if it isn't needed, remove what leads to it: a tag with mkimage oci untag, a seal with mkimage repo gc --unseal, a ref in REPO/images/refs"},
	{isA[*repo.StrayError], exitFailure, "remove it, or move it out of REPO"},
	{is(errUnsound), exitMismatch, ""},
	{is(fetch.ErrMissing), exitNotFound, "take an origin that has it all"},
	{is(fetch.ErrWrong), exitMismatch, "tell the people who run the origin, or take another one"},
	{is(layer.ErrUnfit), exitFailure, "leave it out of the tree, or send the image in another way: mkimage fetch"},
	{is(release.ErrNoRelease), exitNotFound, "put it there with: mkimage oci push --sealed"},
	{is(release.ErrNoSeal), exitRefused, "seal it with: " + sealingCommand},
	{is(release.ErrIncomplete), exitNotFound, ""},
	{isA[*repo.GoneError], exitNotFound, "the repository is incomplete; build the image into REPO again"},
	{is(repo.ErrNoImage), exitNotFound, "list what there is with: find REPO/images -type l; the images of tags with: mkimage oci list --repo REPO"},
	{is(ocistore.ErrNoTag), exitNotFound, "list what there is with: mkimage oci list --repo REPO"},
	{is(ocistore.ErrNotMade), exitNotFound, "make it with: mkimage oci pull --repo REPO REF TAG, with --bootable for one to boot"},
	{is(ocistore.ErrBroken), exitMismatch, "pull it again: mkimage oci pull --repo REPO REF TAG"},
	{is(repo.ErrNoObject), exitNotFound, "the repository is incomplete; build the image into REPO again"},
	{isA[*disktool.MissingError], exitFailure, "install the package PACKAGE"},
	{isA[*initrd.NoIndexError], exitFailure, "make it with: depmod -b ROOT VERSION"},
	{isA[*initrd.MissingModulesError], exitFailure, "install the kernel's package with all modules; or, if the files are there, run: depmod -b ROOT VERSION"},
	{isA[*repo.LostMetaError], exitFailure, "write that file again with: mkimage repo init REPO"},
	{isMissingRepo, exitFailure, "if the name is right, make it with: mkimage repo init REPO"},
	{is(repo.ErrNewer), exitFailure, "use a newer mkimage"},
	{is(repo.ErrOther), exitFailure, "use another directory, or the settings that it has"},
	{is(repo.ErrOccupied), exitFailure, "use a new directory"},
	{lacksVerity(imagemount.NotEnabled), exitMismatch, "run `fsverity enable FILE`, or build the image into a repository on that file system; " + withoutVerity},
	{lacksVerity(imagemount.FeatureOff), exitKernel, "turn it on (ext4: `tune2fs -O verity DEVICE`; f2fs: make it anew with `mkfs.f2fs -O verity`) and build into a new repository, since files that are there don't get it; " + withoutVerity},
	{lacksVerity(imagemount.KernelLacks), exitKernel, "boot a kernel that has it; " + withoutVerity},
	{lacksVerity(imagemount.FileSystemLacks), exitKernel, "put image and objects on ext4, btrfs or f2fs; " + withoutVerity},
	{lacks(kernel.OverlayVerity), exitKernel, "boot a newer kernel; " + withoutVerity},
	{isA[*kernel.MissingError], exitKernel, "boot a newer kernel, or one that has it"},
	{is(errOlder), exitRefused, "take a higher --sequence, or say --force if going back is meant"},
	{is(sign.ErrNoSeal), exitRefused, "seal it with: " + sealingCommand},
	{is(sign.ErrUnsigned), exitRefused, "sign it with: " + sealingCommand},
	{is(sign.ErrNoKeys), exitRefused, "name the .pub file of the signing key, or a directory that has it"},
	{is(sign.ErrUnknownKey), exitRefused, "seal it with a key that is trusted: " + sealingCommand + "; or trust the other's .pub file"},
	{is(sign.ErrLegacy), exitRefused, "sign with minisign 0.10 or later, without -l"},
	{is(sign.ErrBadSignature), exitRefused, "seal the image again: " + sealingCommand},
	{is(sign.ErrOtherDigest), exitRefused, "each image needs a seal of its own: " + sealingCommand},
	{is(sign.ErrTooOld), exitRefused, "take a newer image; or, if this one is to be accepted, seal it with a higher number: " + sealingCommand},
	{is(sign.ErrOtherSystem), exitRefused, "take an image that was sealed with this --os-id"},
	{is(sign.ErrOtherRef), exitRefused, "let the ref point to an image that was sealed for it"},
	{is(sign.ErrRevoked), exitRefused, "take another image"},
	{is(uki.ErrSigned), exitFailure, "take the stub as it is in systemd's package; --sb-key and --sb-cert sign the UKI"},
	{is(uki.ErrNoRoom), exitFailure, "take the stub of a newer systemd, or leave out sections or SBAT lines"},
	{is(secureboot.ErrEncrypted), exitFailure, "have what mkimage uki sign --to-be-signed FILE writes signed by the program that opens the key: openssl dgst -sha256 -sign KEY FILE"},
	{is(errRefused), exitRefused, ""},
	{is(repo.ErrUnsound), exitMismatch, "take another image: this one was made by an unknown program, perhaps to deceive"},
	{is(sign.ErrRefused), exitRefused, ""},
	{isA[damageError], exitMismatch, "build the image into REPO again: that replaces what is damaged"},
	{isA[*sign.MeasureError], exitMismatch, "build it into a repository on a file system with fs-verity (ext4: tune2fs -O verity DEVICE; a plain copy loses it), or set [verify] fs-verity = \"userspace\" in the policy"},
	{isA[*oci.MismatchError], exitMismatch, ""},
	{isA[*sign.DigestError], exitMismatch, "build the image into REPO again: that replaces what is damaged"},
	{is(verity.ErrMismatch), exitMismatch, ""},
	{is(ukicheck.ErrOtherImage), exitMismatch, ""},
	{isA[*secretError], exitFailure, "name another file, or remove that one first if the key is no longer needed"},
	{isA[*osfile.PlantedError], exitFailure, hintPlanted},
	{isDirectory, exitFailure, "remove that directory"},
	{isLinked, exitFailure, "neither the boot nor overlayfs follows a link there: move what it leads to into its place"},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// sealingCommand is what makes a seal, in hints.
const sealingCommand = "mkimage seal --repo REPO --key KEY --sequence N IMAGE"

// withoutVerity ends the hints for mounts that fs-verity can't protect.
const withoutVerity = "or mount it with --verity off (mount.composefs: noverity), which leaves the content of files unchecked"

func lacksVerity(lack imagemount.Lack) func(error) bool {
	return func(err error) bool {
		var e *imagemount.NoVerityError
		return errors.As(err, &e) && e.Lack == lack
	}
}

func lacks(feature kernel.Feature) func(error) bool {
	return func(err error) bool {
		var e *kernel.MissingError
		return errors.As(err, &e) && e.Feature == feature
	}
}

// isMissingRepo reports whether a directory could become the repository that it isn't.
func isMissingRepo(err error) bool {
	return errors.Is(err, repo.ErrNotRepo) && errors.Is(err, fs.ErrNotExist)
}

// isDirectory reports whether a directory is in the place of a file.
func isDirectory(err error) bool {
	var kind *osfile.KindError
	return errors.As(err, &kind) && kind.Found.IsDir() && kind.Want == "a regular file"
}

// isLinked reports whether a symbolic link is in the place of a file or directory.
func isLinked(err error) bool {
	var kind *osfile.KindError
	return errors.As(err, &kind) && kind.Found&fs.ModeSymlink != 0
}

// errRefused marks errors about seals and signatures.
var errRefused = errors.New("refused")

// A failure is an error as it is told: docs/json.md has its keys.
type failure struct {
	Message string `json:"message"`
	Status  int    `json:"status"`
	Hint    string `json:"hint,omitempty"`
	Path    string `json:"path,omitempty"` // of the file that it is about, if it is about one
	Help    string `json:"help,omitempty"` // the command that says how a command line is meant
}

// describe finds out what there is to say about an error of a command that was given the
// repository.
func describe(err error, repository string) failure {
	if refused := (*sign.RefusedError)(nil); errors.As(err, &refused) && errors.Is(err, fs.ErrPermission) {
		err = refused.Reason // it isn't the image that is in the way, but who asks
	}
	f := failure{Message: printable.Error(err), Status: exitFailure, Path: pathOf(err)}
	var usage usageError
	var stop signalError
	var config configError
	var mismatch mismatchError
	switch {
	case errors.As(err, &stop):
		return failure{Message: stop.Error(), Status: stop.status()}
	case errors.As(err, &usage):
		f.Status, f.Help = exitUsage, usage.cmd.CommandPath()+" --help"
		return f
	case errors.As(err, &config):
		f.Status = exitUsage
		if isLinked(err) {
			f.Hint = "put the file itself there, as a link may lead out of the initramfs"
		}
		if policy := (*bootcfg.PolicyError)(nil); errors.As(err, &policy) {
			f.Hint = policyAdvice[policy.Reason]
		}
		return f
	case errors.As(err, &mismatch):
		f.Status = exitMismatch
		return f
	}
	for _, e := range exits {
		if e.is(err) {
			f.Status, f.Hint = e.status, hintWords(err, repository).Replace(e.hint)
			return f
		}
	}
	f.Hint = hintWords(err, repository).Replace(refusalHint(err, repository))
	return f
}

// packages have the programs that disks are made and read with, in Debian and Fedora.
var packages = map[string]string{
	"debugfs": "e2fsprogs", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools", "mdir": "mtools",
	"mmd": "mtools", "mtype": "mtools", "sfdisk": "fdisk (Fedora: util-linux)",
}

// A damageError is about an object in a repository whose content has changed.
type damageError struct{ error }

func (e damageError) Unwrap() error { return e.error }

// repositoryDamage makes a mismatch in the repository a damageError.
func repositoryDamage(err error) error {
	if errors.Is(err, verity.ErrMismatch) {
		return damageError{err}
	}
	return err
}

// hintWords puts into a hint what it is about.
func hintWords(err error, repository string) *strings.Replacer {
	var words []string
	if repository != "" {
		words = append(words, "REPO", shellWord(repository))
	}
	if refused := (*sign.RefusedError)(nil); errors.As(err, &refused) {
		words = append(words, "IMAGE", refused.Image.Hex())
	}
	if unsealed := (*release.NoSealError)(nil); errors.As(err, &unsealed) {
		words = append(words, "IMAGE", unsealed.Image.Hex())
	}
	if lack := (*imagemount.NoVerityError)(nil); errors.As(err, &lack) {
		words = append(words, "FILE", shellWord(lack.Path))
		if lack.Device != "" {
			words = append(words, "DEVICE", shellWord(lack.Device))
		}
	}
	if refused := (refusedError{}); errors.As(err, &refused) && refused.at == inDevice {
		words = append(words, "DEVICE", shellWord(pathOf(err)))
	}
	if at := modulesOf(err); at != "" {
		root, version := splitModules(at)
		words = append(words, "ROOT", shellWord(root), "VERSION", shellWord(version))
	}
	if missing := (*disktool.MissingError)(nil); errors.As(err, &missing) {
		words = append(words, "PACKAGE", packages[missing.Program])
	}
	return strings.NewReplacer(words...)
}

// modulesOf returns the directory of a kernel's modules that an error is about.
func modulesOf(err error) string {
	var index *initrd.NoIndexError
	var missing *initrd.MissingModulesError
	switch {
	case errors.As(err, &index):
		return index.Dir
	case errors.As(err, &missing):
		return missing.Dir
	}
	return ""
}

// hintPlanted is about what another user made in a directory such as /tmp.
const hintPlanted = "name a file in a directory in which only you can make files"

// splitModules returns the root that a directory of modules belongs to, "ROOT" if it is
// where depmod doesn't look, and the version of the kernel.
func splitModules(dir string) (root, version string) {
	at, version := filepath.Split(dir)
	for _, place := range []string{"/usr/lib/modules/", "/lib/modules/"} {
		if root, ok := strings.CutSuffix(at, place); ok {
			return root, version
		}
	}
	return "ROOT", version
}

// pathOf returns the path that an error is about, "" if it is about none.
func pathOf(err error) string {
	var path *fs.PathError
	var lack *imagemount.NoVerityError
	var special *osfile.SpecialError
	var kind *osfile.KindError
	var secret *secretError
	var gone *repo.GoneError
	var lost *repo.LostMetaError
	switch {
	case errors.As(err, &gone):
		return gone.Path
	case errors.As(err, &lost):
		return filepath.Join(lost.Path, "meta.json")
	case errors.As(err, &special):
		return special.Path
	case errors.As(err, &kind):
		return kind.Path
	case errors.As(err, &secret):
		return secret.Path
	case errors.As(err, &lack):
		return lack.Path
	case errors.As(err, &path):
		return path.Path
	}
	return ""
}

// fail prints an error with what to do about it and returns the exit status.
func (u *ui) fail(err error) int {
	u.progress.stop()
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	if errors.Is(err, errFindings) {
		return exitFailure
	}
	f := describe(err, u.repo)
	var t trouble
	if f.Status == exitFailure && errors.As(err, &t) {
		f.Status = exitTrouble
	}
	if u.json {
		u.errorLine(f)
	} else {
		fmt.Fprint(u.err, f)
	}
	return f.Status
}

// String is a failure for people, with the ends of its lines.
func (f failure) String() string {
	s := "mkimage: " + f.Message + "\n"
	if f.Help != "" {
		s += "see: " + f.Help + "\n"
	}
	if f.Hint != "" {
		s += "hint: " + printable.Line(f.Hint) + "\n"
	}
	return s
}

// givenRepo returns the repository that a command was given, for messages.
func givenRepo(cmd *cobra.Command) string {
	if cmd == nil {
		return ""
	}
	if f := cmd.Flags().Lookup("repo"); f != nil {
		return f.Value.String()
	}
	if cmd.Parent() != nil && cmd.Parent().Name() == "repo" {
		return cmd.Flags().Arg(0)
	}
	return ""
}

// plainWord matches words that need no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

// shellWord quotes a text for a shell.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

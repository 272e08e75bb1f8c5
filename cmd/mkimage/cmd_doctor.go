package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

type doctorOptions struct {
	repo, modules, cmdline, rootFS string
}

const doctorLong = `Doctor finds problems that would stop a boot, before it is tried, and says what to do
about each. THING is a file; doctor recognizes its kind by its content:

  a UKI        can firmware start its kernel, is the kernel new enough, does the
               signature still match; is composefs-setup-root in its initrd and started,
               are its modules there, do keys and policy parse, does the command line
               name an image and a root, and does the policy permit it
  an initrd    the same; --cmdline TEXT is the command line that it will get
  an image     does it have an init program with all the libraries that this needs, and
               directories to mount on; does it have files that it shouldn't have, such
               as host keys, a machine-id, or an fstab with /
  a disk       each UKI and each boot loader entry on it, as above, and whether boot
               loaders show it in their menus; and on the root partition the image, its
               seal, fs-verity and all of its objects

Of an image's objects, doctor reads only init and its libraries; mkimage verify --objects
reads all of them.

With --repo, the image that the command line names must be in that repository, be sealed
as the initrd's keys and policy require, and have all its objects. THING may then also
be a digest or a ref in the repository.

Without THING doctor examines the running system: what was verified at boot, by which
key, and what wasn't; and every mount over the image, such as a system extension. It
sees only what its user may see; run it as root.

Disks are read with sfdisk, debugfs and mtools, without privileges. That works only if
the root partition is ext4; otherwise mount it, and name its repository with --repo.

The exit status is 1 if there is a finding that stops a boot; warnings don't count.`

func newDoctor(u *ui) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [THING]",
		Short: "find what would stop a boot, and say what to do about it",
		Long:  doctorLong,
		Example: "  mkimage doctor linux.efi --repo repo\n  mkimage doctor disk.img\n" +
			"  mkimage doctor /boot/initrd.img --cmdline \"$(cat /proc/cmdline)\"\n  mkimage doctor",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, name := range []string{"repo", "modules", "cmdline", "root-fs"} {
					if cmd.Flags().Changed(name) {
						return usagef(cmd, "--%s is about a THING, and without one doctor examines the running system: name a UKI, an initrd, an image or a disk", name)
					}
				}
			}
			r, err := o.run(cmd.Context(), u, args)
			if err != nil {
				return err
			}
			if err := u.result(advise(r), r.String()); err != nil {
				return err
			}
			if r.Stops() {
				return errFindings
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR` that will be on the root partition")
	f.StringVar(&o.modules, "modules", "", "`DIR` with the kernel's modules and its list of built-in ones")
	f.StringVar(&o.cmdline, "cmdline", "", "kernel command line `TEXT`, for a THING without one")
	f.StringVar(&o.rootFS, "root-fs", "", "`TYPE` of the root partition's file system (default: the one on the disk or in rootfstype=, else any)")
	return cmd
}

// errFindings ends doctor when it has found something: the report has said what.
var errFindings = errors.New("there are findings that stop the boot")

func (o *doctorOptions) run(ctx context.Context, u *ui, args []string) (*doctor.Report, error) {
	if len(args) == 0 {
		return doctor.System(os.DirFS("/")), nil
	}
	e := &doctor.Examiner{Arch: runtime.GOARCH, Cmdline: o.cmdline, RootFS: o.rootFS, Now: time.Now()}
	if o.modules != "" {
		if err := filekind.CheckDirectory(o.modules); err != nil {
			return nil, fmt.Errorf("--modules: %w", err)
		}
		var err error
		if e.Builtin, err = doctor.ParseBuiltin(osfile.DirFS(o.modules), "."); err != nil {
			return nil, fmt.Errorf("--modules %s: %w", o.modules, err)
		}
	}
	var store repoStore
	if o.repo != "" {
		r, err := openRepo(u, o.repo)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		store = repoStore{r}
		e.Store = store
	}
	r, err := o.examine(ctx, u, e, store, args[0])
	if err == nil {
		r.Subject = args[0]
	}
	return r, err
}

// examine opens what is to be examined and finds out what it is.
func (o *doctorOptions) examine(ctx context.Context, u *ui, e *doctor.Examiner, store repoStore, name string) (*doctor.Report, error) {
	isDir := filekind.CheckDirectory(name) == nil
	f, err := filekind.Open(name, doctorWants)
	// What a file of a repository's images is called is what it has to be.
	want, _ := verity.ParseAnyHex(filepath.Base(name))
	if (isDir || errors.Is(err, fs.ErrNotExist)) && store.Repo != nil {
		if want, err = store.Resolve(name); err == nil {
			f, err = store.OpenImage(want)
		}
	}
	if err != nil && isDir {
		return nil, doctorOfDirectory(u, name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, filekind.HeadSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", filepath.Clean(name), err)
	}
	switch kind := filekind.Of(head[:n]); kind {
	case filekind.Empty:
		return nil, &filekind.Error{Path: name, Found: kind, Want: doctorWants}
	case filekind.EFI:
		if err := checkBoots(name, f); err != nil {
			return nil, err
		}
		return e.UKI(f), nil
	case filekind.Image:
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return e.Image(f, st.Size(), want), nil
	case filekind.Disk:
		return e.Disk(ctx, name)
	case filekind.Cpio, filekind.Packed:
		image, err := readSmall(name, doctor.MaxBootFile)
		if err != nil {
			return nil, err
		}
		return e.Initrd(image), nil
	case filekind.Unknown:
		return nil, fmt.Errorf("%s is of no kind that doctor knows: want %s", name, doctorWants)
	default:
		return nil, fmt.Errorf("%s is %s, which doctor can't examine: want %s", name, kind, doctorWants)
	}
}

// checkBoots refuses an EFI program that isn't there to boot by itself, and says where it is
// examined. One that can't be read is for doctor to report.
func checkBoots(name string, r io.ReaderAt) error {
	f, err := uki.Parse(io.NewSectionReader(r, 0, doctor.MaxBootFile))
	if err != nil {
		return nil
	}
	switch f.Kind() {
	case uki.KindAddon:
		return fmt.Errorf("%s is an addon, which boots nothing by itself: examine a disk that has it beside its UKI, or check it with mkimage uki verify", name)
	case uki.KindProfile:
		return fmt.Errorf("%s is a profile, which boots nothing by itself: examine the UKI that it is joined to, with mkimage uki build --join %s", name, shellWord(name))
	case uki.KindOther:
		return fmt.Errorf("%s is an EFI program and no UKI, such as a kernel or a boot loader: want %s", name, doctorWants)
	}
	return nil
}

// doctorWants is what doctor knows.
const doctorWants = "a UKI, an initrd, an image or a disk"

// doctorOfDirectory says what may have been meant by a directory.
func doctorOfDirectory(u *ui, name string) error {
	r, err := openRepo(u, name)
	if err == nil {
		r.Close()
		return fmt.Errorf("%s is a repository: name one of its images, as in mkimage doctor --repo %s IMAGE", name, shellWord(name))
	}
	return fmt.Errorf("%s is a directory: want %s; make an image of it with mkimage build", name, doctorWants)
}

// repoStore is a repository as the doctor wants it.
type repoStore struct{ *repo.Repo }

func (s repoStore) Ref(name string) (verity.Digest, error) { return s.LookupRef(name) }

func (s repoStore) ReadImage(d verity.Digest) ([]byte, error) {
	f, err := s.OpenImage(d)
	if errors.Is(err, repo.ErrNoImage) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, doctor.MaxImage))
}

func (s repoStore) ReadSeal(f sign.File) ([]byte, error) { return s.ReadSealFile(f) }

func (s repoStore) Missing(objects []verity.Digest) ([]verity.Digest, error) {
	var missing []verity.Digest
	for _, d := range objects {
		f, err := s.OpenObject(d)
		if errors.Is(err, repo.ErrNoObject) {
			missing = append(missing, d)
			continue
		}
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	return missing, nil
}

func (s repoStore) ReadObject(d verity.Digest, size int64) ([]byte, error) {
	f, err := s.OpenObject(d)
	if errors.Is(err, repo.ErrNoObject) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, size+1))
}

// HasVerity is for the file system to say that the image will be booted from.
func (repoStore) HasVerity(verity.Digest) (on, known bool) { return false, false }

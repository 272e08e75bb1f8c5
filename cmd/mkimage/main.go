// Command mkimage is the build side of composefs: it makes images and object
// stores, seals them, and assembles the initrds, UKIs and disks that boot them.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/version"
)

// commands lists the subcommands in the order of the help: making an image,
// vouching for it, booting it, looking at it.
var commands = []func(*ui) *cobra.Command{
	newBuild, newOCI, newFetch, newRepo, newKey, newSeal, newVerify, newInitrd, newUKI, newDisk,
	newLs, newDump, newObjects, newMissing, newMeasure, newDiff, newDoctor,
	newMount, newUmount, newCompletion,
}

const long = `mkimage makes Linux root file systems that can't be changed without being noticed.

From a directory it makes an image (names, modes, owners, times, attributes and the
fs-verity digest of each file's content) and an object store (the contents). The digest
of the image covers all of it. Seal the image with a key and put it on a disk with a
signed kernel image, and composefs-setup-root boots that image and nothing else.

A machine from a directory, in five commands:

  mkimage key new mykey
  DIGEST=$(mkimage build --repo repo --boot --seal mykey.key --sequence 1 ROOT)
  mkimage initrd --keys mykey.pub --modules ROOT/usr/lib/modules/VERSION --output initrd.img
  mkimage uki build --linux ROOT/boot/vmlinuz-VERSION --initrd initrd.img \
      --image $DIGEST --cmdline "root=PARTLABEL=root ro" --output linux.efi
  mkimage disk --repo repo --image $DIGEST --uki linux.efi --output disk.img

If a command writes a FILE, - means standard output; its result is then printed on
standard error. If FILE is a symbolic link, the link stays and the file that it points to
is replaced. Devices and directories are refused; see mkimage disk --write-device.

Exit status: 0 done; 1 any other failure; 2 wrong usage;
4 image or object not found; 5 digest mismatch; 6 seal or signature refused;
7 the kernel or the file system lacks something; 130 interrupted (^C, SIGINT);
129, 143 terminated (SIGHUP, SIGTERM).
A missing file, directory or repository is always 1, except that it is 2 for diff and for
the keys and the policy of verify.`

// gcPercent is by how much the live heap may grow before garbage is collected, in percent.
// Nearly all memory holds a tree, which lives to the end, so collecting twice as often as
// Go does by default costs little.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(status())
}

// status is the whole of the process but for its end.
func status() int {
	ctx, stop := stoppable(context.Background())
	defer stop()
	return dispatch(ctx, os.Args, newUI(os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, u *ui) int {
	root := newRoot(u)
	root.PersistentPreRunE = checkValues(args)
	root.SetArgs(args)
	root.SetIn(u.in)
	root.SetOut(u.out)
	root.SetErr(u.err)
	u.ctx = ctx
	u.json = jsonAsked(args) // also for a command line that can't be parsed
	cmd, err := root, misspelt(root, args)
	if err == nil {
		cmd, err = root.ExecuteContextC(ctx)
	}
	err = whyStopped(ctx, err)
	u.repo = givenRepo(cmd)
	u.progress.stop()
	if err == nil {
		return 0
	}
	return u.fail(err)
}

// newHelp is cobra's own command, but for names of commands that don't exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Short:  "explain a command",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{of, unknownCommand(of, rest[0])}
			}
			return of.Help()
		},
	}
}

// newRoot returns the command that has all others below it.
func newRoot(u *ui) *cobra.Command {
	root := &cobra.Command{
		Use:           "mkimage COMMAND",
		Short:         "make, seal and install composefs images",
		Long:          long,
		Version:       version.Number,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // newCompletion is ours
	}
	root.PersistentFlags().BoolVar(&u.json, "json", false, "print the result as JSON, and errors too: one object on standard error")
	root.PersistentFlags().BoolVarP(&u.quiet, "quiet", "q", false, "no progress, no remarks; results and errors only")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	for _, add := range commands {
		root.AddCommand(add(u))
	}
	root.InitDefaultHelpCmd() // so that it is found before cobra adds it
	return root
}

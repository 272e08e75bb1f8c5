package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A site is where a command was at work when the system refused something.
type site int

const (
	inRepository    site = iota
	inNewRepository      // that isn't there yet
	inTree               // that an image is made of
	inOutput             // a file that the user has named
	inKey                // a secret one
	inDevice             // that is to be overwritten
	inScratch            // temporary files
)

// refusals says what helps when the system refuses something: it depends on what was
// being done. REPO is the repository that the command was given, and DEVICE the device. The
// first row that matches counts.
var refusals = []struct {
	at     site
	errnos []unix.Errno
	hint   string
}{
	{inRepository, []unix.Errno{unix.EACCES}, "run it as the owner of REPO"},
	{inRepository, []unix.Errno{unix.EPERM}, "see with lsattr whether a file or directory of REPO is immutable (i) or append-only (a): chattr -ia takes that away"},
	{inRepository, []unix.Errno{unix.EROFS}, "remount the file system of REPO with: mount -o remount,rw \"$(findmnt -no TARGET -T REPO)\""},
	{inRepository, []unix.Errno{unix.ENOSPC, unix.EDQUOT}, "free some space on the file system of REPO and try again"},
	{inNewRepository, []unix.Errno{unix.EACCES, unix.EPERM}, "name a repository in a directory that you may write to"},
	{inNewRepository, []unix.Errno{unix.EROFS}, "name a repository on a file system that is mounted for writing"},
	{inNewRepository, []unix.Errno{unix.ENOSPC, unix.EDQUOT}, "free some space on the file system of REPO and try again"},
	{inTree, []unix.Errno{unix.EACCES, unix.EPERM}, "to read every file of a root file system, run as root or inside: unshare --map-auto --map-root-user"},
	{inOutput, []unix.Errno{unix.EACCES, unix.EPERM}, "name a file in a directory that you may write to"},
	{inOutput, []unix.Errno{unix.EROFS}, "name a file on a file system that is mounted for writing"},
	{inOutput, []unix.Errno{unix.ENOSPC, unix.EDQUOT}, "free some space, or name a file on another file system"},
	{inKey, []unix.Errno{unix.EACCES, unix.EPERM}, "a secret key is for its owner alone: run it as that user"},
	{inDevice, []unix.Errno{unix.EACCES, unix.EPERM}, "run it as root"},
	{inDevice, []unix.Errno{unix.EROFS}, "the device is write-protected: see whether it has a switch, or try: blockdev --setrw DEVICE"},
	{inScratch, []unix.Errno{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EDQUOT}, "set TMPDIR to a directory that you may write to, with more room than the disk image takes"},
}

// A refusedError says where an error happened.
type refusedError struct {
	at site
	error
}

func (e refusedError) Unwrap() error { return e.error }

// refusedAt adds to an error, if there is one, where it happened.
func refusedAt(at site, err error) error {
	if err == nil {
		return nil
	}
	return refusedError{at, err}
}

// refusalHint returns what helps against an error of the system, "" if there is no advice.
func refusalHint(err error, repository string) string {
	at, known := siteOf(err, repository)
	if !known {
		return ""
	}
	for _, r := range refusals {
		if r.at == at && slices.ContainsFunc(r.errnos, func(errno unix.Errno) bool { return errors.Is(err, errno) }) {
			return r.hint
		}
	}
	return ""
}

// siteOf finds out where an error happened. While a tree is being read, its contents are
// written to the repository: the path decides.
func siteOf(err error, repository string) (at site, known bool) {
	var link *os.LinkError
	if errors.As(err, &link) && !filepath.IsAbs(link.New) && repository != "" {
		return inRepository, true // only in a repository are links made
	}
	var path *fs.PathError
	for cause := err; errors.As(cause, &path); cause = path.Err {
		// The names of an os.Root, which only a repository is, are relative to it.
		ofRoot := strings.HasSuffix(path.Op, "at") && !filepath.IsAbs(path.Path)
		if !ofRoot && !inside(path.Path, repository) {
			continue
		}
		if _, err := os.Lstat(repository); errors.Is(err, fs.ErrNotExist) {
			return inNewRepository, true
		}
		return inRepository, true
	}
	var refused refusedError
	known = errors.As(err, &refused)
	return refused.at, known
}

// inside reports whether a path is a directory or something in it, by its name.
func inside(path, dir string) bool {
	if path == "" || dir == "" {
		return false
	}
	rest, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rest)
}

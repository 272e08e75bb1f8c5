package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// mke2fsConf is used instead of the machine's own file, so that all machines make the
// same file system. verity is what we need; kernels from 5.15 on know the other features.
const mke2fsConf = `[defaults]
	base_features = none
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	no_discard = 1
[fs_types]
	ext4 = {
		features = has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,verity
	}
`

// Flags of an inode: EXT4_EXTENTS_FL, EXT4_VERITY_FL.
const verityFlags = 0x00080000 | 0x00100000

// writeRoot makes the ext4 file system and fills it.
func (w *writer) writeRoot(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(w.scratch, mke2fsFile), []byte(mke2fsConf), 0o600); err != nil {
		return err
	}
	if err := w.mke2fs(ctx); err != nil {
		return err
	}
	s, err := w.debugfs(ctx, w.plan.Root.Offset)
	if err != nil {
		return err
	}
	return s.close(w.fill(ctx, s))
}

func (w *writer) mke2fs(ctx context.Context) error {
	p := w.plan.Root
	journal := 16 // MiB
	if p.Size >= 1<<30 {
		journal = 64
	}
	return w.run(ctx, w.epoch(), nil, "mke2fs", "-q", "-F", "-t", "ext4", "-b", fmt.Sprint(blockSize), "-I", fmt.Sprint(inodeSize),
		"-N", fmt.Sprint(w.plan.inodes), "-m", "1", "-J", fmt.Sprintf("size=%d", journal), "-L", p.Name, "-U", uuid(w.Seed, "ext4"),
		// The kernel must not initialize the inode tables after the first mount: it would
		// write zeros for a while where there are zeros already. It never clears the
		// journal, which is a hole in the file.
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=1", p.Offset, uuid(w.Seed, "hash")),
		imageFile, fmt.Sprintf("%dk", p.Size/1024))
}

// fill makes all files. Directories come before their entries.
func (w *writer) fill(ctx context.Context, s *session) error {
	var current, sent batch
	for i, e := range w.Root {
		if err := ctx.Err(); err != nil {
			return err
		}
		staging := filepath.Join(w.scratch, fmt.Sprintf("f%d", i))
		if err := create(s, e, staging); err != nil {
			return fmt.Errorf("root partition, %s: %w", e.Path, err)
		}
		if e.Mode.IsRegular() {
			current.add(staging, e.Size)
		}
		if !current.full() {
			continue
		}
		// debugfs works on one batch while we prepare the next.
		if err := errors.Join(s.mark(), w.settle(s, sent)); err != nil {
			return err
		}
		current, sent = batch{}, current
	}
	if err := errors.Join(s.mark(), w.settle(s, sent)); err != nil {
		return err
	}
	return w.settle(s, current)
}

// create makes debugfs create one file. For a regular file it first writes the staging file.
func create(s *session, e Entry, staging string) error {
	name := "/" + e.Path
	switch {
	case e.Mode.IsDir():
		s.do("mkdir", name)
	case e.Mode.IsRegular():
		if err := stage(staging, e); err != nil {
			return err
		}
		s.do("write", filepath.Base(staging), name) // it runs in that directory
	default:
		s.do("symlink", name, e.Target)
	}
	set := func(field string, value any) { s.do("set_inode_field", name, field, fmt.Sprint(value)) }
	set("mode", fmt.Sprintf("0%o", e.unixMode()))
	if e.UID != 0 || e.GID != 0 {
		set("uid", e.UID)
		set("gid", e.GID)
	}
	if e.Verity {
		set("size", e.Size)
		set("flags", fmt.Sprintf("%#x", verityFlags))
	}
	return nil
}

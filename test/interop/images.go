package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// imagesOf compares what is read from the images that C makes of a subject, in all
// versions.
func (s *session) imagesOf(kind string, about *subject, versions ...[]string) error {
	image := filepath.Join(s.dir, "c.image")
	defer os.Remove(image)
	for _, v := range versions {
		args := append(slices.Clone(v), "--from-file", "-", image)
		made, err := s.cMkcomposefs.run(about.dump, nil, args...)
		if err != nil {
			return err
		}
		if made.status != 0 {
			continue // another check is whether we refuse it too
		}
		if err := s.infoOf(kind, about, image); err != nil {
			return err
		}
	}
	return nil
}

// infoOf compares the output of composefs-info for an image.
func (s *session) infoOf(kind string, about *subject, image string) error {
	half, err := s.halfStore(image)
	if err != nil {
		return err
	}
	defer os.RemoveAll(half)
	questions := [][]string{
		{"dump", image}, {"ls", image}, {"objects", image}, {"missing-objects", image},
		{"measure-file", image}, {"--basedir=" + half, "missing-objects", image}, {"objects", image, image},
		{"--filter=usr", "dump", image}, {"--filter=usr", "--filter=a", "ls", image}, {"ls", "--filter=etc", image}, {"--filter=usr", "objects", image},
	}
	for _, args := range questions {
		if _, err := s.ask("composefs-info of "+kind+", C", about, s.info.with(args...), s.cInfo.with(args...)); err != nil {
			return err
		}
	}
	if !about.both {
		return nil
	}
	for _, args := range [][]string{{"ls", image}, {"dump", image}, {"objects", image}, {"missing-objects", "--basedir=" + half, image}, {"measure-file", image}} {
		ours := s.info.with(args...)
		if args[0] == "dump" {
			ours = s.mkimage.with("dump", "--dialect", "rust", image)
		}
		if _, err := s.ask("composefs-info of "+kind+", Rust", about, ours, s.rsInfo.with(args...)); err != nil {
			return err
		}
	}
	return nil
}

// halfStore makes an object store in which every second object is missing.
func (s *session) halfStore(image string) (string, error) {
	dir := filepath.Join(s.dir, "half")
	objects, err := s.cInfo.run(nil, nil, "objects", image)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for i, name := range strings.Split(string(bytes.TrimSpace(objects.out)), "\n") {
		path := filepath.Join(dir, name)
		if i%2 == 0 || !strings.HasPrefix(path, dir+"/") || strings.ContainsAny(name, "\x00") {
			continue
		}
		// An object whose path can't be created counts as missing.
		if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
			_ = os.WriteFile(path, nil, 0o644)
		}
	}
	return dir, nil
}

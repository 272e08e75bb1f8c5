package blockdev

import (
	"errors"
	"fmt"
	"strings"
)

// A Spec is the parsed value of root=.
type Spec struct {
	kind  kind
	value string
}

type kind string

const (
	byName      kind = "name"
	byPartLabel kind = "PARTLABEL"
	byPartUUID  kind = "PARTUUID"
	byUUID      kind = "UUID"
	byLabel     kind = "LABEL"
	byType      kind = "type"
)

// prefixes lead to a kind. Where udev would make links, we look ourselves.
var prefixes = []struct {
	prefix string
	kind   kind
}{
	{"PARTLABEL=", byPartLabel}, {"/dev/disk/by-partlabel/", byPartLabel},
	{"PARTUUID=", byPartUUID}, {"/dev/disk/by-partuuid/", byPartUUID},
	{"UUID=", byUUID}, {"/dev/disk/by-uuid/", byUUID},
	{"LABEL=", byLabel}, {"/dev/disk/by-label/", byLabel},
	{"/dev/", byName},
}

// rootTypes are the partition types of a root, by GOARCH.
var rootTypes = map[string]string{
	"386":     "44479540-f297-41b2-9af7-d131d5f0458a",
	"amd64":   "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
	"arm":     "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
	"arm64":   "b921b045-1df0-41c3-af44-4c6f280d3fae",
	"loong64": "77055800-792c-4f94-b39a-98c91b762bb6",
	"ppc64le": "c31c45e6-3f39-412e-80fb-4809c4980599",
	"riscv64": "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
	"s390x":   "5eead9a9-fe09-4a1e-a1d7-520d00531306",
}

// ErrNoRoot is the cause when a device must be named and none is.
var ErrNoRoot = errors.New("there is no root=")

// ParseSpec reads the value of root=. Without one, or with gpt-auto, it is the
// root partition of the architecture (a GOARCH).
func ParseSpec(root, arch string) (Spec, error) {
	if root == "" || root == "gpt-auto" {
		t, ok := rootTypes[arch]
		if !ok {
			return Spec{}, fmt.Errorf("%w and no partition type for a root on %s", ErrNoRoot, arch)
		}
		return Spec{byType, t}, nil
	}
	for _, p := range prefixes {
		value, ok := strings.CutPrefix(root, p.prefix)
		if !ok || value == "" {
			continue
		}
		if p.kind == byUUID || p.kind == byPartUUID {
			value = strings.ToLower(value)
		}
		return Spec{p.kind, value}, nil
	}
	return Spec{}, fmt.Errorf("root=%s: want /dev/NAME, PARTLABEL=, PARTUUID=, UUID= or LABEL=", root)
}

// String returns the device that is looked for, as a message names it.
func (s Spec) String() string {
	switch s.kind {
	case byName:
		return "/dev/" + s.value
	case byType:
		return "a root partition (GPT type " + s.value + ")"
	}
	return string(s.kind) + "=" + s.value
}

// Means reports whether s means a partition: by its entry in the table, its name there
// and its file system. A device name can't be compared with any of these.
func (s Spec) Means(p Partition, label string, fs Superblock) bool {
	switch s.kind {
	case byPartLabel:
		return label == s.value
	case byPartUUID:
		return p.UUID == s.value
	case byUUID:
		return fs.UUID == s.value
	case byLabel:
		return fs.Label == s.value
	case byType:
		return p.Type == s.value && !p.NoAuto
	}
	return false
}

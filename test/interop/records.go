package main

import (
	"encoding/json"
	"os"
)

// recorded is of how many random trees the answers are recorded.
const recorded = 12

// records are digests that peers print of random trees: by seed, then by the command
// line that must print the same with us, in which TREE is the directory.
type records map[uint64]map[string]string

// of returns where answers about a tree are noted; nil if they aren't.
func (r records) of(seed uint64) map[string]string {
	if seed >= recorded {
		return nil
	}
	r[seed] = map[string]string{}
	return r[seed]
}

func (r records) write(name string) error {
	if name == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o666)
}

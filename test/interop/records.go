package main

import (
	"encoding/json"
	"os"
)

// recorded is the number of random trees for which answers are recorded.
const recorded = 12

// records has the digests that peers print for random trees: by seed, then by our
// command line that must print the same, in which TREE is the directory.
type records map[uint64]map[string]string

// of returns where the answers for a tree are recorded, nil if they aren't.
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

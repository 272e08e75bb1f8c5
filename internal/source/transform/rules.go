package transform

import (
	"fmt"
	"slices"
	"strings"
)

// A rule is a line of file_contexts: files whose path and kind match have the label, unless
// a later rule matches as well.
type rule struct {
	order int     // place among all rules
	kind  byte    // as of typeOf, 0 for all
	re    matcher // matches path and kind together; nil if the index is enough
	label []byte  // nil for <<none>>
}

// A candidate is a rule for the paths with a prefix.
type candidate struct {
	*rule
	prefix string
}

// An index finds rules by the literal parts of their patterns; in most patterns everything
// but the end is literal. Its lists have the last rule first.
type index struct {
	count   int
	exact   map[string][]candidate // PATH: by the path
	subtree map[string][]candidate // PATH(/.*)?: by the path
	stem    map[string][]candidate // others: by the directories of the prefix, with the last slash
	subject []byte
}

// parseLine adds the rule REGEX [-KIND] CONTEXT.
func (x *index) parseLine(fields []string) error {
	r := &rule{order: x.count}
	if len(fields) == 3 {
		if len(fields[1]) != 2 || fields[1][0] != '-' || !strings.Contains("bcdpls-", fields[1][1:]) {
			return fmt.Errorf("want the kind of file as one of -b -c -d -p -l -s --, found %q", fields[1])
		}
		r.kind = fields[1][1]
	}
	label := fields[len(fields)-1]
	if len(fields) < 2 || len(fields) > 3 || label[0] == '-' {
		return fmt.Errorf("want REGEX [-KIND] CONTEXT, found %q", strings.Join(fields, " "))
	}
	if label != "<<none>>" {
		r.label = []byte(label)
	}
	x.count++
	return x.add(r, fields[0])
}

func (x *index) add(r *rule, pattern string) (err error) {
	if x.exact == nil {
		x.exact, x.subtree, x.stem = make(map[string][]candidate), make(map[string][]candidate), make(map[string][]candidate)
	}
	prefixes, end := literals(pattern)
	if end == other {
		r.re, err = compile(pattern, r.kind)
	}
	for _, prefix := range prefixes {
		list, key := x.stem, prefix[:strings.LastIndexByte(prefix, '/')+1]
		switch end {
		case nothing:
			list, key = x.exact, prefix
		case subtree:
			list, key = x.subtree, prefix
		}
		list[key] = append(list[key], candidate{r, prefix})
	}
	return err
}

// finish sorts the lists once all rules have been added.
func (x *index) finish() {
	for _, m := range [...]map[string][]candidate{x.exact, x.subtree, x.stem} {
		for _, list := range m {
			slices.Reverse(list)
		}
	}
}

// lookup returns the label of the last rule that matches, nil if it has none or
// there is no rule.
func (x *index) lookup(path string, kind byte) ([]byte, error) {
	x.subject = append(appendLatin1(x.subject[:0], path), kind)
	s := search{path: path, kind: kind, subject: x.subject}
	s.try(x.exact[path])
	s.try(x.subtree[path])
	// From the longest prefix to the shortest: rules for deep paths tend to come last,
	// and rules before one that matches needn't be tried.
	for end := strings.LastIndexByte(path, '/'); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		s.try(x.subtree[path[:end]])
		s.try(x.stem[path[:end+1]])
	}
	s.try(x.stem[""])
	if s.err != nil {
		return nil, fmt.Errorf("%w: match %q: %w", ErrPolicy, path, s.err)
	}
	if s.best == nil {
		return nil, nil
	}
	return s.best.label, nil
}

// A search is for the last rule that matches a file.
type search struct {
	path    string
	kind    byte
	subject []byte // path and kind, as the patterns see it
	best    *rule
	err     error
}

func (s *search) try(list []candidate) {
	for _, c := range list {
		if s.best != nil && c.order < s.best.order {
			return
		}
		if (c.kind == 0 || c.kind == s.kind) && strings.HasPrefix(s.path, c.prefix) && s.matches(c.re) {
			s.best = c.rule
			return
		}
	}
}

func (s *search) matches(m matcher) bool {
	if m == nil {
		return true
	}
	ok, err := m.match(s.subject)
	if err != nil {
		s.err = err
	}
	return ok
}

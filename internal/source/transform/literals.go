package transform

import "regexp/syntax"

// tail is what follows the literal beginning of a pattern.
type tail uint8

const (
	nothing  tail = iota // nothing follows
	subtree              // (/.*)?
	anything             // .*
	other                // something that needs a matcher
)

// literalsMax is how many beginnings a pattern may have; if it has more, a shorter one
// counts.
const literalsMax = 32

// literals takes a pattern apart: everything that it matches begins with one of the
// strings, and continues with the tail. So /usr/(s)?bin/a.* is /usr/bin/a and
// /usr/sbin/a, and then anything. A pattern that package regexp can't parse begins
// with "" and has the tail other.
func literals(pattern string) ([]string, tail) {
	re, err := syntax.Parse(string(appendLatin1(nil, pattern)), syntax.Perl|syntax.DotNL)
	if err != nil {
		return []string{""}, other
	}
	end := nothing
	subs := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		subs = re.Sub
	}
	if last := subs[len(subs)-1]; isAnything(last) {
		subs, end = subs[:len(subs)-1], anything
	} else if isSubtree(last) {
		subs, end = subs[:len(subs)-1], subtree
	}
	set, complete := concat(subs)
	if !complete {
		end = other
	}
	return set, end
}

func isAnything(re *syntax.Regexp) bool {
	return re.Op == syntax.OpStar && re.Sub[0].Op == syntax.OpAnyChar
}

func isSubtree(re *syntax.Regexp) bool {
	if re.Op != syntax.OpQuest || re.Sub[0].Op != syntax.OpCapture {
		return false
	}
	in := re.Sub[0].Sub[0]
	return in.Op == syntax.OpConcat && len(in.Sub) == 2 &&
		in.Sub[0].Op == syntax.OpLiteral && string(in.Sub[0].Rune) == "/" && isAnything(in.Sub[1])
}

// beginnings returns strings such that everything that re matches begins with one of them,
// and whether re matches only these strings.
func beginnings(re *syntax.Regexp) (set []string, complete bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return []string{bytesOf(re.Rune)}, true
		}
	case syntax.OpCharClass:
		return class(re.Rune)
	case syntax.OpCapture:
		return beginnings(re.Sub[0])
	case syntax.OpConcat:
		return concat(re.Sub)
	case syntax.OpAlternate:
		return alternate(re.Sub)
	case syntax.OpQuest:
		if set, complete := beginnings(re.Sub[0]); complete {
			return append(set, ""), true
		}
	}
	return []string{""}, false
}

func concat(subs []*syntax.Regexp) (set []string, complete bool) {
	set = []string{""}
	for _, sub := range subs {
		next, complete := beginnings(sub)
		if len(set)*len(next) > literalsMax {
			return set, false
		}
		var longer []string
		for _, a := range set {
			for _, b := range next {
				longer = append(longer, a+b)
			}
		}
		set = longer
		if !complete {
			return set, false
		}
	}
	return set, true
}

func alternate(subs []*syntax.Regexp) (set []string, complete bool) {
	all := true
	for _, sub := range subs {
		next, complete := beginnings(sub)
		set = append(set, next...)
		all = all && complete
	}
	if len(set) > literalsMax {
		return []string{""}, false
	}
	return set, all
}

// class returns the members of a character class given as ranges.
func class(ranges []rune) (set []string, complete bool) {
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if len(set) == literalsMax || r > 0xff {
				return []string{""}, false
			}
			set = append(set, bytesOf([]rune{r}))
		}
	}
	return set, true
}

// bytesOf undoes appendLatin1.
func bytesOf(runes []rune) string {
	b := make([]byte, len(runes))
	for i, r := range runes {
		b[i] = byte(r)
	}
	return string(b)
}

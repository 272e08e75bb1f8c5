package hurry

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// ErrRedirect is the cause if a server leads to where a client shouldn't go.
var ErrRedirect = errors.New("refused to be led elsewhere")

// maxRedirects is how often an answer may lead elsewhere.
const maxRedirects = 10

// carrier is what providers share among their customers, and is private like the rest (RFC 6598).
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// CheckRedirect is for an http.Client: a server may not lead into a private network by an address, unless
// it is there itself under that name.
func CheckRedirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d times", ErrRedirect, maxRedirects)
	}
	from, host := via[0].URL.Hostname(), to.URL.Hostname()
	if !strings.EqualFold(from, host) && isPrivate(host) {
		return fmt.Errorf("%w: from %s to %s, which is in a private network", ErrRedirect, from, host)
	}
	return nil
}

func isPrivate(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	a = a.Unmap()
	return err == nil && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || carrier.Contains(a))
}

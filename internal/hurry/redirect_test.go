package hurry_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/composefs-go/composefs/internal/hurry"
)

func TestNobodyIsLedIntoAPrivateNetwork(t *testing.T) {
	request := func(host string) *http.Request { return &http.Request{URL: &url.URL{Scheme: "http", Host: host}} }
	for _, host := range []string{
		"localhost", "LOCALHOST", "localhost.", "x.localhost:80", "127.0.0.1", "127.1.2.3:8080", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1",
		"169.254.169.254", "0.0.0.0", "[::1]", "[::]:80", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "224.0.0.1",
	} {
		if err := hurry.CheckRedirect(request(host), []*http.Request{request("registry.example")}); !errors.Is(err, hurry.ErrRedirect) {
			t.Errorf("%s: %v", host, err)
		}
		if err := hurry.CheckRedirect(request(host), []*http.Request{request(host)}); err != nil {
			t.Errorf("from %s to itself: %v", host, err)
		}
	}
	for _, host := range []string{"registry.example", "cdn.example:443", "93.184.216.34", "[2606:2800::1]", "10.example"} {
		if err := hurry.CheckRedirect(request(host), []*http.Request{request("registry.example")}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	var many []*http.Request
	for range 11 {
		many = append(many, request("registry.example"))
	}
	if err := hurry.CheckRedirect(request("registry.example"), many); !errors.Is(err, hurry.ErrRedirect) {
		t.Error(err)
	}
}

package tpm_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/boot/tpm"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// startTPM starts a TPM in software and connects to it.
func startTPM(t *testing.T) net.Conn {
	t.Helper()
	program := testutil.RequireTool(t, "swtpm")
	dir, err := os.MkdirTemp("", "tpm") // the name of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	c := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket,
		"--ctrl", "type=unixio,path="+socket+".ctrl", "--flags", "not-need-init,startup-clear")
	c.Stderr = t.Output()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// readPCR asks for the sha256 bank's register, TPM2_PCR_Read.
func readPCR(t *testing.T, conn net.Conn, pcr int) []byte {
	t.Helper()
	selected := binary.LittleEndian.AppendUint32(nil, 1<<pcr)[:3]
	if _, err := conn.Write(append(unhex("8001 00000014 0000017e", "00000001 000b 03"), selected...)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil || n < 32 {
		t.Fatalf("%x, %v", b[:n], err)
	}
	return b[n-32 : n]
}

// The TPM gives for each bank what the standard library's hash says, and the
// register is extended with it.
func TestATPMTakesTheEvent(t *testing.T) {
	conn := startTPM(t)
	const event = "composefs:fsverity-sha256-12:0f0e"
	s1, s256, s384, s512 := sha1.Sum([]byte(event)), sha256.Sum256([]byte(event)), sha512.Sum384([]byte(event)), sha512.Sum512([]byte(event))
	want := map[string][]byte{"sha1": s1[:], "sha256": s256[:], "sha384": s384[:], "sha512": s512[:]}
	register := make([]byte, 32)
	for range 2 {
		digests, err := tpm.Extend(conn, 15, event)
		if err != nil || len(digests) < 2 {
			t.Fatalf("%+v, %v; want several banks", digests, err)
		}
		for _, d := range digests {
			if !bytes.Equal(d.Sum, want[d.Algorithm]) {
				t.Errorf("bank %s got %x, want %x", d.Algorithm, d.Sum, want[d.Algorithm])
			}
		}
		next := sha256.Sum256(append(register, s256[:]...))
		register = next[:]
		if found := readPCR(t, conn, 15); !bytes.Equal(found, register) {
			t.Errorf("PCR 15 holds %x, want %x", found, register)
		}
	}
	if _, err := tpm.Extend(conn, 99, event); err == nil {
		t.Error("a register that isn't there was extended")
	} else {
		t.Log(err)
	}
}

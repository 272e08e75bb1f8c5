package dumpfile_test

import (
	"log"
	"os"
	"strings"

	"github.com/composefs-go/composefs/erofs/dumpfile"
)

// In the dialect of composefs-rs the number of a file's names isn't read but counted.
func ExampleDialect_Parse() {
	const dump = `/ 0 40755 2 0 0 0 0.0 - - -
/bin 3 120777 1 0 0 0 0.0 usr - -
/usr 0 40755 2 0 0 0 0.0 - - - security.selinux=usr_t
/usr/motd 6 100644 1 0 0 0 0.0 - hello\n -
/usr/news 0 @100644 1 0 0 0 0.0 /usr/motd - -
`
	root, err := dumpfile.Rust.Parse(strings.NewReader(dump))
	if err != nil {
		log.Fatal(err)
	}
	if err := dumpfile.Write(os.Stdout, root); err != nil {
		log.Fatal(err)
	}
	// Output:
	// / 0 40755 2 0 0 0 0.0 - - -
	// /bin 3 120777 1 0 0 0 0.0 usr - -
	// /usr 0 40755 2 0 0 0 0.0 - - - security.selinux=usr_t
	// /usr/motd 6 100644 2 0 0 0 0.0 - hello\n -
	// /usr/news 6 @100644 2 0 0 0 0.0 /usr/motd hello\n -
}

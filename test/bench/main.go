// Command bench compares the running times of whole programs. The commands take
// turns (A B A B …), so that a machine with drifting speed treats them alike, and
// each figure is the median of the runs, taken from the kernel's accounting of the
// process.
//
//	bench [-n RUNS] [-bytes N] [-before COMMAND] NAME=COMMAND...
//	bench -dump N
//
// A COMMAND is run by sh. The others are compared with the first. With -bytes it
// also prints the number of bytes per second of processor time. The command of
// -before runs before each, and isn't counted.
//
// The second form prints a dump of N files.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A sample is one run.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // KiB
}

type contender struct {
	name, command string
	samples       []sample
}

func main() {
	runs := flag.Int("n", 5, "counted runs of each command, after one that isn't")
	bytes := flag.Int64("bytes", 0, "bytes that a command works on")
	before := flag.String("before", "", "command to run before each")
	dump := flag.Int("dump", 0, "print a dump of so many files")
	flag.Parse()
	if *dump > 0 {
		exitOn(writeDump(os.Stdout, *dump))
		return
	}
	contenders, err := parse(flag.Args())
	exitOn(err)
	exitOn(race(contenders, *runs, *before))
	report(contenders, *bytes)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) ([]*contender, error) {
	var all []*contender
	for _, arg := range args {
		name, command, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("want NAME=COMMAND, found %q", arg)
		}
		all = append(all, &contender{name: name, command: command})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("want at least one NAME=COMMAND")
	}
	return all, nil
}

func race(contenders []*contender, runs int, before string) error {
	for i := range runs + 1 {
		for _, c := range contenders {
			if before != "" {
				if _, err := run(before); err != nil {
					return err
				}
			}
			s, err := run(c.command)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i > 0 {
				c.samples = append(c.samples, s)
			}
		}
	}
	return nil
}

func run(command string) (sample, error) {
	cmd := exec.Command("/bin/sh", "-c", "exec "+command)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", command, err, stderr.String())
	}
	wall := time.Since(start)
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return sample{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss}, nil
}

// median returns the median of a figure over all samples.
func median(samples []sample, figure func(sample) float64) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, figure(s))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

var figures = []struct {
	name string
	of   func(sample) float64
}{
	{"wall s", func(s sample) float64 { return s.wall.Seconds() }},
	{"cpu s", func(s sample) float64 { return s.cpu.Seconds() }},
	{"peak MiB", func(s sample) float64 { return float64(s.rss) / 1024 }},
}

func report(contenders []*contender, bytes int64) {
	fmt.Printf("%-24s", "")
	for _, f := range figures {
		fmt.Printf("%10s %-7s", f.name, "ratio")
	}
	fmt.Println()
	for _, c := range contenders {
		fmt.Printf("%-24s", c.name)
		for _, f := range figures {
			own, first := median(c.samples, f.of), median(contenders[0].samples, f.of)
			fmt.Printf("%10.3f %-7.2f", own, own/first)
		}
		if bytes > 0 {
			fmt.Printf("%6.2f GB/s a core", float64(bytes)/1e9/median(c.samples, figures[1].of))
		}
		fmt.Println()
	}
}

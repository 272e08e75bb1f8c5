package kernel

// A Fake answers the calls of probes in place of a kernel.
type Fake struct {
	Open     func(fstype string) error
	Set      func(fstype, key string) (says string, err error)
	Words    error // when what was said is read
	Filtered bool
}

// On returns the kernel f.
func On(f Fake) *Kernel {
	k := New()
	k.calls = fakeCaller{f}
	return k
}

type fakeCaller struct{ f Fake }

func (c fakeCaller) filtered() bool { return c.f.Filtered }

func (c fakeCaller) open(fstype string) (context, error) {
	if err := c.f.Open(fstype); err != nil {
		return nil, err
	}
	return &fakeContext{f: c.f, fstype: fstype}, nil
}

type fakeContext struct {
	f            Fake
	fstype, said string
}

func (c *fakeContext) set(key string) error {
	says, err := c.f.Set(c.fstype, key)
	c.said += says
	return err
}

func (c *fakeContext) setFlag(key string) error      { return c.set(key) }
func (c *fakeContext) setString(key, _ string) error { return c.set(key) }
func (c *fakeContext) setRoot(key string) error      { return c.set(key + " by descriptor") }
func (c *fakeContext) close()                        {}

func (c *fakeContext) words() (string, error) {
	said := c.said
	c.said = ""
	return said, c.f.Words
}

//go:build !composefs_test_pause

package setup

// pauseForTest does nothing in what is shipped; see pause_test_hook.go.
func pauseForTest(*session) {}

package main

import (
	"github.com/spf13/cobra"
)

const completionLong = `Completion prints the script with which a shell completes the names of commands and
options of mkimage. make install puts it where the shells look; without that, load it into
a running shell with one of

  bash   source <(mkimage completion bash)
  zsh    source <(mkimage completion zsh)
  fish   mkimage completion fish | source`

func newCompletion(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:       "completion {bash | zsh | fish}",
		Short:     "print the script with which a shell completes command lines",
		Long:      completionLong,
		Args:      usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if u.json {
				return usagef(cmd, "completion prints a script: --json has no meaning here")
			}
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(u.out, true)
			case "zsh":
				return root.GenZshCompletion(u.out)
			default:
				return root.GenFishCompletion(u.out, true)
			}
		},
	}
	return cmd
}

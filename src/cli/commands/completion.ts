import { Argument, type Command } from 'commander'
import { completionScripts } from '../completion-scripts.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Print the script that makes a shell complete commands, flags and names of machines.')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .action((shell: keyof typeof completionScripts) => context.output.write(completionScripts[shell]))
  addExamples(command, [
    ['source <(visor completion bash)', 'for this shell; in ~/.bashrc, for all'],
    ['visor completion zsh > ~/.zfunc/_visor', 'into a directory of $fpath'],
    ['visor completion fish > ~/.config/fish/completions/visor.fish', 'for all new shells'],
  ])
}

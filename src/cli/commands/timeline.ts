import type { Command } from 'commander'
import type { StartPhase, Timeline } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import type { Colours } from '../output.ts'
import { padText } from '../text-width.ts'

/** What each phase is for people. */
const words: Readonly<Record<StartPhase, string>> = {
  preflight: 'host looked at',
  storage: 'disks opened',
  network: 'links made',
  spawn: 'process there',
  monitor: 'monitor answered',
  processors: 'processors ran',
  firmware: 'firmware done, kernel ran',
  kernel: 'first program ran',
  agent: 'guest agent connected',
}
const barWidth = 40

export function configure(command: Command, context: Context): void {
  command
    .description('Show where the time of the last start of a machine went.')
    .argument('<domain>', 'name or uuid')
    .action(async (domain: string) => {
      const { output } = context
      const timeline = await context.connected(({ domains }) => domains.timeline(domain))
      output.print(timeline, () => formatTimeline(timeline, output.colours))
    })
  addExamples(command, [['visor timeline web', 'from the call to the guest agent']])
}

function formatTimeline({ phases }: Timeline, { dim, cyan }: Colours): string {
  const ordered = phases.toSorted((a, b) => a.atMs - b.atMs)
  const total = ordered.at(-1)?.atMs ?? 0
  let before = 0
  return ordered
    .map(({ name, atMs }) => {
      const from = Math.round((barWidth * before) / total)
      const to = Math.max(from + 1, Math.round((barWidth * atMs) / total))
      const bar = ' '.repeat(from) + '█'.repeat(to - from) + ' '.repeat(Math.max(0, barWidth - to))
      const took = atMs - before
      before = atMs
      const figures = `${formatMs(took).padStart(9)}  ${dim(formatMs(atMs).padStart(9))}`
      return `${padText(words[name], 26)} ${figures}  ${cyan(bar.slice(0, barWidth))}\n`
    })
    .join('')
}

const formatMs = (ms: number): string => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`)

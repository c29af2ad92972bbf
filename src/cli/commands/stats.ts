import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DomainStats } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatStatsPage, formatStatsTable, type Sample } from '../stats-page.ts'
import { parseCount, parseDuration } from '../units.ts'

interface StatsFlags {
  readonly watch?: true
  readonly interval: string
  readonly count?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Show what machines use: of one a page, of several or of all that run a table.')
    .argument('[domains...]', 'names or uuids; all that run without')
    .option('-w, --watch', 'again and again, as rates, until Ctrl-C')
    .option('-i, --interval <time>', 'how often', '2')
    .option('-n, --count <n>', 'end after so many times')
    .action((domains: string[], flags: StatsFlags) => (flags.watch ? watch : once)(context, domains, flags))
  addExamples(command, [
    ['visor stats', 'all that run, since they started'],
    ['visor stats --watch', 'processor and disks, as they work'],
    ['visor stats web --json', 'every counter'],
  ])
}

async function take(connection: Connected, domains: readonly string[]): Promise<Sample> {
  const stats = await connection.domains.stats(domains.length > 0 ? { domains } : {})
  return { at: performance.now(), stats }
}
type Connected = Parameters<Parameters<Context['connected']>[0]>[0]

async function once({ connected, output }: Context, domains: readonly string[]): Promise<void> {
  const { stats } = await connected((connection) => take(connection, domains))
  output.print(stats, () => {
    const [only] = stats
    if (domains.length === 1 && only) return formatStatsPage(only, output.colours)
    if (stats.length === 0) output.note('Nothing runs.')
    return stats.length === 0 ? '' : formatStatsTable({ at: 0, stats }, undefined, output)
  })
}

async function watch(context: Context, domains: readonly string[], flags: StatsFlags): Promise<void> {
  const { output, signal, connected } = context
  const interval = Math.max(200, parseDuration(flags.interval, 'The interval'))
  const count = flags.count === undefined ? Infinity : parseCount(flags.count, 'The count', 1, 1_000_000_000)
  const screen = output.columns !== undefined && !output.json ? fullScreen() : undefined
  let last = ''
  try {
    await connected(async (connection) => {
      let before = await take(connection, domains)
      for (let round = 0; round < count; round++) {
        await sleep(interval, undefined, { signal })
        const now = await take(connection, domains)
        last = output.json ? jsonLine(now.stats) : formatStatsTable(now, before, output)
        if (screen) screen.draw(last)
        else output.write(last)
        before = now
      }
    })
  } catch (error) {
    // Ctrl-C is how one leaves.
    if (!signal.aborted) throw error
  } finally {
    screen?.leave(last)
  }
}

function jsonLine(stats: readonly DomainStats[]): string {
  return `${JSON.stringify({ time: new Date().toISOString(), domains: stats })}\n`
}

/** The alternate screen of the terminal; what was there before is back afterwards, in every case. */
function fullScreen(): { draw(text: string): void; leave(last: string): void } {
  const { stdout } = process
  const back = () => void stdout.write('\u001b[?25h\u001b[?1049l')
  stdout.write('\u001b[?1049h\u001b[?25l\u001b[H\u001b[J')
  process.once('exit', back)
  return {
    draw: (text) => void stdout.write(`\u001b[H${text.replaceAll('\n', '\u001b[K\n')}\u001b[J`),
    leave(last) {
      process.off('exit', back)
      back()
      stdout.write(last)
    },
  }
}

import type { Command } from 'commander'
import type { DomainStats } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { formatAgo, formatKiB, parseCount } from '../units.ts'

interface Flags extends AffectFlags {
  readonly period?: string
}

const mostSeconds = 2 ** 31 - 1

export function configure(command: Command, context: Context): void {
  command
    .description('Show what a guest says of its memory, or set how often its balloon asks it.')
    .argument('<domain>', 'name or uuid')
    .option('--period <seconds>', 'ask it so often from now on; 0 for never')
  addAffectFlags(command).action((domain: string, { period, ...flags }: Flags) =>
    period === undefined
      ? showMemory(context, domain)
      : setPeriod(context, domain, parseCount(period, 'The period', 0, mostSeconds), flags),
  )
  addExamples(command, [
    ['visor dommemstat web --period 5', 'ask it every five seconds'],
    ['visor dommemstat web', 'what it said last'],
  ])
}

async function setPeriod(
  context: Context,
  domain: string,
  seconds: number,
  flags: AffectFlags,
): Promise<void> {
  await changeDomain(context, domain, {
    doing: 'Setting the period of',
    flags,
    async run({ connection, call }) {
      await connection.domains.setMemoryStatsPeriod(domain, { ...call, seconds })
      return seconds === 0 ? 'is not asked any more' : `is asked every ${seconds} s`
    },
  })
}

async function showMemory({ connected, output }: Context, domain: string): Promise<void> {
  const [stats] = await connected(({ domains }) => domains.stats({ domains: [domain] }))
  const { memoryKiB, maxMemoryKiB, residentKiB, guestMemory } = stats ?? {}
  output.print({ memoryKiB, maxMemoryKiB, residentKiB, ...guestMemory }, () => {
    if (!guestMemory)
      output.note(
        `The guest of ${safe(domain)} is not asked, or has not answered yet: visor dommemstat ${safe(domain)} --period 5`,
      )
    return formatSection(output.colours, '', [
      ['memory', size(memoryKiB)],
      ['maximum', size(maxMemoryKiB)],
      ['on host', size(residentKiB)],
      ...guestLines(guestMemory),
    ])
  })
}

const size = (kiB: number | undefined) => (kiB === undefined ? undefined : formatKiB(kiB))

function guestLines(guest: DomainStats['guestMemory']): [string, string | undefined][] {
  if (!guest) return []
  const { updatedAt, unusedKiB, availableKiB, usableKiB, diskCachesKiB, ...counters } = guest
  const { majorFaults, minorFaults, swapInKiB, swapOutKiB } = counters
  return [
    ['available', size(availableKiB)],
    ['unused', size(unusedKiB)],
    ['usable', size(usableKiB)],
    ['caches', size(diskCachesKiB)],
    ['swapped in', size(swapInKiB)],
    ['swapped out', size(swapOutKiB)],
    ['major faults', majorFaults?.toString()],
    ['minor faults', minorFaults?.toString()],
    ['told', formatAgo(updatedAt)],
  ]
}

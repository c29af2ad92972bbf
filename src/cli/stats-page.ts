import type { BlockStats, DomainStats, InterfaceStats } from '../model/index.ts'
import { colourState, stateWord } from './domain-words.ts'
import type { Colours, Output } from './output.ts'
import { formatSection, joinWords, safe } from './page.ts'
import { type Column, formatTable } from './table.ts'
import { safeText } from './text-width.ts'
import { formatBytes, formatDuration, formatKiB } from './units.ts'

export interface Sample {
  /** Milliseconds of a steady clock. */
  readonly at: number
  readonly stats: readonly DomainStats[]
}

/** One line per domain: totals since the start, or with a sample `before` what happened a second since. */
export function formatStatsTable(
  now: Sample,
  before: Sample | undefined,
  { colours, columns }: Output,
): string {
  const seconds = before ? (now.at - before.at) / 1000 : 1
  const earlier = new Map(before?.stats.map((one) => [one.uuid, one]))
  const bytes = (one: DomainStats, read: (stats: DomainStats) => number | undefined) =>
    formatCounter(read(one), before && read(earlier.get(one.uuid) ?? one), seconds)
  const per = before ? '/s' : ''
  const shown: Column<DomainStats>[] = [
    { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
    {
      title: 'state',
      value: ({ state }) => stateWord({ state, saved: false }),
      style: (text, { state }) => colourState(colours, text, { state, saved: false }),
    },
    {
      title: before ? 'cpu' : 'cpu time',
      value: (one) => formatCpu(one, before && (earlier.get(one.uuid) ?? one), seconds),
      align: 'right',
    },
    { title: 'cpus', value: ({ vcpus }) => String(vcpus.length || ''), align: 'right' },
    { title: 'memory', value: ({ memoryKiB }) => optional(memoryKiB, formatKiB), align: 'right' },
    { title: 'on host', value: ({ residentKiB }) => optional(residentKiB, formatKiB), align: 'right' },
    { title: `read${per}`, value: (one) => bytes(one, diskRead), align: 'right' },
    { title: `written${per}`, value: (one) => bytes(one, diskWritten), align: 'right' },
    { title: `in${per}`, value: (one) => bytes(one, netIn), align: 'right' },
    { title: `out${per}`, value: (one) => bytes(one, netOut), align: 'right' },
  ]
  // What no machine has takes no room.
  const filled = shown.filter(({ value }) => now.stats.some((one) => value(one) !== ''))
  return formatTable(filled, now.stats, { width: columns, styleTitle: colours.dim })
}

/** Everything about one domain. */
export function formatStatsPage(stats: DomainStats, colours: Colours): string {
  const { name, state, cpuTimeNs, cpuUserNs, cpuSystemNs, vcpus, memoryKiB, maxMemoryKiB, residentKiB } =
    stats
  const seconds = (ns: number | undefined, word = '') =>
    optional(ns, (value) => formatDuration(value / 1e6) + word)
  const parts = joinWords([seconds(cpuUserNs, ' user'), seconds(cpuSystemNs, ' kernel')])
  const shown = { state, saved: false }
  return [
    `${colours.bold(safeText(name))}  ${colourState(colours, `● ${stateWord(shown)}`, shown)}\n`,
    formatSection(colours, 'Processors', [
      ['total', cpuTimeNs === undefined ? undefined : `${seconds(cpuTimeNs)}${parts ? ` (${parts})` : ''}`],
      ...vcpus.map(({ id, timeNs }) => [`cpu ${id}`, seconds(timeNs)] as const),
    ]),
    formatSection(colours, 'Memory', [
      ['guest', optional(memoryKiB, formatKiB) + (maxMemoryKiB ? ` of ${formatKiB(maxMemoryKiB)}` : '')],
      ['on host', optional(residentKiB, formatKiB)],
      ['usable', optional(stats.guestMemory?.usableKiB, formatKiB)],
      ['caches', optional(stats.guestMemory?.diskCachesKiB, formatKiB)],
    ]),
    formatSection(colours, 'Disks', stats.blocks.map(blockLine)),
    formatSection(colours, 'Network', stats.interfaces.map(interfaceLine)),
  ]
    .filter((section) => section !== '')
    .join('\n')
}

function blockLine(block: BlockStats): readonly [string, string] {
  const { name, path, readBytes, readRequests, writeBytes, writeRequests, capacityBytes } = block
  const requests = (count: number | undefined) => (count === undefined ? '' : ` in ${count} requests`)
  return [
    safeText(name),
    joinWords([
      readBytes !== undefined && `read ${formatBytes(readBytes)}${requests(readRequests)}`,
      writeBytes !== undefined && `written ${formatBytes(writeBytes)}${requests(writeRequests)}`,
      capacityBytes !== undefined && `size ${formatBytes(capacityBytes)}`,
      safe(path),
    ]),
  ]
}

function interfaceLine(card: InterfaceStats): readonly [string, string] {
  const { name, rxBytes, rxPackets, txBytes, txPackets, rxDrops, txDrops } = card
  const packets = (count: number | undefined) => (count === undefined ? '' : ` (${count} packets)`)
  return [
    safeText(name),
    joinWords([
      rxBytes !== undefined && `in ${formatBytes(rxBytes)}${packets(rxPackets)}`,
      txBytes !== undefined && `out ${formatBytes(txBytes)}${packets(txPackets)}`,
      rxDrops || txDrops ? `dropped ${(rxDrops ?? 0) + (txDrops ?? 0)}` : undefined,
    ]),
  ]
}

function optional(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? '' : format(value)
}

function formatCounter(now: number | undefined, before: number | undefined, seconds: number): string {
  if (now === undefined) return ''
  return formatBytes(before === undefined ? now : Math.max(0, Math.round((now - before) / seconds)))
}

function formatCpu(now: DomainStats, before: DomainStats | undefined, seconds: number): string {
  if (now.cpuTimeNs === undefined) return ''
  if (!before) return formatDuration(now.cpuTimeNs / 1e6)
  const used = Math.max(0, now.cpuTimeNs - (before.cpuTimeNs ?? 0)) / 1e9
  return `${Math.round((100 * used) / seconds)} %`
}

/** The sum of a counter over devices; undefined when none has it. */
function sum<T>(items: readonly T[], read: (item: T) => number | undefined): number | undefined {
  const known = items.map(read).filter((value) => value !== undefined)
  return known.length === 0 ? undefined : known.reduce((total, value) => total + value, 0)
}
const diskRead = ({ blocks }: DomainStats) => sum(blocks, (block) => block.readBytes)
const diskWritten = ({ blocks }: DomainStats) => sum(blocks, (block) => block.writeBytes)
const netIn = ({ interfaces }: DomainStats) => sum(interfaces, (card) => card.rxBytes)
const netOut = ({ interfaces }: DomainStats) => sum(interfaces, (card) => card.txBytes)

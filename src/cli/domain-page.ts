import type { Disk, Domain, DomainDefinition, Filesystem, Interface } from '../model/index.ts'
import { colourState, reasonWord, stateWord } from './domain-words.ts'
import type { Colours } from './output.ts'
import { formatSection, joinWords, type PageLine, safe } from './page.ts'
import { safeText } from './text-width.ts'
import { formatAgo, formatKiB } from './units.ts'

/** The page of `visor show`: the domain as it is, and a summary of its definition. */
export function formatDomainPage(domain: Domain, definition: DomainDefinition, colours: Colours): string {
  const { bold, dim } = colours
  const title = domain.title ? `  ${dim(safeText(domain.title))}` : ''
  return [
    `${bold(safeText(domain.name))}  ${colourState(colours, `● ${stateWord(domain)}`, domain)}${title}\n`,
    formatSection(colours, '', stateLines(domain, colours)),
    formatSection(colours, 'Machine', machineLines(domain, definition)),
    formatSection(colours, 'Boot', bootLines(definition)),
    formatSection(colours, 'Disks', definition.devices.disks.map(diskLine)),
    formatSection(colours, 'Shares', definition.devices.filesystems.map(shareLine)),
    formatSection(colours, 'Network', definition.devices.interfaces.map(interfaceLine)),
    formatSection(colours, 'Consoles', consoleLines(definition)),
    definition.description ? `${bold('Description')}\n  ${safeText(definition.description)}\n` : '',
  ]
    .filter((section) => section !== '')
    .join('\n')
}

function stateLines(domain: Domain, colours: Colours): PageLine[] {
  const { startedAt } = domain
  const reason = reasonWord(domain)
  return [
    ['uuid', domain.uuid],
    ['why', reason],
    ['trouble', domain.message ? colours.red(safeText(domain.message)) : undefined],
    ['started', startedAt ? `${formatAgo(startedAt)} ${colours.dim(`(${startedAt})`)}` : undefined],
    ['id', domain.id?.toString()],
    ['process', domain.pid?.toString()],
    ['autostart', domain.autostart ? 'with the daemon' : 'no'],
    ['protected', domain.protectedFrom?.length ? `from ${domain.protectedFrom.join(', ')}` : undefined],
    ['saved state', domain.saved ? 'waits; visor start goes on from it' : undefined],
    ['lasting', domain.persistent ? undefined : 'no: it is gone when it is off'],
  ]
}

function machineLines(domain: Domain, { os, cpu, vcpus, memoryKiB, features }: DomainDefinition): PageLine[] {
  const now = domain.memoryKiB === memoryKiB ? '' : ` of ${formatKiB(memoryKiB)}`
  const model = cpu ? joinWords([cpu.mode === 'custom' ? undefined : cpu.mode, cpu.model], ' ') : ''
  return [
    ['runs on', `${domain.driver}, type ${domain.type}`],
    ['machine', joinWords([os.arch, safe(os.machine), features.acpi && 'ACPI'])],
    [
      'processors',
      `${domain.vcpus}${domain.vcpus === vcpus ? '' : ` of ${vcpus}`}${model ? ` (${model})` : ''}`,
    ],
    ['memory', formatKiB(domain.memoryKiB) + now],
  ]
}

function bootLines({ os }: DomainDefinition): PageLine[] {
  return [
    ['kernel', safe(os.kernel)],
    ['initrd', safe(os.initrd)],
    ['arguments', safe(os.commandLine)],
    ['from', os.boot.join(', then ')],
  ]
}

function diskLine(disk: Disk): PageLine {
  const source = disk.file ?? disk.block ?? '(empty)'
  const kind = disk.device === 'disk' ? undefined : disk.device
  const details = joinWords([kind, disk.format, disk.bus, disk.readonly && 'read-only', disk.cache])
  return [disk.target, `${safeText(source)}  (${details})`]
}

function shareLine({ source, socket, target, driver, readonly }: Filesystem): PageLine {
  const how = driver === undefined || driver === 'path' ? '9p' : driver
  return [
    safeText(target),
    `${safeText(source ?? socket ?? '')}  (${joinWords([how, readonly && 'read-only'])})`,
  ]
}

function interfaceLine(card: Interface, index: number): PageLine {
  const source = card.network ?? card.bridge ?? card.dev
  const to = joinWords([card.type, safe(source)], ' ')
  return [`nic ${index}`, joinWords([to, card.model, card.mac])]
}

function consoleLines({ devices }: DomainDefinition): PageLine[] {
  const [port] = devices.serials.length > 0 ? devices.serials : devices.consoles
  const [screen] = devices.graphics
  return [
    ['serial', port && joinWords([port.type, safe(port.path)], ' ')],
    ['screen', screen && joinWords([screen.type, safe(screen.socket)], ' ')],
    ['video', devices.videos.map(({ model }) => model).join(', ')],
  ]
}

/** Memory as arguments of QEMU. Source: qemu(1), "-m", "-numa", "-object memory-backend-*"; docs/nvdimm. */
import { join } from 'node:path'
import { type MemoryDevice, type NumaCell, parseCpuSet } from '../../../../model/index.ts'
import type { MemoryFile } from '../../definition/command-line.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { type Fields, keyValue } from '../../definition/key-value.ts'
import { atStart, device, object, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { type Emulator, isAtLeast } from '../../emulator/emulator.ts'
import type { GuestPaths } from '../../paths.ts'
import { cpuRanges } from '../processors/processors.ts'
import { initiatorOf, performanceParts } from './memory-performance.ts'
import { needsSharedMemory } from './shared-memory.ts'

export interface MemoryOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  /** A file that is its main memory; without it, memory is as the definition says. */
  readonly memory?: MemoryFile | undefined
}

/** Memory without modules that are plugged in: as in libvirt, the definition's counts them too. */
export function bootMemoryKiB({ memoryKiB, cpu, devices }: CompleteDefinition): number {
  const cells = cpu?.numa ?? []
  if (cells.length > 0) return cells.reduce((sum, cell) => sum + cell.memoryKiB, 0)
  return memoryKiB - devices.memories.reduce((sum, one) => sum + one.sizeKiB, 0)
}

/** The main memory, and the cells it is in. `-machine` refers to the object by {@link mainMemory}. */
export function memoryParts(options: MemoryOptions): Part[] {
  const { definition, memory } = options
  const { memorySlots, maxMemoryKiB, memoryBacking, cpu } = definition
  const cells = cpu?.numa ?? []
  if (memory && cells.length > 0)
    throw unsupported(
      'cpu.numa',
      'memory in cells cannot be shared with a template',
      'Use one cell of memory.',
    )
  const id = mainMemory(options)
  return [
    atStart(
      '-m',
      keyValue('', {
        size: `${bootMemoryKiB(definition)}k`,
        slots: memorySlots,
        maxmem: maxMemoryKiB === undefined ? undefined : `${maxMemoryKiB}k`,
      }),
    ),
    ...(memoryBacking?.locked ? [atStart('-overcommit', 'mem-lock=on')] : []),
    ...(id === undefined
      ? []
      : [
          memory
            ? memoryFile(memory, id, bootMemoryKiB(definition), options.emulator)
            : backend(options, { id, sizeKiB: bootMemoryKiB(definition) }),
        ]),
    ...cells.flatMap((cell, index) => cellParts(cell, index, options)),
    ...performanceParts(definition),
    ...cells.flatMap(({ id: from, distances }, index) =>
      distances.map(({ cell, value }) =>
        atStart('-numa', keyValue('dist', { src: from ?? index, dst: cell, val: value })),
      ),
    ),
  ]
}

/** The object that is the main memory; QEMU makes its own without. */
export function mainMemory({ definition, emulator, memory }: MemoryOptions): string | undefined {
  const { os, cpu, memoryBacking: backing, numatune } = definition
  if ((cpu?.numa.length ?? 0) > 0) return undefined
  const special =
    backing?.hugePages ||
    backing?.source ||
    backing?.access ||
    backing?.allocation === 'immediate' ||
    backing?.discard ||
    backing?.noSharePages ||
    numatune ||
    needsSharedMemory(definition)
  if (!memory && !special) return undefined
  const found = emulator.machines.find(({ name, alias }) => name === os.machine || alias === os.machine)
  // As QEMU names it without a backend of ours: states fit with and without.
  return found?.ramId ?? 'pc.ram'
}

function memoryFile({ file, share }: MemoryFile, id: string, sizeKiB: number, emulator: Emulator): Part {
  // Since 8.2 a private copy needs no right to write the file; before, it is opened for writing, never written.
  const sealed = !share && isAtLeast(emulator.version, '8.2')
  return object('memory-backend-file', {
    id,
    size: `${sizeKiB}k`,
    'mem-path': file,
    share,
    readonly: sealed ? true : undefined,
    rom: sealed ? 'off' : undefined,
    dump: 'off',
  })
}

function cellParts(cell: NumaCell, index: number, options: MemoryOptions): Part[] {
  const { id = index, cpus, memoryKiB, access, discard } = cell
  const memdev = `ram-node${id}`
  const near = initiatorOf(options.definition, id)
  const initiator = near === undefined ? [] : [`initiator=${near}`]
  const ranges = cpus === undefined ? [] : cpuRanges(cpus).map((range) => `cpus=${range}`)
  return [
    backend(options, { id: memdev, sizeKiB: memoryKiB, cell: id, access, discard }),
    atStart('-numa', [`node,nodeid=${id}`, ...ranges, ...initiator, `memdev=${memdev}`].join(',')),
  ]
}

interface Wanted {
  readonly id: string
  readonly sizeKiB: number
  readonly cell?: number | undefined
  readonly access?: 'shared' | 'private' | undefined
  readonly discard?: boolean | undefined
  readonly pageKiB?: number | undefined
  readonly nodes?: string | undefined
  readonly file?: string | undefined
  readonly pmem?: boolean
  readonly alignKiB?: number | undefined
  /** Its file is to have all of its room from the start: a full disk later would end the machine. */
  readonly whole?: boolean
  /** Memory that is given bit by bit must not be provided, or reserved, as a whole. */
  readonly sparse?: boolean
}

function backend({ definition, paths }: MemoryOptions, wanted: Wanted): Part {
  const { memoryBacking: backing, numatune, dumpCore } = definition
  const { id, sizeKiB, cell, sparse } = wanted
  const access = wanted.access ?? backing?.access ?? (needsSharedMemory(definition) ? 'shared' : undefined)
  const tuned = cell === undefined ? undefined : numatune?.cells.find((one) => one.cell === cell)
  const nodes = wanted.nodes ?? tuned?.nodeset ?? numatune?.nodeset
  const mode = tuned?.mode ?? (wanted.nodes ? 'strict' : numatune?.mode) ?? 'strict'
  const pageKiB = wanted.pageKiB ?? pageSize(definition, cell)
  const common: Fields = {
    id,
    size: `${sizeKiB}k`,
    share: access === undefined ? undefined : access === 'shared',
    // A huge page that is not there when it is touched would end the machine.
    prealloc:
      (wanted.whole || backing?.allocation === 'immediate' || pageKiB !== undefined) && !sparse
        ? true
        : undefined,
    'prealloc-threads':
      backing?.allocation === 'immediate' && !sparse ? backing.allocationThreads : undefined,
    merge: backing?.noSharePages ? false : undefined,
    dump: dumpCore ? undefined : false,
    reserve: sparse ? false : undefined,
    policy: nodes === undefined ? undefined : policies[mode],
  }
  const hostNodes = nodes === undefined ? {} : { 'host-nodes': cpuRanges(nodes).join(',host-nodes=') }
  if (wanted.file !== undefined)
    return raw(
      'memory-backend-file',
      {
        ...common,
        'mem-path': wanted.file,
        pmem: wanted.pmem ? true : undefined,
        align: wanted.alignKiB === undefined ? undefined : `${wanted.alignKiB}k`,
      },
      hostNodes,
    )
  if (pageKiB !== undefined)
    // No mount is needed for it, nor a right to write there.
    return raw(
      'memory-backend-memfd',
      { ...common, hugetlb: true, hugetlbsize: pageKiB === 0 ? undefined : `${pageKiB}k` },
      hostNodes,
    )
  const discard = wanted.discard ?? backing?.discard
  if (backing?.source === 'file')
    return raw(
      'memory-backend-file',
      { ...common, 'mem-path': join(paths.folder, `${id}.memory`), 'discard-data': discard || undefined },
      hostNodes,
    )
  // Memory that others shall see has to have a descriptor to hand to them.
  const isFile =
    backing?.source === 'memfd' ||
    (access === 'shared' && (backing?.source === undefined || needsSharedMemory(definition)))
  return raw(isFile ? 'memory-backend-memfd' : 'memory-backend-ram', common, hostNodes)
}

const policies = {
  strict: 'bind',
  interleave: 'interleave',
  preferred: 'preferred',
  restrictive: undefined,
} as const

/** With a list of nodes, whose commas are its own: the key again for each of them. */
function raw(type: string, fields: Fields, nodes: Fields): Part {
  const list = nodes['host-nodes']
  if (list === undefined) return object(type, fields)
  return { option: 'start', args: ['-object', `${keyValue(type, fields)},host-nodes=${String(list)}`] }
}

/** In KiB; 0 for the size that the host has by default. */
function pageSize({ memoryBacking }: CompleteDefinition, cell: number | undefined): number | undefined {
  const huge = memoryBacking?.hugePages
  if (!huge) return undefined
  const own = huge.pages.find(
    ({ nodeset }) => nodeset !== undefined && parseCpuSet(nodeset).includes(cell ?? 0),
  )
  const all = huge.pages.find(({ nodeset }) => nodeset === undefined)
  if (huge.pages.length > 0 && !own && !all) return undefined
  return (own ?? all)?.sizeKiB ?? 0
}

/** A module of memory: plugged in at the start, or later. */
export function memoryDeviceParts(one: MemoryDevice, options: MemoryOptions, place: Fields): Part[] {
  const {
    model,
    alias,
    sizeKiB,
    node,
    access,
    discard,
    pageKiB,
    nodemask: nodes,
    path: file,
    pmem,
    alignKiB,
  } = one
  const memdev = `mem${alias}`
  const sparse = model === 'virtio-mem'
  const cell = node ?? ((options.definition.cpu?.numa.length ?? 0) > 0 ? 0 : undefined)
  const module = backend(options, {
    ...{ id: memdev, sizeKiB, cell, access, discard, pageKiB, nodes, file, pmem, alignKiB, sparse },
    // As libvirt has it: its file has all of its room.
    whole: model === 'nvdimm',
  })
  const common: Fields = { id: alias, memdev, node: cell }
  switch (model) {
    case 'virtio-mem':
      return [
        module,
        device('virtio-mem-pci', {
          ...common,
          'block-size': one.blockKiB === undefined ? undefined : `${one.blockKiB}k`,
          'requested-size': `${one.requestedKiB ?? 0}k`,
          memaddr: one.guestAddress,
          ...place,
        }),
      ]
    case 'virtio-pmem':
      return [module, device('virtio-pmem-pci', { id: alias, memdev, memaddr: one.guestAddress, ...place })]
    case 'nvdimm':
      return [
        module,
        device('nvdimm', {
          ...common,
          'label-size': one.labelKiB === undefined ? undefined : `${one.labelKiB}k`,
          uuid: one.uuid,
          unarmed: one.readonly ? true : undefined,
          addr: one.guestAddress,
        }),
      ]
    default:
      return [module, device('pc-dimm', { ...common, addr: one.guestAddress })]
  }
}

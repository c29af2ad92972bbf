/** Whether the host has, right now, the memory that a machine wants in a special form. */
import { hostFiles, readHugePages, readLimits } from '../../../../host/index.ts'
import { VisorError } from '../../../../model/index.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { bootMemoryKiB } from './memory.ts'

/** Fails with `unavailable` and what to do. `unprivileged`: QEMU runs as another user than root. */
export function checkHostMemory(definition: CompleteDefinition, unprivileged: boolean): void {
  if (definition.memoryBacking?.hugePages) checkHugePages(definition)
  if (definition.memoryBacking?.locked && unprivileged) checkLocked(definition)
}

function checkHugePages(definition: CompleteDefinition): void {
  const { name, memoryBacking } = definition
  const [page, ...others] = memoryBacking?.hugePages?.pages ?? []
  // How much of which size is wanted where there are several is for QEMU to find out.
  if (others.length > 0 || page?.nodeset !== undefined) return
  const files = hostFiles()
  const standard = Number(/^Hugepagesize:\s+(\d+)/mu.exec(files.read('/proc/meminfo') ?? '')?.[1])
  const size = page?.sizeKiB ?? standard
  const free = readHugePages(files).find(({ sizeKiB }) => sizeKiB === size)?.free ?? 0
  const needed = Math.ceil(bootMemoryKiB(definition) / size)
  if (free >= needed) return
  throw new VisorError(
    'unavailable',
    `Domain '${name}' needs ${needed} huge pages of ${size} KiB, and ${free} are free.`,
    {
      remedy: `Reserve more: 'echo ${needed} > /sys/kernel/mm/hugepages/hugepages-${size}kB/nr_hugepages'.`,
    },
  )
}

const CAP_SYS_RESOURCE = 24n

/** The memory itself, and what QEMU has besides, which is a gigabyte and more where it emulates. */
function checkLocked({ name }: CompleteDefinition): void {
  const files = hostFiles()
  const own = BigInt(
    `0x${/^CapEff:\s*([0-9a-f]+)/mu.exec(files.read('/proc/self/status') ?? '')?.[1] ?? '0'}`,
  )
  if ((own >> CAP_SYS_RESOURCE) & 1n) return
  const hard = readLimits(files).get('Max locked memory')?.hard ?? 0
  if (hard === Number.POSITIVE_INFINITY) return
  throw new VisorError(
    'unavailable',
    `The memory of domain '${name}' cannot be locked: its user may lock ${hard} bytes only, and visord may not raise that.`,
    { remedy: "Start visord with 'LimitMEMLOCK=infinity' (systemd), or 'ulimit -l unlimited'." },
  )
}

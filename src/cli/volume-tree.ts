/** Volumes below what they are based on. */
import type { Volume } from '../model/index.ts'
import { safe } from './page.ts'
import { formatBytes } from './units.ts'
import { volumeName } from './volumes.ts'

interface Colours {
  bold(text: string): string
  dim(text: string): string
}

export function formatVolumeTree(volumes: readonly Volume[], colours: Colours): string {
  const byPath = new Map(volumes.map((volume) => [volume.path, volume]))
  const children = Map.groupBy(volumes, ({ base }) => (base && byPath.has(base.path) ? base.path : ''))
  const lines: string[] = []
  const seen = new Set<string>()

  function add(volume: Volume, lead: string, branch: string): void {
    // Images can say that they are based on each other.
    if (seen.has(volume.path)) return
    seen.add(volume.path)
    const outside = volume.base && !byPath.has(volume.base.path) ? `  on ${safe(volume.base.path)}` : ''
    const size = `${formatBytes(volume.capacityBytes)}, ${formatBytes(volume.allocationBytes)} on host`
    lines.push(
      `${lead}${branch}${colours.bold(safe(volumeName(volume)) ?? '')}  ${colours.dim(size + outside)}\n`,
    )
    const below = children.get(volume.path) ?? []
    const next = branch === '' ? lead : `${lead}${branch.startsWith('└') ? '   ' : '│  '}`
    for (const [index, child] of below.entries()) add(child, next, index === below.length - 1 ? '└─ ' : '├─ ')
  }

  for (const root of children.get('') ?? []) add(root, '', '')
  // A ring has no root.
  for (const volume of volumes) add(volume, '', '')
  return lines.join('')
}

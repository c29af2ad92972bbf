/** From what a caller says to what a disk is made with. */
import type { BuildImageOptions } from '../../driver/index.ts'
import { suggest, VisorError } from '../../model/index.ts'
import { type DiskRecipe, diskArchitectures } from './build-disk.ts'
import { type Release, releases } from './releases.ts'

/** Names of what disks can be built of. */
export const diskNames = releases.map(({ name }) => name)

/** The release of a name; undefined when disks are not built of it. */
export function findRelease(name: string): Release | undefined {
  return releases.find((release) => release.name === name)
}

/** Scripts of packages run here: they are for the processor of the host. */
export function requireBuildable(name: string, arch: string, hostArch: string): void {
  if (!Object.hasOwn(diskArchitectures, arch))
    throw new VisorError(
      'invalid-argument',
      `Disks of '${name}' are not built for the architecture '${arch}'.`,
      {
        remedy: `Choose one of ${Object.keys(diskArchitectures).join(', ')}, or fetch one: visor image pull ${name}`,
      },
    )
  if (arch !== hostArch)
    throw new VisorError(
      'unavailable',
      `A disk for ${arch} cannot be built on this host, which is ${hostArch}.`,
      {
        remedy: `Fetch one that is built: visor image pull ${name} --arch ${arch}`,
      },
    )
}

/** Fails with `invalid-argument` for a size that cannot be. */
export function diskRecipe(release: Release, arch: string, options: BuildImageOptions): DiskRecipe {
  const { packages = [], format = 'qcow2', sizeBytes, mirror, securityMirror, epoch } = options
  if (sizeBytes !== undefined && sizeBytes < 512 * 2 ** 20)
    throw new VisorError('invalid-argument', 'A disk of a distribution needs 512 MiB at least.', {
      remedy: 'Give it a larger size, or none: then it is as large as it needs to be.',
    })
  return {
    ...{ release, arch, format },
    packages: [...new Set(packages)].sort(),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(mirror !== undefined && { archive: mirror }),
    ...(securityMirror !== undefined && { security: securityMirror }),
    ...(epoch !== undefined && { epoch }),
  }
}

/** What the remedy says for a name that nothing is built of. */
export function suggestName(name: string, others: readonly string[]): string {
  const all = [...others, ...diskNames]
  const near = suggest(name, all)
  return near === undefined ? `Choose one of ${all.join(', ')}.` : `Did you mean '${near}'?`
}

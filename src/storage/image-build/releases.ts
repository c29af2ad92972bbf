/** Releases of distributions that disks are built of: data, in releases.json. */
import { parse, schema as s } from '../../model/index.ts'
import known from './releases.json' with { type: 'json' }

const packageName = s.string('package', {
  pattern: /^[a-z0-9][a-z0-9+.-]{1,127}$/u,
  patternName: 'a package',
})
const address = { pattern: /^https?:\/\/[^\s[\]\p{Cc}]+$/u, patternName: 'an http or https address' } as const

const Release = s.object('Release', 'What a disk is built of', {
  name: s.string('name'),
  title: s.string('what it is'),
  codename: s.string('name of the suite', { pattern: /^[a-z]+$/u, patternName: 'the name of a suite' }),
  archive: s.string('where its packages are', address),
  security: s.string('where its security updates are', address),
  components: s.array('parts of the archive', s.string('part')),
  keyrings: s.array(
    'files with the keys that its indexes are signed with; the first that is there',
    s.string('file'),
  ),
  keyringPackage: s.string('package of the host that has the keys'),
  kernel: packageName,
  packages: s.array('packages that only this release needs', packageName),
})
export type Release = s.Output<typeof Release>

export const releases: readonly Release[] = parse(
  s.object('Releases', 'Releases', { releases: s.array('which', Release) }),
  known,
).releases

import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import type { Volume } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'
import { listVolumes, volumeName } from '../volumes.ts'

interface UndefineFlags {
  readonly savedState?: true
  readonly snapshots?: true
  readonly force?: true
  readonly disks?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Forget machines: their definitions go, their disks stay unless --disks is given.')
    .argument('<domains...>', 'names or uuids')
    .option('--saved-state', 'also remove a saved state, which is refused otherwise')
    .option('--snapshots', 'also forget its snapshots and what they keep, which is refused otherwise')
    .option('--disks', 'also remove the disks that visor made for it, and what is on them')
    .option('-f, --force', 'take the power away first when it runs')
    .action(async (domains: string[], { savedState, snapshots, force, disks }: UndefineFlags) => {
      await eachDomain(context, domains, {
        doing: 'Undefining',
        done: 'is forgotten',
        gone: true,
        async run({ connection, name, call }) {
          const { state, persistent } = await connection.domains.get(name)
          if (force && state !== 'shutoff' && state !== 'crashed')
            await connection.domains.destroy(name, call)
          if (!persistent && force) return
          const own = disks ? await findVolumes(connection, name) : []
          await connection.domains.undefine(name, {
            ...call,
            ...(savedState && { savedState }),
            ...(snapshots && { snapshots }),
          })
          for (const { pool, name } of own)
            await connection.volumes.remove(pool, name, { signal: call.signal })
          return own.length > 0
            ? `is forgotten, and its disks are gone: ${own.map(volumeName).join(', ')}`
            : undefined
        },
      })
    })
  addExamples(command, [
    ['visor undefine web', 'it must be off'],
    ['visor undefine web --disks', 'and the disks that visor made for it'],
    ['visor undefine --force --saved-state web db', 'whatever they do now'],
  ])
}

/** Volumes that are disks of this domain and of no other. */
async function findVolumes(connection: CompleteConnection, name: string): Promise<Volume[]> {
  const { domains } = connection
  const { uuid } = await domains.get(name)
  const files = async (domain: string) => {
    const { devices, sysinfo } = await domains.describe(domain, { inactive: true })
    return [...devices.disks, ...sysinfo.flatMap((one) => one.files)].flatMap(({ file }) => file ?? [])
  }
  const others = (await domains.list()).filter((domain) => domain.uuid !== uuid)
  const shared = new Set((await Promise.all(others.map((other) => files(other.uuid).catch(() => [])))).flat())
  const own = new Set((await files(uuid)).filter((file) => !shared.has(file)))
  return (await listVolumes(connection)).filter(({ path }) => own.has(path))
}

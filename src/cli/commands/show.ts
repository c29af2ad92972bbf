import type { Command } from 'commander'
import { formatDefinition, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'

import { formatDomainPage } from '../domain-page.ts'
import { addExamples } from '../help.ts'

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
  readonly inactive?: true
  readonly get?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Show a machine: its state and what it is made of, or its definition.')
    .argument('<domains...>', 'names or uuids')
    .option('--xml', "the definition as libvirt's XML")
    .option('--yaml', 'the definition as YAML')
    .option('--inactive', 'what the next start will use, not what runs')
    .option('--get <field>', 'one field alone: state, uuid, id, pid, definition.vcpus, ...')
    .action(async (domains: string[], flags: ShowFlags) => {
      await context.connected(async (connection) => {
        for (const [index, name] of domains.entries()) {
          if (index > 0 && !context.output.json) context.output.write(flags.yaml ? '---\n' : '\n')
          await show(context, connection, name, flags)
        }
      })
    })
  addExamples(command, [
    ['visor show web', 'a page about it'],
    ['visor show web --xml > web.xml', 'what virsh dumpxml prints'],
    ['visor show web --get state', 'one word, for scripts'],
  ])
}

type Connected = Parameters<Parameters<Context['connected']>[0]>[0]

async function show(
  { output }: Context,
  { domains }: Connected,
  name: string,
  flags: ShowFlags,
): Promise<void> {
  const describe = domains.describe(name, flags.inactive ? { inactive: true } : {})
  if (flags.xml || flags.yaml) {
    const definition = await describe
    output.print(definition, () => formatDefinition(definition, flags.xml ? 'xml' : 'yaml'))
    return
  }
  const [domain, definition] = await Promise.all([domains.get(name), describe])
  const whole = { ...domain, definition }
  if (flags.get !== undefined) {
    const value = pick(whole, flags.get)
    output.print(
      value ?? null,
      () => `${typeof value === 'object' ? JSON.stringify(value) : (value ?? '')}\n`,
    )
    return
  }
  output.print(whole, () => formatDomainPage(domain, definition, output.colours))
}

/** The value at a path such as `definition.devices.disks.0.file`; undefined for a field that is known but absent. */
function pick(whole: object, path: string): unknown {
  let value: unknown = whole
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null) value = undefined
    else if (Object.hasOwn(value, key)) value = (value as Record<string, unknown>)[key]
    else if (value !== whole || ['id', 'pid', 'startedAt', 'title', 'message'].includes(key))
      value = undefined
    else
      throw new VisorError('invalid-argument', `A machine has no field '${key}'.`, {
        remedy: `It has: ${Object.keys(whole).join(', ')}.`,
      })
  }
  return value
}

import type { Command } from 'commander'
import { type Publication, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Take ports of this host back that lead to machines.')
    .argument('<ports...>', 'ports of the host (8080, 53/udp), or ids as visor publish lists them')
    .action((ports: string[]) => unpublish(context, ports))
  addExamples(command, [
    ['visor unpublish 8080', 'the port of TCP'],
    ['visor unpublish 5353/udp', 'the port of UDP'],
  ])
}

async function unpublish({ connected, output, signal }: Context, wanted: readonly string[]): Promise<void> {
  await connected(async ({ publications }) => {
    const all = await publications.list()
    const found = wanted.flatMap((text) => find(all, text))
    for (const { id, start, proto } of new Set(found)) {
      await publications.remove(id, { signal })
      output.note(`${output.noteColours.green('✓')} ${start}/${proto} leads nowhere any more`)
    }
  })
}

function find(all: readonly Publication[], text: string): Publication[] {
  const [, port, proto = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/u.exec(text) ?? []
  const found = all.filter((one) =>
    one.id === text ? true : one.proto === proto && one.start <= Number(port) && Number(port) <= one.end,
  )
  if (found.length === 0)
    throw new VisorError('not-found', `No port '${text}' of this host leads to a machine.`, {
      remedy: "'visor publish' lists those that do.",
    })
  return found
}
